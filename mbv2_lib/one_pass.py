"""Batch normalization and the depthwise convolution on JAX, with their gradients written out.

JAX differentiates both by itself, and XLA compiles what it finds; but on a GPU that reads the same tensors more often
than it must, and adds up millions of numbers in too few places. MobileNetV2 computes little on each number, so reading
is what its training waits for. Here the numbers that belong together are read together, and added up strip by strip.
A step of 250 pictures of 128 px took an H100 12.8 ms of computing in place of 16.3 (bfloat16, one measurement each).
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jax import lax

PLACES = 256  # pixels of a strip, at most: enough to keep a block of threads busy, few enough for many blocks


def sums(*terms):
    """The sums of float32 tensors (n, h, w, c) over all but the channels: (c,) each, in one reading of their origin.

    First within each strip of some rows of a picture, then over strips. In one go, XLA adds up 250 pictures of 4 x 4
    pixels and 960 channels in 8 blocks of threads, and 124 of an H100's 132 processors look on.
    """
    height, width, channels = terms[0].shape[1:]
    rows = max(rows for rows in range(1, height + 1) if height % rows == 0 and (rows * width <= PLACES or rows == 1))
    of_strips = tuple(term.reshape(-1, rows, width, channels).sum((1, 2)) for term in terms)
    zeros = (jnp.float32(0),) * len(terms)
    # `once` keeps the two sums apart: XLA would make one of them again.
    return lax.reduce(once(of_strips), zeros, lambda ones, others: tuple(map(jnp.add, ones, others)), (0,))


def once(x):
    """x, a tensor or a tuple of them, computed by itself and a single time.

    Where many use it, XLA would rather compute it anew for each.
    """
    return lax.optimization_barrier(x)


@jax.custom_vjp
def normalize(x, gamma, beta, epsilon):
    """Batch normalization in training: x (n, h, w, c), gamma and beta (c,) float32.

    Returns the normalized batch in x's number type, and the batch's mean and variance (c,), which carry no gradient.
    The variance is the mean square less the square of the mean: one reading, where its definition takes two.
    Source: Ioffe and Szegedy, arXiv 1502.03167, Algorithm 1 and the gradients of section 3.
    """
    return _normalize(x, gamma, beta, epsilon)[0]


def _normalize(x, gamma, beta, epsilon):
    values = x.astype("float32")
    count = x.size // x.shape[-1]
    mean, square = (total / count for total in sums(values, values * values))
    variance = jnp.maximum(square - mean * mean, 0)
    inverse = lax.rsqrt(variance + epsilon)
    scale = gamma * inverse
    return ((values * scale + (beta - mean * scale)).astype(x.dtype), mean, variance), (x, gamma, mean, inverse)


def _normalize_gradient(kept, gradients):
    x, gamma, mean, inverse = kept
    gradient = gradients[0].astype("float32")
    normal = (x.astype("float32") - mean) * inverse
    by_beta, by_gamma = sums(gradient, gradient * normal)
    count = x.size // x.shape[-1]
    by_x = gamma * inverse * (gradient - by_beta / count - normal * by_gamma / count)
    return by_x.astype(x.dtype), by_gamma, by_beta, None


normalize.defvjp(_normalize, _normalize_gradient)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_convolution(x, kernel, strides):
    """A depthwise convolution with "same" padding, as a sum of shifted copies: x (n, h, w, c), kernel (k, k, c, 1).

    Returns (n, h / strides, w / strides, c), rounded up, in x's number type; added up in float32.
    """
    return _depthwise(x, kernel, strides)[0]


def _depthwise(x, kernel, strides):
    x = once(x)
    return shifted_sum(shifts(x, kernel.shape[0], strides), kernel).astype(x.dtype), (x, kernel)


def _depthwise_gradient(strides, kept, gradient):
    x, kernel = kept
    size = kernel.shape[0]
    gradient = once(gradient)
    by_kernel = sums(*(copy.astype("float32") * gradient.astype("float32") for _, copy in shifts(x, size, strides)))
    # Spread out by the stride and padded so that its copies, met by the kernel back to front, fall on x.
    spread = [(0, 0, 0)]
    for length, out in zip(x.shape[1:3], gradient.shape[1:3], strict=True):
        before = size - 1 - margins(length, size, strides)[0]
        spread.append((before, length + size - 2 - before - (out - 1) * strides, strides - 1))
    wide = lax.pad(gradient, jnp.zeros((), gradient.dtype), [*spread, (0, 0, 0)])
    height, width = x.shape[1:3]
    places = itertools.product(range(size), repeat=2)
    copies = (((size - 1 - i, size - 1 - j), wide[:, i : i + height, j : j + width]) for i, j in places)
    by_x = shifted_sum(copies, kernel)
    return by_x.astype(x.dtype), jnp.stack(by_kernel).reshape(kernel.shape).astype(kernel.dtype)


depthwise_convolution.defvjp(_depthwise, _depthwise_gradient)


def shifted_sum(copies, kernel):
    """Copies of a tensor, one for each place of the kernel, each multiplied by its weight a channel; float32."""
    weights = kernel[..., 0].astype("float32")
    return sum(copy.astype("float32") * weights[place] for place, copy in copies)


def shifts(x, size, strides):
    """The places (i, j) of a size x size kernel, row by row, each with the copy of x that meets the weight there.

    x: (n, h, w, c); zeros are put around it as "same" padding says. The copies are (n, h / strides, w / strides, c),
    rounded up.
    """
    rows, columns = (-(-length // strides) for length in x.shape[1:3])
    padded = jnp.pad(x, [(0, 0), *(margins(length, size, strides) for length in x.shape[1:3]), (0, 0)])
    for i, j in itertools.product(range(size), repeat=2):
        bottom, right = i + (rows - 1) * strides + 1, j + (columns - 1) * strides + 1
        yield (i, j), padded[:, i:bottom:strides, j:right:strides]


def margins(length, size, strides):
    """How many zeros "same" padding puts before and after `length` values."""
    missing = max((-(-length // strides) - 1) * strides + size - length, 0)
    return missing // 2, missing - missing // 2
