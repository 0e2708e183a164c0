"""How fast a training step could be at best: what the machine can do, and what the step must do.

Each layer must compute its multiply-adds and move its tensors; it takes at least the longer of the two. Tensors that
fit in a cache move faster, so the rate is measured for several sizes and looked up.
"""

import os
import timeit
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from mbv2_lib.backend import keras
from mbv2_lib.costs import network_cost

# How often a training step reads or writes a tensor of the layer's size, at least, where each layer is an operation of
# its own. Forward and backward: normalization reads for the statistics, reads and writes (3), then reads input and
# gradient twice and writes once (5); an activation reads and writes (2), then reads two and writes one (3); an addition
# reads two and writes one, and so does the sum of the two gradients (6).
PASSES = {"normalization": 8, "activation": 5, "addition": 6}


class Machine(NamedTuple):
    """What was measured: float32 operations a second (a multiply-add is two), and bytes a second by tensor size."""

    flops: float
    sizes: tuple  # bytes
    rates: tuple  # bytes moved a second, reading and writing counted each

    def seconds(self, flops, moved, size):
        """The longer of computing `flops` and moving `moved` bytes of tensors of `size` bytes."""
        return max(flops / self.flops, moved / np.interp(np.log(size), np.log(self.sizes), self.rates))


def best_of(work, repeats=7):
    """The shortest of several times, in seconds: a limit is what is possible."""
    return min(timeit.repeat(work, number=1, repeat=repeats))


def measure_machine(side=2048, megabytes=(0.5, 2, 8, 32, 128)):
    """The Machine that this process runs on: a product of two matrices, and copies by all cores at once."""
    matrix = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=(side, side)).astype("float32"))
    flops = 2 * side**3 / best_of(lambda: np.asarray(keras.ops.matmul(matrix, matrix)))
    cores, rates = os.cpu_count(), []
    sizes = tuple(int(size * 1e6) for size in megabytes)
    with ThreadPoolExecutor(cores) as pool:
        for size in sizes:
            source, target = (np.ones((cores, size // cores), "uint8") for _ in range(2))
            times = max(1, int(64e6 / size))  # many small copies a thread, so that its start does not count

            def copy(core, source=source, target=target, times=times):
                for _ in range(times):
                    np.copyto(target[core], source[core])

            rates.append(2 * size * times / best_of(lambda copy=copy: list(pool.map(copy, range(cores)))))
    return Machine(flops, sizes, tuple(rates))


def step_bound(machine, alpha, resolution, batch, classes=100):
    """The least seconds of a float32 training step, by kind of layer: a dict."""
    cost, bound = network_cost(alpha, resolution=resolution, classes=classes), {}
    read = resolution**2 * 3 * 4  # bytes of one picture
    for layer in cost.layers:
        written = layer.activation_bytes
        if layer.kind in PASSES:
            flops, moved = 0, PASSES[layer.kind] * written
        else:  # forward, the gradient of the input, that of the weights: each computes alike and touches both ends
            flops, moved = 6 * layer.madds, 3 * (read + written)
        seconds = machine.seconds(batch * flops, batch * moved, batch * max(read, written))
        bound[layer.kind] = bound.get(layer.kind, 0) + seconds
        read = written
    weights = 5 * 4 * cost.parameters  # the optimizer reads weight, gradient and momentum, and writes two of them
    return bound | {"optimizer": machine.seconds(0, weights, weights)}
