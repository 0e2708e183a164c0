"""Rounding numbers to a few levels: scales, codes, and what is lost. NumPy only."""

import numpy as np


def fold(kernel, gamma, variance, epsilon=1e-3):
    """The kernel (..., channels) with the batch normalization behind it multiplied in, channel by channel.

    gamma, variance: (channels,), the layer's scale and moving variance; epsilon: what the layer adds to the variance.
    Source: Jacob et al., arXiv 1712.05877, equation 14.
    """
    return kernel * gamma / np.sqrt(variance + epsilon)


def scale_of(values, bits=8, axis=None):
    """The step between two levels, such that the largest of `values` has the largest code; symmetric about 0.

    axis: None for one scale, or the axes to take the largest value over, kept as axes of length 1: (0, 1) gives one
    scale a channel of a depthwise kernel (3, 3, channels). All zeros have the step 1: any step would do.
    """
    largest = np.abs(values).max(axis=axis, keepdims=axis is not None)
    return np.where(largest > 0, largest, 1) / (2 ** (bits - 1) - 1)


def quantize(values, scale, bits=8):
    """The nearest code to each value, whole numbers from -(2**(bits - 1) - 1) to the same above zero."""
    most = 2 ** (bits - 1) - 1
    return np.clip(np.round(values / scale), -most, most).astype(np.int32)


def dequantize(codes, scale):
    """The values that codes stand for."""
    return codes * scale


def relative_error(values, rounded, axis=None):
    """Length of (rounded - values) over the length of values: 0 is perfect, 1 says that nothing is left.

    axis: None for all together, or the axes that make one length, as for `scale_of`. 0 where there is nothing to lose.
    """
    length = np.sqrt(np.square(values).sum(axis=axis))
    error = np.sqrt(np.square(rounded - values).sum(axis=axis))
    return np.divide(error, length, out=np.zeros_like(error), where=length > 0)
