"""The hand-built layers and network equal Keras's own, under the same weights."""

import functools

import keras
import numpy as np
import pytest

from mbv2_lib.blocks import inverted_residual
from mbv2_lib.layers import BatchNormalization
from mbv2_lib.network import copy_weights, mobilenet_v2, replace_head


def spread_weights(model, seed=0):
    """Random weights that keep activations alive through all layers, so that probabilities differ by class."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape, name = weight.shape, weight.path
        if "variance" in name or "gamma" in name:
            weight.assign(rng.uniform(0.5, 1.5, shape))
        elif len(shape) == 1:
            weight.assign(rng.normal(0, 0.2, shape))
        else:
            inputs = shape[0] * shape[1] if "depthwise" in name else np.prod(shape[:-1])
            weight.assign(rng.normal(0, 1.2 / np.sqrt(inputs), shape))


SIZES = {0.35: 224, 0.5: 96, 0.75: 97, 1.0: 224, 1.3: 96, 1.4: 97}


@pytest.mark.parametrize(("alpha", "size"), SIZES.items())
def test_the_network_equals_keras_applications_under_copied_weights(alpha, size):
    published = keras.applications.MobileNetV2(input_shape=(size, size, 3), alpha=alpha, weights=None)
    spread_weights(published)
    ours = mobilenet_v2((size, size, 3), alpha=alpha)
    copy_weights(published, ours)
    pictures = np.random.default_rng(1).uniform(0, 255, (3, size, size, 3)).astype("float32")
    expected = np.asarray(published(pictures / 127.5 - 1))
    assert expected.max() > 0.02 and np.ptp(expected, axis=0).max() > 1e-3  # answers that could differ
    np.testing.assert_allclose(ours(pictures), expected, atol=1e-5)


def test_pictures_need_not_be_square():
    assert mobilenet_v2((64, 96, 3), classes=5).output_shape == (None, 5)
    assert mobilenet_v2((64, 97, 3), classes=None).output_shape == (None, 2, 4, 1280)


@pytest.mark.parametrize(("pooling", "function"), [("avg", np.mean), ("max", np.max)])
def test_a_backbone_gives_the_features_before_the_classifier(pooling, function):
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    plain, pooled = (mobilenet_v2((64, 64, 3), classes=None, alpha=0.35, pooling=how) for how in (None, pooling))
    copy_weights(plain, pooled)
    np.testing.assert_allclose(pooled(pictures), function(np.asarray(plain(pictures)), axis=(1, 2)), rtol=1e-5)


def test_imagenet_weights_are_keras_published_ones_copied(monkeypatch):
    """No test touches the network: random weights stand in for the download, which must have been asked for."""
    published = keras.applications.MobileNetV2
    asked, source = [], None

    @functools.wraps(published)
    def offline(*args, weights, **kwargs):
        nonlocal source
        asked.append(weights)
        source = published(*args, weights=None, **kwargs)
        spread_weights(source)
        return source

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    model = mobilenet_v2(alpha=0.35, weights="imagenet")
    assert asked == ["imagenet"]
    pictures = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3)).astype("float32")
    np.testing.assert_allclose(model(pictures), source(pictures / 127.5 - 1), atol=1e-5)

    other = mobilenet_v2((96, 96, 3), classes=20, alpha=0.35, weights="imagenet")  # all but the classifier
    for given, copied in list(zip(source.weights, other.weights, strict=True))[:-2]:
        np.testing.assert_array_equal(given, copied)
    with pytest.raises(ValueError, match="published for widths"):
        mobilenet_v2(alpha=0.8, weights="imagenet")


def test_the_head_is_replaced_and_the_rest_is_shared():
    model = mobilenet_v2((32, 32, 3), classes=100, alpha=0.35)
    other = replace_head(model, 20)
    assert other.output_shape == (None, 20)
    assert all(one is two for one, two in zip(model.layers[:-1], other.layers[:-1], strict=True))
    with pytest.raises(ValueError, match="classifier"):
        replace_head(mobilenet_v2((32, 32, 3), classes=None), 20)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_shape": (32, 32, 1)},
        {"pooling": "sum", "classes": None},
        {"pooling": "avg"},
        {"weights": "a.h5"},
        {"classes": 0},
    ],
)
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        mobilenet_v2(**{"input_shape": (32, 32, 3), **wrong})


def test_stride_one_keeps_the_shape_and_adds_the_shortcut():
    x = keras.Input((14, 14, 24))
    model = keras.Model(x, inverted_residual(x, 24))
    assert model.output_shape == (None, 14, 14, 24)
    for weight in model.get_layer("block_project_bn").weights:
        weight.assign(keras.ops.zeros_like(weight))  # a block that projects to nothing leaves its input
    pictures = np.random.default_rng(0).normal(size=(2, 14, 14, 24)).astype("float32")
    np.testing.assert_array_equal(model(pictures), pictures)


def test_stride_two_halves_the_picture_and_has_no_shortcut():
    x = keras.Input((15, 14, 24))
    model = keras.Model(x, inverted_residual(x, 24, strides=2))
    assert model.output_shape == (None, 8, 7, 24)
    assert not any(isinstance(layer, keras.layers.Add) for layer in model.layers)


def test_an_expansion_of_one_has_no_expansion_convolution():
    x = keras.Input((14, 14, 24))
    names = [layer.name for layer in keras.Model(x, inverted_residual(x, 16, expansion=1)).layers]
    assert "block_expand" not in names and "block_depthwise" in names


# -- the fused batch normalization -------------------------------------------------------------------------------------


def twins(channels=5, dtype="float32", **kwargs):
    ours, keras_own = (
        BatchNormalization(dtype=dtype, **kwargs),
        keras.layers.BatchNormalization(momentum=0.9, dtype=dtype, **kwargs),
    )
    for layer in (ours, keras_own):
        layer.build((None, None, None, channels))
        rng = np.random.default_rng(3)
        layer.set_weights([rng.uniform(0.5, 2, channels).astype("float32") for _ in range(4)])
    return ours, keras_own


TOLERANCE = {"float32": 2e-5, "mixed_bfloat16": 5e-2}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(4, 7, 9, 5), (1, 2, 2, 5), (1, 1, 1, 5)])
def test_fused_normalization_equals_keras_in_outputs_gradients_and_statistics(shape, dtype, training):
    import tensorflow as tf

    ours, keras_own = twins(dtype=dtype)
    x = tf.constant(np.random.default_rng(0).normal(2, 3, shape).astype("float32"))
    weight = tf.constant(np.random.default_rng(1).normal(size=shape).astype("float32"))
    results = []
    for layer in (ours, keras_own):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(tf.cast(y, "float32") * weight)
        gradients = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
        results.append([y, *gradients, *layer.get_weights()])
    assert results[0][0].dtype == results[1][0].dtype
    for mine, expected in zip(*results, strict=True):
        scale = max(1, np.abs(expected).max())
        np.testing.assert_allclose(
            np.asarray(mine, "float32") / scale, np.asarray(expected, "float32") / scale, atol=TOLERANCE[dtype]
        )


def test_a_frozen_normalization_keeps_its_statistics():
    ours, _ = twins()
    ours.trainable = False
    before = ours.get_weights()
    ours(np.ones((2, 4, 4, 5), "float32"), training=True)
    np.testing.assert_array_equal(before, ours.get_weights())


def test_weight_files_load_in_either_layer(tmp_path):
    def small(layer):
        return keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(5, 3), layer])

    ours, keras_own = small(BatchNormalization()), small(keras.layers.BatchNormalization())
    spread_weights(ours)
    ours.save_weights(tmp_path / "ours.weights.h5")
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    keras_own.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_allclose(ours(x), keras_own(x), atol=1e-6)
    spread_weights(keras_own, seed=5)
    keras_own.save_weights(tmp_path / "keras.weights.h5")
    ours.load_weights(tmp_path / "keras.weights.h5")
    np.testing.assert_allclose(ours(x), keras_own(x), atol=1e-6)


def test_the_default_momentum_forgets_its_first_guess_in_a_short_run():
    """After 200 steps .999 still holds most of the mean 0 that it began with; ours holds nothing of it."""
    x = np.full((2, 2, 2, 5), 7.0, "float32")
    for momentum, left in ((0.9, 0.0), (0.999, 0.82)):
        layer = BatchNormalization(momentum=momentum)
        for _ in range(200):
            layer(x, training=True)
        assert 1 - np.asarray(layer.moving_mean)[0] / 7 == pytest.approx(left, abs=0.005)


def test_weights_of_another_width_are_refused():
    narrow, wide = (mobilenet_v2((32, 32, 3), 10, width, expansion=1) for width in (0.35, 0.5))
    with pytest.raises(ValueError, match="expected shape"):
        copy_weights(narrow, wide)
