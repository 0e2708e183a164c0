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


def test_the_layers_on_jax_answer_as_those_of_keras():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/layers_on_jax.py"],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("value", [399, 831, 1170, 1922, 2804])
def test_a_channel_of_one_value_has_no_variance_below_zero(value):
    """By rounding, its mean square is less than the square of its mean; the root of that would be no number."""
    x, gamma, beta = np.full((250, 8, 8, 1), value, "float32"), np.ones(1, "float32"), np.zeros(1, "float32")
    _, _, variance = one_pass.normalize(x, gamma, beta, 1e-3)
    assert variance >= 0


def test_in_bfloat16_a_depthwise_convolution_is_added_up_in_more_digits():
    """One rounding at the end, to 8 digits of 2; nine in a row would lose more than one."""
    rng = np.random.default_rng(0)
    x, kernel = (
        np.asarray(jax.numpy.asarray(rng.uniform(1, 2, shape), "bfloat16")) for shape in ((2, 16, 16, 8), (3, 3, 8, 1))
    )
    exact = tf.nn.depthwise_conv2d(x.astype("float64"), kernel.astype("float64"), (1, 1, 1, 1), "SAME").numpy()
    found = np.asarray(one_pass.depthwise_convolution(x, kernel, 1)).astype("float64")
    assert np.abs(found / exact - 1).max() <= 2**-8


def bfloat16(rng, shape):
    """Numbers around 0 that bfloat16 holds exactly, and the same in float64."""
    numbers = np.asarray(jax.numpy.asarray(rng.normal(size=shape), "bfloat16"))
    return numbers, numbers.astype("float64")


@pytest.mark.parametrize("strides", [1, 2])
def test_in_bfloat16_gradients_are_added_up_in_more_digits(strides):
    rng = np.random.default_rng(0)
    x, exact_x = bfloat16(rng, (4, 16, 16, 8))
    kernel, exact_kernel = bfloat16(rng, (3, 3, 8, 1))
    gradient, exact_gradient = bfloat16(rng, (4, 16 // strides, 16 // strides, 8))

    def reference(x, kernel):
        return [tf.nn.depthwise_conv2d(x, kernel, (1, strides, strides, 1), "SAME")]

    _, expected = in_tensorflow(reference, exact_x, exact_kernel, gradient=exact_gradient)
    _, back = jax.vjp(lambda x, kernel: one_pass.depthwise_convolution(x, kernel, strides), x, kernel)
    check_alike([one.astype("float32") for one in back(gradient)], expected, 2**-8)
