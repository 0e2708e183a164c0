"""The inverted residual, and the two steps that it is made of."""

from mbv2_lib.backend import keras
from mbv2_lib.layers import BatchNormalization, Conv2D, DepthwiseConv2D


def he():
    """He's initialization: variance 2 / n, where n, the fan-out, is how many outputs an input feeds.

    So signals neither die nor grow with depth. For a depthwise filter n is 9, the size of its kernel. Keras's default
    counts all channels, where the filter has one, and starts those of 576 channels 24 times smaller. Normalization
    hides the size, but at the same learning rate a small filter changes its direction faster: too fast for the moving
    statistics to follow.
    Source: arXiv 1502.01852, section 2.2.
    """
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def conv_bn(x, filters, kernel, strides=1, activation=True, name="conv"):
    """A convolution with batch normalization and, unless `activation` is False, ReLU6.

    x: (n, h, w, c). Returns (n, h / strides, w / strides, filters), rounded up. The convolution has no bias: batch
    normalization would subtract it again. Source: Table 1 (kernel 1) and Table 2 (the 3 x 3 stem).
    """
    convolution = Conv2D(filters, kernel, strides, padding="same", use_bias=False, kernel_initializer=he(), name=name)
    x = convolution(x)
    x = BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.ReLU(6, name=f"{name}_relu")(x) if activation else x


def depthwise_bn(x, strides=1, name="depthwise"):
    """A 3 x 3 convolution of each channel by itself, with batch normalization and ReLU6.

    x: (n, h, w, c). Returns (n, h / strides, w / strides, c), rounded up. Source: Table 1.
    """
    convolution = DepthwiseConv2D(3, strides, padding="same", use_bias=False, depthwise_initializer=he(), name=name)
    x = convolution(x)
    x = BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.ReLU(6, name=f"{name}_relu")(x)


def inverted_residual(x, filters, strides=1, expansion=6, name="block"):
    """Expand, filter, project: MobileNetV2's block, with a shortcut between its thin ends where they have one shape.

    x: (n, h, w, c). filters: channels of the output. strides: 1 or 2. expansion: t, a whole number of at least 1.
    Returns (n, h / strides, w / strides, filters), rounded up. Source: Table 1 and Figures 3b and 4d.
    """
    entrance, channels = x, x.shape[-1]
    if expansion != 1:  # (h, w, c) -> (h, w, t*c)
        x = conv_bn(x, expansion * channels, kernel=1, name=f"{name}_expand")
    # (h, w, t*c) -> (h/s, w/s, t*c)
    x = depthwise_bn(x, strides, name=f"{name}_depthwise")
    # (h/s, w/s, t*c) -> (h/s, w/s, filters), linear: a ReLU on few channels would lose what they carry
    x = conv_bn(x, filters, kernel=1, activation=False, name=f"{name}_project")
    if strides == 1 and channels == filters:
        x = keras.layers.Add(name=f"{name}_add")([entrance, x])
    return x
