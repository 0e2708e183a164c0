"""MobileNetV2 as a Keras model: built from the list of blocks, its head swapped, ImageNet weights copied in."""

from mbv2_lib.architecture import PUBLISHED_WIDTHS, mobilenet_v2_architecture
from mbv2_lib.backend import keras
from mbv2_lib.blocks import conv_bn, inverted_residual


def mobilenet_v2(
    input_shape=(224, 224, 3),
    classes=1000,
    alpha=1.0,
    expansion=6,
    dropout=0.2,
    pooling=None,
    weights=None,
    block=inverted_residual,
):
    """MobileNetV2, from RGB pictures to class probabilities, or to features for another head.

    input_shape: (height, width, 3), any size; pictures are RGB in [0, 255] and rescaled to [-1, 1] by the first layer.
    classes: outputs of the softmax, at least 1; None for a backbone, which ends before the classifier.
    alpha, expansion: width multiplier and t, see `architecture.mobilenet_v2_architecture`.
    dropout: share of the features that is left out in training, 0 up to 1.
    pooling: how a backbone ends: None for (n, h / 32, w / 32, c), rounded up, "avg" or "max" for (n, c), where c is
        1280, and more for alpha > 1.
    weights: None for random ones, "imagenet" for those that Keras publishes (a download; the six published widths),
        all but the classifier where `classes` is not 1000.
    block: what builds a block; `ablations.BLOCKS` has others to compare with.
    Returns a keras.Model; probabilities are float32, a backbone's features of the type that its layers compute in.
    Raises ValueError for an argument outside its range.
    Source: Table 2; section 4 for the dropout and ReLU6.
    """
    if len(input_shape) != 3 or input_shape[-1] != 3:
        raise ValueError(f"input_shape: expected (height, width, 3), found {tuple(input_shape)}; pictures are RGB")
    if pooling not in (None, "avg", "max") or (pooling and classes):
        raise ValueError(
            f'pooling: expected None, or "avg" or "max" with classes=None, found {pooling!r} with classes={classes}'
        )
    if weights not in (None, "imagenet"):
        raise ValueError(f'weights: expected None or "imagenet", found {weights!r}; files: model.load_weights(file)')
    if classes is not None and classes < 1:
        raise ValueError(f"classes: expected at least 1, or None for a backbone, found {classes}")
    stem, blocks, head = mobilenet_v2_architecture(alpha, expansion)

    pictures = keras.Input(input_shape, name="pictures")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(pictures)
    x = conv_bn(x, stem, kernel=3, strides=2, name="stem")
    for row in blocks:
        x = block(x, row.filters, row.strides, row.expansion, name=row.name)
    x = conv_bn(x, head, kernel=1, name="head")
    if classes or pooling:
        pool = keras.layers.GlobalMaxPooling2D if pooling == "max" else keras.layers.GlobalAveragePooling2D
        x = pool(name="pool")(x)
    if classes:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
        x = classifier(classes)(x)
    model = keras.Model(pictures, x, name="mobilenet_v2")
    if weights == "imagenet":
        copy_imagenet_weights(model, alpha, expansion)
    return model


def classifier(classes):
    """The last layer: softmax over `classes`, in float32 also where the rest computes in bfloat16."""
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name="classifier")


def replace_head(model, classes):
    """The same network, sharing its layers and weights, with a new random classifier of `classes` outputs.

    Raises ValueError for a model that does not end in a layer named "classifier".
    """
    if model.layers[-1].name != "classifier":
        raise ValueError(f'expected a model that ends in a layer "classifier", found "{model.layers[-1].name}"')
    features = model.layers[-1].input
    return keras.Model(model.inputs, classifier(classes)(features), name=model.name)


def copy_weights(source, target):
    """Copy weights from one model to another in the order of their layers, and stop where `target` has no more.

    Both list convolutions and batch normalizations from the picture to the classifier. A classifier of another number
    of classes is left as it is. Raises ValueError where `source` has fewer weights, or another shape before the
    classifier.
    """
    if len(source.weights) < len(target.weights):
        raise ValueError(f"expected {len(target.weights)} weights, found {len(source.weights)}")
    pairs = list(zip(source.weights, target.weights, strict=False))
    for given, wanted in pairs:
        if tuple(given.shape) != tuple(wanted.shape) and "classifier" not in wanted.path:
            raise ValueError(f"{wanted.path}: expected shape {tuple(wanted.shape)}, found {tuple(given.shape)}")
    for given, wanted in pairs:
        if tuple(given.shape) == tuple(wanted.shape):
            wanted.assign(given)


def copy_imagenet_weights(model, alpha, expansion=6):
    """Copy the ImageNet weights that Keras publishes into `model`; downloads them once (about 14 MB at width 1.0).

    Raises ValueError for a width or expansion that was not published.
    """
    if alpha not in PUBLISHED_WIDTHS or expansion != 6:
        raise ValueError(
            f'weights="imagenet": published for widths {PUBLISHED_WIDTHS} and expansion 6, found {alpha} and '
            f"{expansion}; choose one of these or weights=None"
        )
    published = keras.applications.MobileNetV2(input_shape=(224, 224, 3), alpha=alpha, weights="imagenet")
    copy_weights(published, model)
