"""An exported model, run without TensorFlow: NumPy and ai-edge-litert (or onnxruntime) are all it needs.

Where ai-edge-litert is missing and TensorFlow is loaded anyway, TensorFlow's older copy of LiteRT runs the file.
"""

import io
import json
import re
import sys
import timeit
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mbv2_lib import quantization
from mbv2_lib.files import UserError
from mbv2_lib.quiet import quiet

LABEL = "mbv2.json"  # what a file says of itself: in a zip archive at its end, which LiteRT does not look at
INSTALL = "pip install -e '.[deploy]'"
LAYER = re.compile(r"/(stem|head|pool|classifier|block_\d+_(?:expand|depthwise|project|add))(?:_|/|$)")


# -- models ------------------------------------------------------------------------------------------------------------


class PortableModel:
    """A model file, ready to answer.

    described: what the file says of itself, with "classes" (names in order), "size" and "numbers".
    run: a function of one picture (1, size, size, 3) uint8 that returns probabilities (1, classes).
    """

    def __init__(self, described, run):
        self.described, self.run = described, run
        self.classes, self.size = described["classes"], described["size"]

    def predict(self, pictures):
        """Probabilities (n, classes) float32 of pictures (n, size, size, 3) uint8, one after the other."""
        return np.concatenate([self.run(picture[None]) for picture in pictures])


def open_model(path, threads=1):
    """The PortableModel in a file that `mbv2 export` wrote (.tflite or .onnx), computing on so many threads.

    Raises UserError where the file is missing, damaged or another program's, where its answers are not as many as its
    class names, and where the runtime is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: expected a model file, found none; `mbv2 export --run DIR` writes one")
    described, run = (_open_onnx if path.suffix.lower() == ".onnx" else _open_litert)(path, threads)
    if not is_label(described):
        raise UserError(
            f"{path}: expected a model that `mbv2 export` wrote, found one that names no classes; export it anew"
        )
    size, classes = described["size"], len(described["classes"])
    try:
        found = np.shape(run(np.zeros((1, size, size, 3), np.uint8)))
    except Exception as error:  # what the runtimes raise for a picture that they do not take shares no other class
        found = type(error).__name__
    if found != (1, classes):
        raise UserError(
            f"{path}: names {classes} classes and pictures of {size} pixels, but answers such a picture with {found}; "
            "export it anew"
        )
    return PortableModel(described, run)


def is_label(described):
    """Whether this is what an exported model says of itself."""
    if not isinstance(described, dict) or not {"classes", "size", "numbers"} <= described.keys():
        return False
    classes, size = described["classes"], described["size"]
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    return named and type(size) is int and 0 < size <= 4096


def _open_litert(path, threads):
    """What the file says of itself (None: nothing), and a function that runs it; so does `_open_onnx`."""
    interpreter = interpreter_of(path, num_threads=threads)
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(picture):
        interpreter.set_tensor(given["index"], picture)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return read_label(path), run


class Runtime(NamedTuple):
    """LiteRT as Python finds it: the name of its package, and the two classes that we need of it."""

    name: str
    interpreter: type
    operations: type


def runtime():
    """The LiteRT Runtime: ai-edge-litert's, else that of a TensorFlow which is loaded already; None without both."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        if (tensorflow := sys.modules.get("tensorflow")) is None:
            return None
        return Runtime("tensorflow", tensorflow.lite.Interpreter, tensorflow.lite.experimental.OpResolverType)
    return Runtime("ai-edge-litert", Interpreter, OpResolverType)


def interpreter_of(path, plain=False, **settings):
    """The LiteRT interpreter for a .tflite file, ready to run. Raises UserError; see `open_model`.

    plain: without the fast kernels.
    """
    if (found := runtime()) is None:
        raise UserError(f"{path}: running it needs ai-edge-litert, found none; {INSTALL}")
    if plain:
        settings["experimental_op_resolver_type"] = found.operations.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        with quiet(), warnings.catch_warnings():  # it tells which delegate it takes, and TensorFlow's that it is old
            warnings.simplefilter("ignore")
            interpreter = found.interpreter(model_path=str(path), **settings)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path}: expected a LiteRT model, found something else ({error}); export it anew") from error
    return interpreter


