"""What a network gives and what it takes: the front of the best, and the best within a budget."""

from typing import NamedTuple

import numpy as np

from mbv2_lib import evaluation, sweeps
from mbv2_lib.costs import PUBLISHED_RESULTS, network_cost

IMAGENET_PICTURES = 50_000  # held out, on which the published accuracies were measured


# -- networks to choose from -----------------------------------------------------------------------------------------


class Candidate(NamedTuple):
    """A trained network: its settings, what it reached, what it costs, and the command that trains it."""

    alpha: float
    resolution: int
    expansion: int
    top1: float  # a share
    error: float  # standard error of top1: by the choice of the held-out pictures and, where seeds differ, by the seed
    madds: int
    parameters: int
    peak_bytes: int  # of the activations of one picture in int8, one byte a value
    command: str


def candidate(alpha, resolution, expansion, classes, top1, pictures, command, by_seed=0.0):
    """A Candidate, its costs counted in closed form. by_seed: standard error of top1 by the luck of the seeds."""
    cost = network_cost(alpha, expansion, resolution, classes, bytes_per_value=1)
    error = float(np.hypot(evaluation.standard_error(top1, pictures), by_seed))
    figures = cost.madds, cost.parameters, cost.peak_activation_bytes
    return Candidate(alpha, resolution, expansion, top1, error, *figures, command)


def measured(folder=None):
    """The Candidates of data/sweeps/design_space.csv, or of that file in `folder`: CIFAR-100, short runs.

    top1 is the mean over a network's seeds, and the command is that of the first. What a seed may do is pooled over all
    runs of one size, of which some must differ in nothing else: on the smallest pictures they lie further apart.
    """
    spread = {size: seed_spread(groups) for size, groups in sweeps.repeated(folder).items()}
    by_network = {}
    for row in sweeps.read("design_space", folder):
        by_network.setdefault((row["alpha"], row["size"], row["expansion"]), []).append(row)
    found = []
    for (alpha, size, expansion), rows in by_network.items():
        top1, by_seed = float(np.mean([row["top1"] for row in rows])), spread[size] / np.sqrt(len(rows))
        pictures, command = rows[0]["pictures"], rows[0]["command"]
        found.append(candidate(alpha, size, expansion, 100, top1, pictures, command, by_seed))
    return found


def seed_spread(groups):
    """Standard deviation of top-1 by the seed alone: pooled over groups of runs that differ in nothing else.

    groups: lists of top-1, at least one of them of two runs or more.
    """
    gaps = np.concatenate([top1 - np.mean(top1) for top1 in groups])
    return np.sqrt((gaps**2).sum() / (len(gaps) - len(groups)))


def published():
    """The Candidates of `costs.PUBLISHED_RESULTS`: ImageNet. The command trains such a network on CIFAR-100."""
    found = []
    for row in PUBLISHED_RESULTS:
        command = (
            f"mbv2 train --classes 100 --data data/cifar100 --size {row.resolution} --alpha {row.alpha} "
            f"--recipe short --epochs 24 --batch 64 --run runs/width-{row.alpha}-{row.resolution}px"
        )
        found.append(
            candidate(row.alpha, row.resolution, 6, 1000, round(row.top1 / 100, 4), IMAGENET_PICTURES, command)
        )
    return found


def pareto_front(costs, accuracies):
    """The rows of a table that are on the front, cheapest first: more accurate than all that cost no more.

    costs, accuracies: (n,). Of rows that are equal in both, the first counts.
    """
    cheapest_first = sorted(range(len(costs)), key=lambda row: (costs[row], -accuracies[row]))
    front = []
    for row in cheapest_first:
        if not front or accuracies[row] > accuracies[front[-1]]:
            front.append(row)
    return front


def level(one, other):
    """Whether two Candidates' accuracies differ by less than two standard errors of their difference."""
    return abs(one.top1 - other.top1) < 2 * np.hypot(one.error, other.error)


# -- under a budget --------------------------------------------------------------------------------------------------


class Choice(NamedTuple):
    """What a budget leaves of a table of Candidates."""

    candidates: list
    budget: dict  # what is limited (madds, parameters, peak_bytes) to its limit
    fitting: list  # the Candidates that keep to every limit
    best: object  # the most accurate of them, None where none fits
    next_best: object  # of those that are better by more than luck the nearest to fitting, None where there is none


def excess(candidate, budget):
    """How many times its limit a Candidate needs of what it exceeds most, and what that is: (ratio, name)."""
    return max(((getattr(candidate, name) / limit, name) for name, limit in budget.items()), default=(0, ""))


def choose(candidates, **budget):
    """The Choice under limits such as madds=50e6, parameters=2e6. Of equal accuracies, the fewest multiply-adds."""
    fitting = [one for one in candidates if excess(one, budget)[0] <= 1]
    best = max(fitting, key=lambda one: (one.top1, -one.madds), default=None)
    better = [one for one in candidates if best is None or (one.top1 > best.top1 and not level(one, best))]
    return Choice(candidates, budget, fitting, best, min(better, key=lambda one: excess(one, budget), default=None))
