"""A trained run leaves Keras: files for LiteRT (float32 and int8) and ONNX that take uint8 pictures.

Rescaling is the network's first layer, so that a file is fed with pixels as they are. Running the files is
`inference.py`'s work, which knows nothing of TensorFlow.
"""

import contextlib
import dataclasses
import importlib.util
import json
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mbv2_lib import __version__, evaluation, inference, pictures, pipeline, runs, training
from mbv2_lib.backend import keras
from mbv2_lib.files import UserError, whole_file
from mbv2_lib.quiet import quiet

COMPARED = 500  # held-out pictures that a new file is tried on


# -- from a network to the bytes of a file ----------------------------------------------------------------------------


def for_pictures(network):
    """The same network for one picture a call, (1, size, size, 3) uint8, to probabilities (1, classes) float32."""
    given = keras.Input(network.input_shape[1:], batch_size=1, dtype="uint8", name="pictures")
    return keras.Model(given, network(keras.ops.cast(given, "float32")), name="portable")


def to_litert(network, **settings):
    """The network as the bytes of a LiteRT file that computes in float32. Raises UserError; see `exporting`.

    settings: attributes of TensorFlow's converter to set. Keras's `export` would write the network to files on its way
    and read them back twice, which takes several times as long for the same operations.
    """
    with exporting():
        import tensorflow as tf

        model = for_pictures(network)
        given = tf.TensorSpec(model.input_shape, tf.uint8, name="pictures")
        traced = tf.function(model, autograph=False).get_concrete_function(given)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], model)
        converter.experimental_lower_to_saved_model = False  # weights become constants of the graph at once
        for name, value in settings.items():
            setattr(converter, name, value)
        return converter.convert()


def to_int8(network, calibration):
    """The network as the bytes of a LiteRT file that computes in int8: post-training quantization.

    Weights are rounded to int8 with one scale a channel. Each activation gets one scale and one zero point, from the
    lowest and highest value that it takes for the `calibration` pictures (n, size, size, 3), in the range of those that
    the file will be fed with: RGB, 0 to 255.
    Raises UserError; see `exporting`. Source: Jacob et al., arXiv 1712.05877.
    """
    import tensorflow as tf

    return to_litert(
        network,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([picture[None]] for picture in np.asarray(calibration, "uint8")),
        target_spec=tf.lite.TargetSpec([tf.lite.OpsSet.TFLITE_BUILTINS_INT8]),  # a layer that cannot be is an error
    )


