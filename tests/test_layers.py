"""The layers are Keras's own, computed otherwise: batch normalization alone and in a whole network.

`test_network.py` compares single calls of the normalization; here are random inputs over several steps, the layout of
weights, and networks that were trained with one and go on with the other.
"""

import inspect

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mbv2_lib import blocks
from mbv2_lib.backend import keras
from mbv2_lib.layers import BatchNormalization
from mbv2_lib.network import mobilenet_v2

PRECISIONS = ("float32", "mixed_bfloat16")
SIZE, CLASSES = 64, 5


def built(layer, channels):
    layer.build((None, None, None, channels))
    return layer


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 17)),
    mean=st.floats(-5, 5),
    deviation=st.floats(0.1, 5),
    momentum=st.floats(0.5, 0.999),
    precision=st.sampled_from(PRECISIONS),
    seed=st.integers(0, 2**16),
)
def test_statistics_and_answers_agree_after_several_steps_on_random_inputs(
    shape, mean, deviation, momentum, precision, seed
):
    ours, keras_own = (
        built(kind(momentum=momentum, dtype=precision), shape[-1])
        for kind in (BatchNormalization, keras.layers.BatchNormalization)
    )
    rng = np.random.default_rng(seed)
    for _ in range(4):
        x = rng.normal(mean, deviation, shape).astype("float32")
        for layer in (ours, keras_own):
            layer(x, training=True)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if precision == "float32" else {"rtol": 2e-2, "atol": 0.05}
    for one, other in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, **tolerance)
    answers = [np.asarray(layer(x, training=False), "float32") for layer in (ours, keras_own)]
    np.testing.assert_allclose(*answers, rtol=tolerance["rtol"], atol=10 * tolerance["atol"])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_have_one_layout(precision):
    """Same names, order, shapes, number types and share of trained ones: a file cannot tell the two apart."""
    layouts = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        layer = built(kind(name="bn", dtype=precision), 7)
        layouts.append([(w.path, w.shape, w.dtype, w.trainable) for w in layer.weights])
    assert layouts[0] == layouts[1]
    assert [name.rpartition("/")[2] for name, *_ in layouts[0]] == ["gamma", "beta", "moving_mean", "moving_variance"]


@pytest.mark.parametrize("settings", [{"axis": 1}, {"scale": False}, {"center": False}, {"dtype": "float64"}], ids=str)
def test_settings_that_the_network_does_not_have_are_left_to_keras(settings):
    x = np.random.default_rng(0).normal(2, 3, (2, 4, 4, 4))
    ours, keras_own = (
        kind(momentum=0.9, **settings)(x, training=True)
        for kind in (BatchNormalization, keras.layers.BatchNormalization)
    )
    np.testing.assert_array_equal(ours, keras_own)


def test_the_variance_of_one_small_picture_is_that_of_numpy_without_the_correction():
    x = np.random.default_rng(0).normal(size=(1, 7, 7, 3)).astype("float32")
    layer = built(BatchNormalization(momentum=0.0), 3)
    layer(x, training=True)
    np.testing.assert_allclose(layer.moving_variance, x.var(axis=(0, 1, 2)), rtol=1e-5)


# -- the rule that chooses, and whole networks -------------------------------------------------------------------------


def use_keras_own(monkeypatch):
    """From here on the layer computes as Keras's."""
    monkeypatch.setattr(BatchNormalization, "call", keras.layers.BatchNormalization.call)


def operations(network):
    graph = tf.function(lambda x: network(x, training=True)).get_concrete_function(
        tf.TensorSpec((2, SIZE, SIZE, 3), "float32")
    )
    return [operation.type for operation in graph.graph.get_operations()]


def small_network():
    return mobilenet_v2((SIZE, SIZE, 3), CLASSES, alpha=0.35, dropout=0.0)


def test_one_rule_decides_and_the_blocks_show_no_trace_of_it(monkeypatch):
    network = small_network()
    normalizations = sum(isinstance(layer, BatchNormalization) for layer in network.layers)
    assert operations(network).count("FusedBatchNormV3") == normalizations == 52
    use_keras_own(monkeypatch)
    assert "FusedBatchNormV3" not in operations(network)
    source = inspect.getsource(blocks).lower()
    assert "fused" not in source and "tensorflow" not in source


def batch(seed=0, pictures=16):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 255, (pictures, SIZE, SIZE, 3)).astype("float32")
    return x, np.arange(pictures) % CLASSES


@pytest.mark.parametrize("frozen", [False, True])
def test_a_whole_network_has_the_gradients_and_statistics_that_it_has_with_keras_own(frozen, monkeypatch):
    """Two networks of the same weights. Deep networks magnify rounding, hence the comparison by direction."""
    x, labels = batch()
    ours, other = small_network(), small_network()
    for one, two in zip(ours.weights, other.weights, strict=True):
        two.assign(one)
    found = []
    for network in (ours, other):
        if network is other:
            use_keras_own(monkeypatch)
        for layer in network.layers:
            layer.trainable = not (frozen and isinstance(layer, BatchNormalization))
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, network(x, training=True)))
        gradients = tape.gradient(loss, [weight.value for weight in network.trainable_weights])
        moving = [np.asarray(weight) for weight in network.weights if "moving" in weight.path]
        found.append((float(loss), np.concatenate([np.ravel(gradient) for gradient in gradients]), moving))
    (loss, gradient, moving), (expected_loss, expected_gradient, expected_moving) = found
    assert loss == pytest.approx(expected_loss, rel=1e-3)
    lengths = np.linalg.norm(gradient) * np.linalg.norm(expected_gradient)
    assert gradient @ expected_gradient / lengths > 0.99
    assert np.linalg.norm(gradient) == pytest.approx(np.linalg.norm(expected_gradient), rel=0.05)
    for one, two in zip(moving, expected_moving, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-2, atol=1e-2)
        assert not frozen or set(np.unique(one)) <= {0.0, 1.0}


@pytest.mark.parametrize("trained_with", ["fused", "keras"])
def test_a_network_trained_with_one_answers_the_same_with_the_other(trained_with, monkeypatch, tmp_path):
    x, labels = batch()
    with monkeypatch.context() as patch:
        if trained_with == "keras":
            use_keras_own(patch)
        network = small_network()
        network.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy", run_eagerly=True)
        network.fit(x, labels, batch_size=8, verbose=0)
        network.save_weights(tmp_path / "a.weights.h5")
        expected = np.asarray(network(x))
    if trained_with == "fused":
        use_keras_own(monkeypatch)
    other = small_network()
    assert np.abs(np.asarray(other(x)) - expected).max() > 1e-3  # before the file is read they differ
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(other(x), expected, atol=1e-4)


def test_a_saved_model_brings_its_layer_back(tmp_path):
    network = keras.Sequential([keras.Input((8, 8, 3)), BatchNormalization(momentum=0.7)])
    network(np.random.default_rng(0).normal(2, 3, (4, 8, 8, 3)).astype("float32"), training=True)
    network.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert type(loaded.layers[0]) is BatchNormalization and loaded.layers[0].momentum == 0.7
    for one, other in zip(network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
