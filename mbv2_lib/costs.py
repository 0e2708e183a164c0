"""What a network costs, in closed form: parameters, multiply-adds and memory, layer by layer.

Nothing is built and no tensor is made, so that a slider can ask for a new network at every step. The layers carry the
names that they have in the Keras models of `blocks.py` and `network.py`, which agree with these figures exactly.
"""

import math
from typing import NamedTuple

from mbv2_lib.architecture import mobilenet_v2_architecture


class LayerCost(NamedTuple):
    """One layer. Shapes are (height, width, channels) or (channels,) for one picture; memory is for one picture."""

    name: str
    kind: str  # convolution, depthwise, normalization, activation, addition, pooling, dense
    output_shape: tuple
    parameters: int
    trainable_parameters: int
    madds: int  # multiply-adds of convolutions and of the dense layer, which make the paper's 300 million
    activation_bytes: int  # the layer's output
    live_bytes: int  # all activations that stand in memory while the layer works


class NetworkCost(NamedTuple):
    """The layers of a network in the order of execution, and their totals."""

    layers: tuple

    @property
    def parameters(self):
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable_parameters(self):
        return sum(layer.trainable_parameters for layer in self.layers)

    @property
    def madds(self):
        return sum(layer.madds for layer in self.layers)

    @property
    def peak_activation_bytes(self):
        return max(layer.live_bytes for layer in self.layers)