def to_onnx(network):
    """The network as the bytes of an ONNX file. Raises UserError where its libraries are missing; see `exporting`."""
    missing = [name for name in ("onnx", "tf2onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--format onnx: needs {' and '.join(missing)}, found none; pip install -e '.[onnx]'")
    model = for_pictures(network)
    with exporting(), tempfile.TemporaryDirectory() as folder:
        model(np.zeros(model.input_shape, "uint8"))  # Keras's exporter asks for a model that has been called
        model.export(Path(folder) / "model.onnx", format="onnx", verbose=False)
        return (Path(folder) / "model.onnx").read_bytes()


@contextlib.contextmanager
def exporting():
    """Quiet, and a UserError for what a user can mend: another backend than TensorFlow, or a full disk."""
    if keras.config.backend() != "tensorflow":
        raise UserError(f"KERAS_BACKEND={keras.config.backend()}: exporting needs TensorFlow; unset KERAS_BACKEND")
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError as error:
        raise UserError(
            f"{tempfile.gettempdir()}: the model could not be written there on its way ({error}); free some space, or "
            "set TMPDIR to a folder with more"
        ) from error


# -- calibration and comparison ----------------------------------------------------------------------------------------


def some_pictures(split, size, count):
    """`count` pictures of a `pipeline.Split`, the same at each call, as a network of `size` pixels is fed with them.

    Returns a `pipeline.Split` with pictures (count, size, size, 3) uint8, or all where there are fewer.
    """
    rows = np.random.default_rng(0).permutation(len(split.labels))[:count]
    chosen = split.take(np.sort(rows))
    if isinstance(chosen.pictures, np.ndarray):
        fitted = np.stack([pictures.fit(picture, size) for picture in chosen.pictures])
    else:
        fitted = pipeline.read_pictures(chosen.pictures, size)
    return pipeline.Split(fitted, chosen.labels)


class Comparison(NamedTuple):
    """How far two models agree on the same pictures."""

    difference: float  # the largest difference of two probabilities
    agreement: float  # share of the pictures with the same likeliest class
    top1: tuple  # accuracy of the one and of the other
    pictures: int


def compare(one, other, labels):
    """The Comparison of two models' probabilities, each (n, classes), for pictures with these labels (n,)."""
    first, second = one.argmax(axis=1), other.argmax(axis=1)
    top1 = tuple(float(evaluation.in_top(answers, labels, 1).mean()) for answers in (one, other))
    return Comparison(float(np.abs(one - other).max()), float((first == second).mean()), top1, len(labels))


# -- a run folder to files ---------------------------------------------------------------------------------------------


def load_run(run, weights="last"):
    """(network in float32, its TrainConfig, all of config.json) of a run folder. weights: "last" or "best".

    Raises UserError where the folder is no run or holds no such weights.
    """
    config, described = runs.read_config(run)
    path = runs.weights_file(run, weights)
    return training.trained_network(dataclasses.replace(config, precision="float32"), path), config, described


def export_run(run, out, data, weights, form, calibration):
    """Export a run to `out` (else the run folder), try each file on held-out pictures, and print a line about it.

    Writes float32.tflite and int8.tflite, or float32.onnx for form="onnx"; each appears whole or not at all, and
    holds class names, size and the digest of the data (see `inference.read_label`). data: as for training, where it
    is no longer at the place that the run's config.json names. calibration: how many training pictures set the
    scales of int8.
    Raises UserError where a disk is full, and before anything is written where weights are missing or data misfit.
    """
    network, config, described = load_run(run, weights)
    opened = training.open_same_data(data or config.data, config, described)
    held_out = some_pictures(opened.validation, config.size, COMPARED)
    expected = network.predict(held_out.pictures.astype("float32"), batch_size=100, verbose=0)
    label = {
        "written_by": f"mbv2_lib {__version__}",
        "size": config.size,
        "alpha": config.alpha,
        "weights": weights,
        "data_digest": described["data_digest"],
        "classes": described["class_names"],
    }

    def write(name, content, **more):
        path = write_model(Path(out or run) / name, content, label | more)
        print(f"{path}: {trial(path, held_out, expected)}", flush=True)

    if form == "onnx":
        write("float32.onnx", to_onnx(network), numbers="float32")
    else:
        write("float32.tflite", to_litert(network), numbers="float32")
        chosen = some_pictures(opened.train, config.size, calibration).pictures
        write("int8.tflite", to_int8(network, chosen), numbers="int8", calibration_pictures=len(chosen))


def write_model(path, content, label):
    """Write a model's bytes, with `label` (a dict) in them; returns the path. Raises UserError as `whole_file` does."""
    path = Path(path)
    content = with_onnx_label(content, label) if path.suffix == ".onnx" else inference.with_label(content, label)
    with whole_file(path) as aside:
        aside.write_bytes(content)
    return path


def with_onnx_label(content, label):
    """The bytes of an ONNX file with `label` among its metadata."""
    import onnx

    model = onnx.load_from_string(content)
    model.metadata_props.add(key=inference.LABEL, value=json.dumps(label))
    return model.SerializeToString()


def trial(path, held_out, expected):
    """A line on a file: its size, and how its answers compare with Keras's, `expected` (n, classes)."""
    size = f"{Path(path).stat().st_size / 1e6:.2f} MB"
    try:
        answers = inference.open_model(path).predict(held_out.pictures)
    except UserError as problem:
        return f"{size}; not tried: {problem}"
    found = compare(expected, answers, held_out.labels)
    return (
        f"{size}; on {found.pictures} held-out pictures the likeliest class is Keras's in {found.agreement:.1%}, "
        f"probabilities differ by {found.difference:.1g} at most, top-1 {found.top1[0]:.1%} -> {found.top1[1]:.1%}"
    )
