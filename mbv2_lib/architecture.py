"""MobileNetV2 as data: the seven rows of the paper, and the list of blocks that they unfold to.

Nothing here computes a picture; `network.py` builds the model from this list, and `costs.py` counts it.
Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv 1801.04381.
"""

from typing import NamedTuple

# Table 2 of the paper: expansion t, output channels c, number of blocks n, stride s of the first of them.
ROWS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
PUBLISHED_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)


class Block(NamedTuple):
    """One inverted residual: `channels` in, widened `expansion` times, filtered with `strides`, `filters` out."""

    name: str
    channels: int
    filters: int
    strides: int
    expansion: int

    @property
    def expanded(self):
        """Channels between the expansion and the projection: t * c."""
        return self.expansion * self.channels

    @property
    def shortcut(self):
        """Whether the input is added to the output: only where both have one shape (paper, section 3.3)."""
        return self.strides == 1 and self.channels == self.filters


class Architecture(NamedTuple):
    """Everything that a width and an expansion decide: the stem's channels, the blocks, the head's channels."""

    stem: int
    blocks: tuple
    head: int


def make_divisible(channels, divisor=8):
    """The multiple of `divisor` nearest to `channels`, never less than nine tenths of it.

    Hardware reads channels in groups of eight; a width multiplier of 0.35 makes 24 channels into 8.4, and a network
    of 8.4 channels cannot be built. Rounding down by more than a tenth would cost accuracy, hence the last step.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def mobilenet_v2_architecture(alpha=1.0, expansion=6):
    """The blocks of MobileNetV2.

    alpha: width multiplier, above 0 (published: 0.35 to 1.4); scales every channel count, the last one only
        where it is above 1.
    expansion: t of all rows but the first, whose block is never expanded; a whole number of at least 1.
    Returns an Architecture. Raises ValueError for a width or expansion outside its range.
    Source: Table 2 and section 4.
    """
    if not alpha > 0:
        raise ValueError(f"alpha: expected a width multiplier above 0, found {alpha}; 1.0 is the paper's network")
    if expansion < 1 or expansion != int(expansion):
        raise ValueError(f"expansion: expected a whole number of at least 1, found {expansion}; the paper's is 6")
    channels = stem = make_divisible(STEM_CHANNELS * alpha)
    blocks = []
    for row, (t, c, n, s) in enumerate(ROWS):
        filters = make_divisible(int(c * alpha))  # cut to a whole number first, as Keras does here and not at the stem
        for repeat in range(n):
            strides = s if repeat == 0 else 1
            widening = expansion if row > 0 else t
            blocks.append(Block(f"block_{len(blocks)}", channels, filters, strides, int(widening)))
            channels = filters
    head = make_divisible(HEAD_CHANNELS * max(alpha, 1.0))
    return Architecture(stem, tuple(blocks), head)