class Ledger:
    """Walks through a network as its execution does and books every layer.

    A layer that makes a new tensor (convolution, pooling, dense) needs its input and its output at once. One that
    works value by value (normalization, activation, addition) overwrites its input, as inference engines do. A tensor
    that a shortcut will want again is held in memory until it is added.
    """

    def __init__(self, shape, bytes_per_value=4):
        self.shape = shape  # (height, width, channels) of the tensor that the next layer reads
        self.bytes_per_value = bytes_per_value
        self.layers = []
        self.held_bytes = 0
        self.reads_held = False

    def cost(self):
        return NetworkCost(tuple(self.layers))

    def size(self, shape):
        return math.prod(shape) * self.bytes_per_value

    def book(self, name, kind, shape, weights=0, trainable=None, madds=0, in_place=False):
        read = 0 if in_place or self.reads_held else self.size(self.shape)
        written = self.size(shape)
        live = self.held_bytes + read + written
        trainable = weights if trainable is None else trainable
        self.layers.append(LayerCost(name, kind, shape, weights, trainable, madds, written, live))
        self.shape, self.reads_held = shape, False

    def hold(self):
        """Keep the current tensor for a shortcut; the next layer reads that very tensor, so it counts once."""
        self.held_bytes, self.reads_held = self.size(self.shape), True

    # -- the layers, by their names in Keras ---------------------------------------------------------------------

    def convolution(self, name, filters, kernel, strides=1):
        height, width, channels = self.shape
        shape = (-(-height // strides), -(-width // strides), filters)  # padding "same" rounds up
        weights = kernel * kernel * channels * filters
        self.book(name, "convolution", shape, weights, madds=shape[0] * shape[1] * weights)

    def depthwise(self, name, strides=1):
        height, width, channels = self.shape
        shape = (-(-height // strides), -(-width // strides), channels)
        weights = 9 * channels  # one filter of 3 x 3 a channel, and no sum over channels
        self.book(name, "depthwise", shape, weights, madds=shape[0] * shape[1] * weights)

    def normalization(self, name):
        channels = self.shape[-1]  # scale and offset are trained, mean and variance only kept
        self.book(name, "normalization", self.shape, 4 * channels, 2 * channels, in_place=True)

    def activation(self, name):
        self.book(name, "activation", self.shape, in_place=True)

    def addition(self, name):
        self.book(name, "addition", self.shape, in_place=True)
        self.held_bytes = 0

    def pooling(self, name):
        self.book(name, "pooling", self.shape[-1:])

    def dense(self, name, units):
        weights = self.shape[-1] * units  # the bias is added, not multiplied
        self.book(name, "dense", (units,), weights + units, madds=weights)

    # -- what `blocks.py` makes of them --------------------------------------------------------------------------

    def conv_bn(self, name, filters, kernel, strides=1, activation=True):
        self.convolution(name, filters, kernel, strides)
        self.normalization(f"{name}_bn")
        if activation:
            self.activation(f"{name}_relu")

    def depthwise_bn(self, name, strides=1):
        self.depthwise(name, strides)
        self.normalization(f"{name}_bn")
        self.activation(f"{name}_relu")

    def inverted_residual(self, name, filters, strides=1, expansion=6):
        channels = self.shape[-1]
        shortcut = strides == 1 and channels == filters
        if shortcut:
            self.hold()
        if expansion != 1:
            self.conv_bn(f"{name}_expand", expansion * channels, 1)
        self.depthwise_bn(f"{name}_depthwise", strides)
        self.conv_bn(f"{name}_project", filters, 1, activation=False)
        if shortcut:
            self.addition(f"{name}_add")


def network_cost(alpha=1.0, expansion=6, resolution=224, classes=1000, bytes_per_value=4):
    """The cost of `network.mobilenet_v2` for one picture of `resolution` x `resolution` pixels.

    alpha: width multiplier, above 0; expansion: whole number of at least 1; resolution: pixels, at least 1;
    classes: outputs of the last layer; bytes_per_value: 4 for float32, 2 for bfloat16, 1 for int8.
    Returns a NetworkCost. Raises ValueError for a figure outside its range.
    Source: Table 2 for the layers, section 3.3 for the multiply-adds of a block.
    """
    if resolution < 1 or classes < 1:
        raise ValueError(f"expected a resolution and classes of at least 1, found {resolution} and {classes}")
    stem, blocks, head = mobilenet_v2_architecture(alpha, expansion)
    ledger = Ledger((resolution, resolution, 3), bytes_per_value)
    ledger.conv_bn("stem", stem, 3, strides=2)
    for block in blocks:
        ledger.inverted_residual(block.name, block.filters, block.strides, block.expansion)
    ledger.conv_bn("head", head, 1)
    ledger.pooling("pool")
    ledger.dense("classifier", classes)
    return ledger.cost()


def inverted_residual_cost(channels, filters, strides=1, expansion=6, resolution=56):
    """The cost of one inverted residual on a (resolution, resolution, channels) input (Table 1, Figure 3b)."""
    ledger = Ledger((resolution, resolution, channels))
    ledger.inverted_residual("block", filters, strides, expansion)
    return ledger.cost()


def convolution_cost(channels, filters, strides=1, resolution=56):
    """The cost of a plain 3 x 3 convolution with batch normalization and ReLU6, same input and output."""
    ledger = Ledger((resolution, resolution, channels))
    ledger.conv_bn("convolution", filters, 3, strides)
    return ledger.cost()


def residual_cost(channels, filters, strides=1, resolution=56):
    """The cost of a standard residual block: two 3 x 3 convolutions and a shortcut (He et al., arXiv 1512.03385).

    Where the shapes differ the shortcut is a 1 x 1 convolution of its own (their option B); it works last here, on the
    input that was held.
    """
    ledger = Ledger((resolution, resolution, channels))
    entrance = ledger.shape
    ledger.hold()
    ledger.conv_bn("first", filters, 3, strides)
    ledger.conv_bn("second", filters, 3, activation=False)
    if strides != 1 or channels != filters:
        ledger.held_bytes = ledger.size(ledger.shape)  # now the result of the two convolutions waits,
        ledger.shape = entrance  # and the input is read once more
        ledger.conv_bn("shortcut", filters, 1, strides, activation=False)
    ledger.addition("add")
    ledger.activation("relu")
    return ledger.cost()


class BottleneckMemory(NamedTuple):
    """The thin tensors at one resolution: the most channels that one has, as written and as Table 3 books them."""

    resolution: int  # pixels of a side
    channels_written: int  # by the blocks that write at this resolution
    channels_booked: int  # by the blocks that read at this resolution, see `bottleneck_memory`

    def kilobytes(self, channels, bytes_per_value=2):
        """Thousands of bytes of `channels` channels at this resolution, in the paper's 16-bit floats by default."""
        return self.resolution**2 * channels * bytes_per_value / 1000


def bottleneck_memory(alpha=1.0, resolution=224):
    """What must stand in memory between blocks, from the largest resolution to the smallest (paper, Table 3).

    Only the thin tensors count: an expanded one can be computed in pieces and never stand as a whole (section 5.1).
    The paper books a block's output at the resolution where the block *reads*: its line for 56 x 56 says 32 channels,
    which are first written at 28 x 28. That is `channels_booked`. Its line for 112 x 112 alone says 16, the
    `channels_written` there; by the rule of the other lines it would be 24.
    """
    _, blocks, head = mobilenet_v2_architecture(alpha)
    written, booked = {}, {}
    size = -(-resolution // 2)  # what the stem leaves
    for block in blocks:
        booked[size] = max(booked.get(size, 0), block.filters)
        size = -(-size // block.strides)
        written[size] = max(written.get(size, 0), block.filters)
    rows = [BottleneckMemory(size, written[size], booked[size]) for size in booked]
    return [*rows, BottleneckMemory(1, head, head)]


class PublishedResult(NamedTuple):
    """A trained ImageNet network that the authors published: width, resolution, cost and held-out accuracy in %."""

    alpha: float
    resolution: int
    million_madds: int
    million_parameters: float
    top1: float
    top5: float


# The authors' table of ImageNet checkpoints: github.com/tensorflow/models, research/slim/nets/mobilenet/README.md.
PUBLISHED_RESULTS = tuple(
    PublishedResult(*row)
    for row in (
        (1.4, 224, 582, 6.06, 75.0, 92.5),
        (1.3, 224, 509, 5.34, 74.4, 92.1),
        (1.0, 224, 300, 3.47, 71.8, 91.0),
        (1.0, 192, 221, 3.47, 70.7, 90.1),
        (1.0, 160, 154, 3.47, 68.8, 89.0),
        (1.0, 128, 99, 3.47, 65.3, 86.9),
        (1.0, 96, 56, 3.47, 60.3, 83.2),
        (0.75, 224, 209, 2.61, 69.8, 89.6),
        (0.75, 192, 153, 2.61, 68.7, 88.9),
        (0.75, 160, 107, 2.61, 66.4, 87.3),
        (0.75, 128, 69, 2.61, 63.2, 85.3),
        (0.75, 96, 39, 2.61, 58.8, 81.6),
        (0.5, 224, 97, 1.95, 65.4, 86.4),
        (0.5, 192, 71, 1.95, 63.9, 85.4),
        (0.5, 160, 50, 1.95, 61.0, 83.2),
        (0.5, 128, 32, 1.95, 57.7, 80.8),
        (0.5, 96, 18, 1.95, 51.2, 75.8),
        (0.35, 224, 59, 1.66, 60.3, 82.9),
        (0.35, 192, 43, 1.66, 58.2, 81.2),
        (0.35, 160, 30, 1.66, 55.7, 79.1),
        (0.35, 128, 20, 1.66, 50.8, 75.0),
        (0.35, 96, 11, 1.66, 45.5, 70.4),
    )
)
