"""What is computed in one pass on JAX, against TensorFlow; and the layers that do so, against Keras's on JAX."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mbv2_lib import one_pass

ROOT = Path(__file__).resolve().parents[1]
shapes = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 5))


def in_tensorflow(function, *given, gradient):
    """What a TensorFlow function answers, and the gradients of its first answer by all that it is given."""
    given = [tf.constant(value) for value in given]
    with tf.GradientTape() as tape:
        tape.watch(given)
        answers = function(*given)
    return answers, tape.gradient(answers[0], given, output_gradients=tf.constant(gradient))


def check_alike(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        scale = max(1, float(np.abs(other).max()))
        np.testing.assert_allclose(np.asarray(one) / scale, np.asarray(other) / scale, atol=tolerance)


@settings(max_examples=25, deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**16), mean=st.floats(-3, 3), deviation=st.floats(0.3, 3))
def test_a_normalized_batch_its_statistics_and_its_gradients_are_those_of_tensorflow(shape, seed, mean, deviation):
    rng = np.random.default_rng(seed)
    x, gradient = (value.astype("float32") for value in (rng.normal(mean, deviation, shape), rng.normal(size=shape)))
    gamma, beta = rng.normal(size=(2, shape[-1])).astype("float32")

    def reference(x, gamma, beta):
        mean, variance = tf.nn.moments(x, (0, 1, 2))
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3), mean, variance

    answers, gradients = in_tensorflow(reference, x, gamma, beta, gradient=gradient)
    found, back = jax.vjp(lambda *values: one_pass.normalize(*values, 1e-3), x, gamma, beta)
    check_alike(found, answers, 1e-3)
    check_alike(back((gradient, np.zeros_like(gamma), np.zeros_like(beta))), gradients, 2e-3)


@settings(max_examples=25, deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**16), strides=st.sampled_from([1, 2]), size=st.sampled_from([1, 3, 5]))
def test_a_depthwise_convolution_and_its_gradients_are_those_of_tensorflow(shape, seed, strides, size):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape).astype("float32")
    kernel = rng.normal(size=(size, size, shape[-1], 1)).astype("float32")
    gradient = rng.normal(size=(shape[0], -(-shape[1] // strides), -(-shape[2] // strides), shape[3])).astype("float32")

    def reference(x, kernel):
        return [tf.nn.depthwise_conv2d(x, kernel, (1, strides, strides, 1), "SAME")]

    answers, gradients = in_tensorflow(reference, x, kernel, gradient=gradient)
    found, back = jax.vjp(lambda x, kernel: one_pass.depthwise_convolution(x, kernel, strides), x, kernel)
    check_alike([found], answers, 1e-5)
    check_alike(back(gradient), gradients, 1e-5)


@pytest.mark.parametrize("shape", [(2, 64, 64, 3), (3, 7, 7, 2), (1, 300, 2, 1), (2, 2, 300, 1)], ids=str)
def test_sums_in_strips_are_those_of_numpy(shape):
    one, other = np.random.default_rng(0).normal(1, 1, (2, *shape)).astype("float32")
    for found, term in zip(one_pass.sums(one, other), (one, other), strict=True):
        np.testing.assert_allclose(found, term.sum((0, 1, 2), dtype="float64"), rtol=1e-5)


ON_JAX = """
from unittest import mock
import numpy as np
from mbv2_lib import layers
from mbv2_lib.backend import keras

assert keras.config.backend() == "jax"
rng = np.random.default_rng(0)

def check_alike(name, x, tolerance, settings, more={}, asked={}, own=True, trainable=True):
    theirs, ours = getattr(keras.layers, name)(**settings, **more), getattr(layers, name)(**settings)
    for layer in (theirs, ours):
        layer.build(x.shape)
    ours.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in theirs.weights])
    theirs.set_weights(ours.get_weights())
    ours.trainable = theirs.trainable = trainable
    expected = theirs(x, **asked)
    if own:  # then Keras must not be asked
        with mock.patch.object(getattr(keras.layers, name), "call", None):
            found = ours(x, **asked)
    else:
        found = ours(x, **asked)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    for one, other in zip([found, *ours.weights], [expected, *theirs.weights]):
        one, other = (np.asarray(keras.ops.cast(value, "float32")) for value in (one, other))
        np.testing.assert_allclose(one, other, atol=tolerance * max(1, abs(other).max()))

for dtype, tolerance in (("float32", 1e-5), ("mixed_bfloat16", 0.01)):
    x = rng.normal(1, 2, (4, 8, 8, 6)).astype("float32")
    for training in (True, False):
        how = {"asked": {"training": training}, "own": training}
        check_alike("BatchNormalization", x, tolerance, {"dtype": dtype}, {"momentum": 0.9}, **how)
    for name, more in (("Conv2D", {"filters": 6}), ("DepthwiseConv2D", {})):
        plain = {"padding": "same", "use_bias": False, "dtype": dtype, **more}
        for side, strides, size in ((8, 1, 3), (8, 2, 3), (7, 2, 3), (7, 1, 1)):
            x = rng.normal(size=(2, side, side, 5)).astype("float32")
            check_alike(name, x, tolerance, plain | {"kernel_size": size, "strides": strides})
        for other in ({"use_bias": True}, {"padding": "valid"}, {"activation": "relu"}, {"dilation_rate": 2}):
            check_alike(name, x, tolerance, plain | {"kernel_size": 3} | other, own=False)
frozen = {"asked": {"training": True}, "own": False, "trainable": False}
check_alike("BatchNormalization", x, 1e-5, {}, {"momentum": 0.9}, **frozen)
x = rng.normal(1, 2, (4, 6, 8, 8)).astype("float32")
check_alike("BatchNormalization", x, 1e-5, {"axis": 1}, {"momentum": 0.9}, {"training": True}, own=False)
print("alike")
"""


def test_the_layers_on_jax_answer_as_those_of_keras():
    done = subprocess.run(
        [sys.executable, "-c", ON_JAX],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "alike\n", done.stderr


def test_in_bfloat16_a_depthwise_convolution_is_added_up_in_more_digits():
    """One rounding at the end, to 8 digits of 2; nine in a row would lose more than one."""
    rng = np.random.default_rng(0)
    x, kernel = (
        np.asarray(jax.numpy.asarray(rng.uniform(1, 2, shape), "bfloat16")) for shape in ((2, 16, 16, 8), (3, 3, 8, 1))
    )
    exact = tf.nn.depthwise_conv2d(x.astype("float64"), kernel.astype("float64"), (1, 1, 1, 1), "SAME").numpy()
    found = np.asarray(one_pass.depthwise_convolution(x, kernel, 1)).astype("float64")
    assert np.abs(found / exact - 1).max() <= 2**-8
