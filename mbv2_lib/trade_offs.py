"""What a network gives and what it takes: the front of the best, the best within a budget, and where the time goes.

Nothing here needs TensorFlow. Times are those of LiteRT on one thread of this machine, for one picture.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mbv2_lib import evaluation, inference, sweeps
from mbv2_lib.costs import PUBLISHED_RESULTS, network_cost

IMAGENET_PICTURES = 50_000  # held out, on which the published accuracies were measured


# -- networks to choose from -----------------------------------------------------------------------------------------


class Candidate(NamedTuple):
    """A trained network: its settings, what it reached, what it costs, and the command that trains it."""

    alpha: float
    resolution: int
    expansion: int
    top1: float  # a share
    error: float  # standard error of top1: what the choice of the held-out pictures alone may do
    madds: int
    parameters: int
    peak_bytes: int  # of the activations of one picture in int8, one byte a value
    command: str


def candidate(alpha, resolution, expansion, classes, top1, pictures, command):
    """A Candidate, its costs counted in closed form."""
    cost = network_cost(alpha, expansion, resolution, classes, bytes_per_value=1)
    error = evaluation.standard_error(top1, pictures)
    figures = cost.madds, cost.parameters, cost.peak_activation_bytes
    return Candidate(alpha, resolution, expansion, top1, error, *figures, command)


def measured(folder=None):
    """The Candidates of data/sweeps/design_space.csv, or of that file in `folder`: CIFAR-100, short runs.

    top1 is the mean over a network's seeds, and the command is that of the first.
    """
    by_network = {}
    for row in sweeps.read("design_space", folder):
        by_network.setdefault((row["alpha"], row["size"], row["expansion"]), []).append(row)
    return [
        candidate(*network, 100, float(np.mean([row["top1"] for row in rows])), rows[0]["pictures"], rows[0]["command"])
        for network, rows in by_network.items()
    ]


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
    return max((getattr(candidate, name) / limit, name) for name, limit in budget.items()) if budget else (0, "")


def choose(candidates, **budget):
    """The Choice under limits such as madds=50e6, parameters=2e6. Of equal accuracies, the fewest multiply-adds."""
    fitting = [one for one in candidates if excess(one, budget)[0] <= 1]
    best = max(fitting, key=lambda one: (one.top1, -one.madds), default=None)
    better = [one for one in candidates if best is None or (one.top1 > best.top1 and not level(one, best))]
    return Choice(candidates, budget, fitting, best, min(better, key=lambda one: excess(one, budget), default=None))


# -- where the time goes ---------------------------------------------------------------------------------------------

KINDS = ("expand", "depthwise", "project", "add", "other")


class LayerWork(NamedTuple):
    """What a layer with its normalization and activation folded in, as in an exported file, has to do."""

    kind: str  # one of KINDS
    madds: int
    bytes_moved: int  # input, weights and output, each once

    @property
    def madds_per_byte(self):
        return self.madds / self.bytes_moved


def work_by_layer(alpha=1.0, expansion=6, resolution=224, classes=1000, bytes_per_value=4):
    """The LayerWork of every layer that an exported file has: dict by the names of `costs.network_cost`."""
    work, read = {}, resolution * resolution * 3 * bytes_per_value
    for layer in network_cost(alpha, expansion, resolution, classes, bytes_per_value).layers:
        if layer.kind not in ("normalization", "activation"):
            ending = layer.name.rpartition("_")[2]
            kind = ending if ending in KINDS else "other"
            inputs = 2 * read if layer.kind == "addition" else read
            moved = inputs + layer.parameters * bytes_per_value + layer.activation_bytes
            work[layer.name] = LayerWork(kind, layer.madds, moved)
        read = layer.activation_bytes
    return work


def network_latency(path, resolution, repeats=30):
    """Median milliseconds of one picture of `resolution` pixels a side through a .tflite file, on one thread."""
    interpreter = inference.interpreter_of(path, num_threads=1)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], [1, resolution, resolution, 3])
    interpreter.allocate_tensors()
    return _latency(interpreter, repeats)


def layer_latencies(path, repeats=30):
    """Median milliseconds of each layer of a .tflite file, cut out and run alone on one thread: dict by name.

    Names are those of `costs.network_cost`. Alone, a layer finds its input still warm in the caches.
    """
    return {name: _latency(interpreter, repeats) for name, interpreter in _layers(path)}


def peak_madds(path, side=28, repeats=20):
    """Multiply-adds a second in the best of 17 matrix products: a .tflite file's projections on side x side places."""
    speeds = []
    for name, interpreter in _layers(path):
        if name.endswith("_project"):
            given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
            channels, filters = int(given["shape"][-1]), int(answer["shape"][-1])
            interpreter.resize_tensor_input(given["index"], [1, side, side, channels])
            interpreter.allocate_tensors()
            speeds.append(side * side * channels * filters / _latency(interpreter, repeats) * 1e3)
    return max(speeds)


def _layers(path):
    """Each layer of a .tflite file as a file of its own, opened: pairs of its name and a LiteRT interpreter."""
    try:
        from ai_edge_litert.tools import flatbuffer_utils
    except ImportError:  # TensorFlow has it, too
        from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    graph, model.signatureDefs = model.subgraphs[0], None
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "layer.tflite"
        for operation in list(graph.operators):
            if match := inference.LAYER.search(graph.tensors[operation.outputs[0]].name.decode()):
                tensors = [place for place in operation.inputs if place >= 0]  # -1: no bias
                given = [place for place in tensors if model.buffers[graph.tensors[place].buffer].data is None]
                graph.operators, graph.inputs, graph.outputs = [operation], given, operation.outputs
                flatbuffer_utils.write_model(model, str(alone))
                yield match[1], inference.interpreter_of(alone, num_threads=1)


def _latency(interpreter, repeats):
    """Median milliseconds of a run on random input: what memory happens to hold could be slow numbers."""
    rng = np.random.default_rng(0)
    for given in interpreter.get_input_details():
        interpreter.set_tensor(given["index"], rng.uniform(0, 6, given["shape"]).astype(given["dtype"]))
    return inference.latency(interpreter.invoke, repeats)


def copy_bandwidth(megabytes, repeats=100):
    """Bytes a second that one thread moves when it copies so many megabytes; each is read and written."""
    source = np.ones(int(megabytes * 1e6) // 8)
    target = np.zeros_like(source)
    milliseconds = inference.latency(lambda: np.copyto(target, source), repeats)
    return 2 * source.nbytes / milliseconds * 1e3
