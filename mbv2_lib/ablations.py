"""The paper's ablations: the same block with one thing changed, to see what that thing is worth."""

from mbv2_lib.backend import keras
from mbv2_lib.blocks import conv_bn, depthwise_bn, inverted_residual


def block_with(shortcut="thin", relu_bottleneck=False):
    """A function that builds an inverted residual as `blocks.inverted_residual` does, with something changed.

    shortcut: "thin" joins the block's ends, as in MobileNetV2; "wide" joins the expanded tensors before and after the
    depthwise convolution, as a residual block joins its wide ends; None joins nothing. The same blocks have one.
    relu_bottleneck: ReLU6 after the projection, too. Neither adds or takes a weight.
    Source: section 6.4 and Figure 6.
    """

    def block(x, filters, strides=1, expansion=6, name="block"):
        thin, fits = x, strides == 1 and x.shape[-1] == filters
        if expansion != 1:
            x = conv_bn(x, expansion * x.shape[-1], kernel=1, name=f"{name}_expand")
        wide = x
        x = depthwise_bn(x, strides, name=f"{name}_depthwise")
        if shortcut == "wide" and fits:
            x = keras.layers.Add(name=f"{name}_add")([wide, x])
        x = conv_bn(x, filters, kernel=1, activation=relu_bottleneck, name=f"{name}_project")
        if shortcut == "thin" and fits:
            x = keras.layers.Add(name=f"{name}_add")([thin, x])
        return x

    return block


BLOCKS = {  # what `mbv2 train --block` takes
    "inverted-residual": inverted_residual,
    "relu-bottleneck": block_with(relu_bottleneck=True),
    "wide-shortcut": block_with(shortcut="wide"),
    "no-shortcut": block_with(shortcut=None),
}
