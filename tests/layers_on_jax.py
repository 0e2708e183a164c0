"""The library's layers on JAX against Keras's there. `test_one_pass` runs this: a process has but one backend."""

import contextlib
from unittest import mock

import numpy as np
import pytest

from mbv2_lib import layers
from mbv2_lib.backend import keras

TOLERANCES = {"float32": 1e-5, "mixed_bfloat16": 0.01}
OURS = {"BatchNormalization": {}, "Conv2D": {"filters": 6}, "DepthwiseConv2D": {}}
PLAIN = {"padding": "same", "use_bias": False}


def test_jax_computes():
    assert keras.config.backend() == "jax"


def check_alike(name, shape, settings, training=None, trainable=True, own=True):
    """Both layers, with the same weights, answer alike and follow alike; `own`: without ours asking Keras's."""
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, shape).astype("float32")
    theirs, ours = (getattr(module, name)(**OURS[name] | settings) for module in (keras.layers, layers))
    for layer in (theirs, ours):
        layer.build(x.shape)
        layer.trainable = trainable
    ours.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in theirs.weights])
    theirs.set_weights(ours.get_weights())
    asked = {} if training is None else {"training": training}
    expected = theirs(x, **asked)
    with mock.patch.object(getattr(keras.layers, name), "call", None) if own else contextlib.nullcontext():
        found = ours(x, **asked)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    tolerance = TOLERANCES[settings.get("dtype", "float32")]
    for one, other in zip([found, *ours.weights], [expected, *theirs.weights], strict=True):
        one, other = (np.asarray(keras.ops.cast(value, "float32")) for value in (one, other))
        np.testing.assert_allclose(one, other, atol=tolerance * max(1, abs(other).max()))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("training", [True, False])
def test_batch_normalization(dtype, training):
    check_alike("BatchNormalization", (4, 8, 8, 6), {"dtype": dtype, "momentum": 0.9}, training, own=training)


def test_a_frozen_batch_normalization_and_one_over_another_axis_are_left_to_keras():
    check_alike("BatchNormalization", (4, 8, 8, 6), {"momentum": 0.9}, training=True, trainable=False, own=False)
    check_alike("BatchNormalization", (4, 6, 8, 8), {"momentum": 0.9, "axis": 1}, training=True, own=False)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", ["Conv2D", "DepthwiseConv2D"])
@pytest.mark.parametrize(("side", "strides", "size"), [(8, 1, 3), (8, 2, 3), (7, 2, 3), (7, 1, 1)])
def test_a_convolution_of_the_network(dtype, name, side, strides, size):
    settings = PLAIN | {"dtype": dtype, "kernel_size": size, "strides": strides}
    check_alike(name, (2, side, side, 5), settings)


@pytest.mark.parametrize("name", ["Conv2D", "DepthwiseConv2D"])
@pytest.mark.parametrize(
    "other", [{"use_bias": True}, {"padding": "valid"}, {"activation": "relu"}, {"dilation_rate": 2}], ids=str
)
def test_another_convolution_is_left_to_keras(name, other):
    check_alike(name, (2, 7, 7, 5), PLAIN | {"kernel_size": 3} | other, own=False)