def _open_onnx(path, threads):
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{path}: running it needs onnxruntime, found none; pip install -e '.[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        with quiet():
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            label = json.loads(session.get_modelmeta().custom_metadata_map.get(LABEL, "null"))
        entrance = session.get_inputs()[0].name
    except Exception as error:  # its exceptions share no other class
        raise UserError(f"{path}: expected an ONNX model, found something else ({error}); export it anew") from error
    return label, lambda picture: session.run(None, {entrance: picture})[0]


def with_label(model, described):
    """The bytes of a .tflite file with `described` (a dict) in a zip archive at their end: `unzip -p` shows it."""
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(LABEL), json.dumps(described, indent=2))
    return file.getvalue()


def read_label(path):
    """What `with_label` wrote into the file at `path`; None where there is nothing of the kind."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(LABEL))
    except Exception:  # what a damaged archive raises shares no other class
        return None


# -- answers -----------------------------------------------------------------------------------------------------------


def top(probabilities, classes, count=5):
    """The likeliest classes of one picture: list of (name, probability), likeliest first. probabilities: (classes,)."""
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [(classes[place], float(probabilities[place])) for place in order]


def latency(run, repeats=50, warm_up=5):
    """Median milliseconds of a call of `run()`, after some that are not counted."""
    seconds = timeit.repeat(run, number=1, repeat=warm_up + repeats)
    return float(1e3 * np.median(seconds[warm_up:]))


def activations(path, picture):
    """What each layer of a .tflite model makes of a picture (size, size, 3) uint8: dict of name to float32 (h, w, c),
    of the last two layers (c,).

    Codes are turned back into the values that they stand for. Names are those of `costs.network_cost`. Runs without
    the fast kernels, which keep nothing between layers.
    """
    interpreter = interpreter_of(path, plain=True, experimental_preserve_all_tensors=True)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None])
    interpreter.invoke()
    found = {}
    for _, detail in _outputs(interpreter):
        if match := LAYER.search(detail["name"]):
            scale, zero = detail["quantization"]
            codes = interpreter.get_tensor(detail["index"])[0].astype(np.float32)
            found[match[1]] = (codes - zero) * scale if scale else codes
    return found


def _outputs(interpreter):
    """The name of each operation, in order, and the details of the tensor that it puts out. Nothing public tells."""
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    for operation in interpreter._get_ops_details():
        yield operation["op_name"], details[operation["outputs"][0]]


def layer_errors(path, other, pictures):
    """How far each layer of one .tflite model is from the same layer of another: dict of name to relative error.

    path: the model that counts as right, as a rule in float32; other: the one that is measured. pictures:
    (n, size, size, 3) uint8; the mean over them is returned. 0: equal; 1: the error is as long as the values.
    """
    found = {}
    for picture in pictures:
        right, measured = activations(path, picture), activations(other, picture)
        for name, values in right.items():
            found.setdefault(name, []).append(quantization.relative_error(values, measured[name]))
    return {name: float(np.mean(errors)) for name, errors in found.items()}


def ranges(path):
    """How far the operations of an int8 .tflite model can count, in order: list of (operation, lowest, highest).

    Values beyond are cut off. Operations that compute in floats have no such ends, and are left out.
    """
    interpreter = interpreter_of(path, plain=True)
    found = []
    for operation, detail in _outputs(interpreter):
        scale, zero = detail["quantization"]
        if scale:
            codes = np.iinfo(detail["dtype"])
            found.append((operation, (codes.min - zero) * scale, (codes.max - zero) * scale))
    return found
