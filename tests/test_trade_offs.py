"""The front and the choice within a budget agree with a search through all pairs."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from mbv2_lib import sweeps, trade_offs


@pytest.mark.parametrize("seed", range(20))
def test_on_the_front_is_who_is_beaten_by_nobody(seed):
    rng = np.random.default_rng(seed)
    points = sorted(set(map(tuple, rng.integers(0, 9, (12, 2)).tolist())))  # few values, so that costs are equal
    rng.shuffle(points)
    costs, accuracies = np.transpose(points)
    front = trade_offs.pareto_front(costs, accuracies)
    beaten = {
        one
        for one, other in itertools.permutations(range(len(points)), 2)
        if costs[other] <= costs[one] and accuracies[other] >= accuracies[one]
    }
    assert sorted(front) == sorted(set(range(len(points))) - beaten)
    assert (np.diff(costs[front]) > 0).all() and (np.diff(accuracies[front]) > 0).all()


def test_of_two_equal_networks_one_is_on_the_front():
    assert trade_offs.pareto_front([3, 3, 1], [0.5, 0.5, 0.1]) == [2, 0]
    assert trade_offs.pareto_front([], []) == []


@pytest.mark.parametrize("seed", range(20))
def test_the_best_within_a_budget_is_the_best_of_those_that_keep_to_every_limit(seed):
    rng, networks = np.random.default_rng(seed), trade_offs.published()
    budget = {name: int(getattr(networks[rng.integers(22)], name)) for name in ("madds", "parameters", "peak_bytes")}
    choice = trade_offs.choose(networks, **budget)
    fit = [one for one in networks if all(getattr(one, name) <= limit for name, limit in budget.items())]
    assert choice.fitting == fit
    assert choice.best is None if not fit else choice.best.top1 == max(one.top1 for one in fit)
    if choice.next_best:
        assert choice.next_best not in fit
        assert not fit or choice.next_best.top1 - choice.best.top1 > 2 * math.hypot(
            choice.next_best.error, choice.best.error
        )


def test_of_two_that_are_as_accurate_the_cheaper_is_chosen():
    choice = trade_offs.choose(trade_offs.published(), madds=60e6, parameters=7e6, peak_bytes=8e6)
    assert (choice.best.alpha, choice.best.resolution, choice.best.top1) == (0.5, 160, 0.61)
    without = [one for one in trade_offs.published() if one.top1 <= 0.603]  # width 1 at 96 px and 0.35 at 224 px
    assert trade_offs.choose(without, madds=60e6).best.resolution == 96


def test_without_a_limit_the_best_of_all_is_chosen():
    choice = trade_offs.choose(trade_offs.published())
    assert choice.best.top1 == max(one.top1 for one in trade_offs.published()) and choice.next_best is None


def test_the_error_of_a_measured_network_counts_the_luck_of_pictures_and_of_seeds():
    runs = pd.concat(pd.DataFrame(sweeps.read(sweep)) for sweep in sweeps.tried()).drop_duplicates("command")
    settings = [name for name in sweeps.SMALL if name != "seed"]
    repeated = runs.groupby(settings).top1.agg(["var", "count"]).reset_index()
    freedom = repeated["count"] - 1
    pooled = (repeated["var"] * freedom).groupby(repeated["size"]).sum() / freedom.groupby(repeated["size"]).sum()
    of_network = pd.DataFrame(sweeps.read("design_space")).groupby(["alpha", "size", "expansion"])["top1"]
    for one in trade_offs.measured():
        top1 = of_network.get_group((one.alpha, one.resolution, one.expansion))
        by_pictures = math.sqrt(top1.mean() * (1 - top1.mean()) / 5000)
        assert one.error == pytest.approx(math.hypot(by_pictures, math.sqrt(pooled[one.resolution] / len(top1))))
    assert pooled[32] > 4 * pooled[48]  # as 07 says: on the smallest pictures twice the standard deviation


def test_a_candidate_costs_what_the_closed_form_says():
    one = trade_offs.published()[2]
    assert (one.madds, one.parameters, one.peak_bytes) == (300_774_272, 3_538_984, 112 * 112 * (96 + 24))
    assert one.error == pytest.approx(math.sqrt(0.718 * 0.282 / 50_000))
