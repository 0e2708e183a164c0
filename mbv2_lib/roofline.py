"""Where the time goes: what each layer has to do, how long it takes, and how fast this machine computes and copies.

Nothing here needs TensorFlow. Times are those of LiteRT on one thread of this machine, for one picture.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mbv2_lib import inference
from mbv2_lib.costs import network_cost


class LayerWork(NamedTuple):
    """What a layer with its normalization and activation folded in, as in an exported file, has to do."""

    kind: str  # of a block's layer expand, depthwise, project or add; of any other layer "other"
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
            kind = layer.name.rpartition("_")[2] if layer.name.startswith("block_") else "other"
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
