"""An exported file answers as the trained network does, also without TensorFlow; mistakes get one line each."""

import contextlib
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from mbv2_lib import deployment, folders, inference, pictures, pipeline, shapes100
from mbv2_lib.__main__ import main
from mbv2_lib.files import UserError

RUN = Path(__file__).parents[1] / "data" / "reference_runs" / "shapes100-64px"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(float32.tflite, int8.tflite) of the trained reference network, written by the command line."""
    out = tmp_path_factory.mktemp("exported")
    assert main(["export", "--run", str(RUN), "--out", str(out), "--calibration", "200"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["float32.tflite", "int8.tflite"]
    return out / "float32.tflite", out / "int8.tflite"


@pytest.fixture(scope="module")
def trained():
    """(the network in Keras, 400 held-out pictures, its probabilities)."""
    network, config, _ = deployment.load_run(RUN)
    held_out = deployment.some_pictures(pipeline.open_data("shapes100").validation, config.size, 400)
    return network, held_out, network.predict(held_out.pictures.astype("float32"), batch_size=100, verbose=0)


@pytest.fixture
def samples(tmp_path):
    """Three picture files of Shapes-100."""
    paths = [tmp_path / f"sample_{place}.png" for place in range(3)]
    for path, picture in zip(paths, shapes100.draw(1)[0][:3], strict=True):
        cv2.imwrite(str(path), picture[..., ::-1])
    return paths


# -- the files answer as Keras does ------------------------------------------------------------------------------------


def test_float32_differs_from_keras_by_rounding_alone(exported, trained):
    _, held_out, expected = trained
    found = deployment.compare(expected, inference.open_model(exported[0]).predict(held_out.pictures), held_out.labels)
    assert found.difference <= 1e-4 and found.agreement == 1 and found.top1[0] == found.top1[1] > 0.8


def test_int8_agrees_with_keras_and_is_a_third_of_the_size(exported, trained):
    _, held_out, expected = trained
    found = deployment.compare(expected, inference.open_model(exported[1]).predict(held_out.pictures), held_out.labels)
    assert found.agreement >= 0.95 and found.top1[1] >= 0.98 * found.top1[0]
    assert found.difference > 1e-3  # it was quantized indeed
    assert exported[1].stat().st_size < 0.4 * exported[0].stat().st_size


def test_the_layers_of_both_files_carry_the_names_of_the_network(exported, trained):
    network, held_out, _ = trained
    plain, rounded = (inference.activations(path, held_out.pictures[0]) for path in exported)
    assert set(plain) == set(rounded) and len(plain) == 64
    for name in ("stem", "block_0_project", "block_5_depthwise", "block_16_project", "head"):
        last = name if name.endswith("project") else f"{name}_relu"  # what the file's fused layer puts out
        layer = network.get_layer(f"{last}_bn" if name.endswith("project") else last)
        model = deployment.keras.Model(network.input, layer.output)
        expected = np.asarray(model(held_out.pictures[:1].astype("float32")))[0]
        np.testing.assert_allclose(plain[name], expected, atol=1e-3)
        assert np.abs(rounded[name] - expected).mean() < 0.2 * np.abs(expected).mean()


def test_the_error_of_a_layer_is_the_mean_of_a_ratio_of_lengths(exported, trained):
    three = trained[1].pictures[:3]
    found = inference.layer_errors(*exported, three)
    for name in ("stem", "block_7_add", "classifier"):
        right, rounded = (np.stack([inference.activations(path, p)[name].ravel() for p in three]) for path in exported)
        expected = (np.linalg.norm(right - rounded, axis=1) / np.linalg.norm(right, axis=1)).mean()
        assert found[name] == pytest.approx(expected, rel=1e-4) and found[name] > 1e-3
    assert len(found) == 64 and set(inference.layer_errors(exported[0], exported[0], three).values()) == {0}


def test_a_file_counts_from_black_to_white_and_no_layer_leaves_its_range(exported, trained):
    found = inference.ranges(exported[1])
    assert [operation for operation, *_ in found[:4]] == ["QUANTIZE", "MUL", "ADD", "CONV_2D"]
    np.testing.assert_allclose([found[0][1:], found[2][1:]], [(0, 255), (-1, 1)], atol=0.01)
    layers = list(inference.activations(exported[0], trained[1].pictures[0]).values())  # int8's own are cut off there
    convolutions = [ends for operation, *ends in found if operation in ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD")][1:]
    for (lowest, highest), values in zip(convolutions, layers, strict=False):
        slack = 0.02 * (highest - lowest)
        assert lowest - slack <= values.min() and values.max() <= highest + slack < 20
    assert {operation for operation, *_ in inference.ranges(exported[0])} == set()


def test_onnx_agrees_where_its_libraries_are_installed(trained, tmp_path):
    for library in ("onnx", "tf2onnx", "onnxruntime"):
        pytest.importorskip(library)
    network, held_out, expected = trained
    label = {"classes": list(shapes100.CLASSES), "size": 64, "numbers": "float32"}
    path = deployment.write_model(tmp_path / "float32.onnx", deployment.to_onnx(network), label)
    found = deployment.compare(expected, inference.open_model(path).predict(held_out.pictures), held_out.labels)
    assert found.difference <= 1e-4 and found.agreement == 1


def test_a_file_answers_in_a_process_that_can_not_import_tensorflow(exported, samples):
    code = "import sys; sys.modules.update(tensorflow=None, keras=None, jax=None)\n"
    code += "from mbv2_lib.__main__ import main; sys.exit(main(sys.argv[1:]))"
    for model in exported:
        command = [sys.executable, "-c", code, "predict", "--model", model, "--threads", "2", *samples]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 3 * 6 and lines[::6] == [str(path) for path in samples]
        shares = [float(line.split()[0].rstrip("%")) for line in lines[1:6]]
        assert shares == sorted(shares, reverse=True) and lines[1].split()[1] in shapes100.CLASSES


def test_a_file_says_what_it_was_made_of(exported):
    said = inference.open_model(exported[1]).described
    described = json.loads((RUN / "config.json").read_text())
    assert said["classes"] == described["class_names"] and said["data_digest"] == described["data_digest"]
    assert (said["size"], said["numbers"], said["calibration_pictures"]) == (64, "int8", 200)


def test_the_five_likeliest_are_sorted_and_equal_ones_keep_their_order():
    probabilities = np.array([0.1, 0.3, 0.1, 0.4, 0.05, 0.05])
    names = [name for name, _ in inference.top(probabilities, list("abcdef"))]
    assert names == ["d", "b", "a", "c", "e"]


def test_latency_is_the_median_of_what_a_call_takes():
    waits = iter([0.05, 0.002, 0.002, 0.03])
    assert 2 <= inference.latency(lambda: time.sleep(next(waits)), repeats=3, warm_up=1) < 25


# -- mistakes ----------------------------------------------------------------------------------------------------------


def complaint(capfd, *command):
    """The one line that a wrong command gets, beside exit status 2."""
    capfd.readouterr()
    status = main([str(word) for word in command])
    said = capfd.readouterr()
    lines = said.err.strip().splitlines()
    assert status == 2 and len(lines) == 1 and lines[0].startswith("mbv2: "), said
    return lines[0]


@contextlib.contextmanager
def files_no_larger_than(size):
    """Inside, no file may grow past so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_run_without_weights_is_refused_before_anything_is_written(tmp_path, capfd):
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    assert "config.json" in complaint(capfd, "export", "--run", run, "--out", out)
    shutil.copy(RUN / "config.json", run)
    assert "last.weights.h5" in complaint(capfd, "export", "--run", run, "--out", out)
    assert not out.exists()


def test_data_of_other_classes_is_refused_before_anything_is_written(tmp_path, capfd):
    out = tmp_path / "out"
    for split in ("train", "validation"):
        for name in ("cat", "dog"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / "0.png"), np.zeros((8, 8, 3), np.uint8))
    line = complaint(capfd, "export", "--run", RUN, "--out", out, "--data", tmp_path / "data")
    assert "100 classes" in line and "2 other ones" in line
    assert "--data" in complaint(capfd, "export", "--run", RUN, "--out", out, "--data", tmp_path / "gone")
    assert not out.exists()


def test_a_full_disk_leaves_nothing_half_written(tmp_path, capfd):
    out = tmp_path / "out"
    with files_no_larger_than(500_000):
        line = complaint(capfd, "export", "--run", RUN, "--out", out)
    assert "free some space" in line and list(out.iterdir()) == []
    with files_no_larger_than(500_000), pytest.raises(UserError, match="free some space"):
        deployment.write_model(tmp_path / "half.tflite", bytes(2_000_000), {})
    assert not [path for path in tmp_path.rglob("*") if "half" in path.name]


def test_an_export_says_nothing_on_its_way():
    """TensorFlow's logger has been told by `backend` to report errors alone; warnings of Python are dropped here."""
    logger, told = logging.getLogger("tensorflow"), []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned, deployment.exporting():
            logger.info("Assets written to: somewhere")
            logger.warning("5 out of the last 5 calls triggered retracing")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            logger.error("a real one")
        assert told == ["a real one"] and not warned
    finally:
        logger.removeHandler(handler)


def test_another_backend_than_tensorflow_is_named(trained, monkeypatch):
    monkeypatch.setattr(deployment.keras.config, "backend", lambda: "jax")
    with pytest.raises(UserError, match="KERAS_BACKEND=jax: exporting needs TensorFlow"):
        deployment.to_litert(trained[0])


@pytest.mark.parametrize("name", ["gone.tflite", "words.tflite", "words.onnx", "cut.tflite", "other.tflite"])
def test_a_file_that_is_no_model_of_ours(name, exported, samples, tmp_path, capfd):
    content = exported[0].read_bytes()
    contents = {"words": b"not a model", "cut": content[:100_000], "other": content[: content.rfind(b"PK\x03\x04")]}
    if name[: name.index(".")] in contents:
        (tmp_path / name).write_bytes(contents[name[: name.index(".")]])
    line = complaint(capfd, "predict", "--model", tmp_path / name, *samples)
    assert name in line and "expected" in line and "found" in line


def test_an_onnx_model_of_another_program_is_refused(samples, tmp_path, capfd):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    one, other, added = (onnx.helper.make_tensor_value_info(name, 1, [2]) for name in ("one", "other", "added"))
    node = onnx.helper.make_node("Add", ["one", "other"], ["added"])
    graph = onnx.helper.make_graph([node], "sum", [one, other], [added])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "sum.onnx")
    assert "names no classes" in complaint(capfd, "predict", "--model", tmp_path / "sum.onnx", *samples)


def test_a_model_whose_class_names_are_not_as_many_as_its_answers(exported, samples, tmp_path, capfd):
    content, described = exported[0].read_bytes(), inference.read_label(exported[0])
    bare = content[: content.rfind(b"PK\x03\x04")]
    model = tmp_path / "ten.tflite"
    model.write_bytes(inference.with_label(bare, described | {"classes": described["classes"][:10]}))
    line = complaint(capfd, "predict", "--model", model, *samples)
    assert "10 classes" in line and "(1, 100)" in line


@pytest.mark.parametrize(
    "label", [{"classes": 5}, {"classes": None}, {"classes": {"a": 1}}, {"size": 32.0}, {"size": [32]}, {"size": 10**9}]
)
def test_a_model_whose_label_was_spoilt(label, exported, samples, tmp_path, capfd):
    content, described = exported[0].read_bytes(), inference.read_label(exported[0])
    model = tmp_path / "spoilt.tflite"
    model.write_bytes(inference.with_label(content[: content.rfind(b"PK\x03\x04")], described | label))
    assert "names no classes" in complaint(capfd, "predict", "--model", model, *samples)


def test_a_missing_runtime_is_named_with_the_way_to_install_it(exported, samples, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.delitem(sys.modules, "tensorflow")
    assert inference.runtime() is None
    assert "pip install -e '.[deploy]'" in complaint(capfd, "predict", "--model", exported[0], *samples)
    assert "tensorflow" not in sys.modules  # nor is it loaded for this


def test_where_tensorflow_is_loaded_its_own_runtime_steps_in(exported, trained, monkeypatch, capfd):
    pictures_ = trained[1].pictures[:20]
    own = [inference.open_model(path).predict(pictures_) for path in exported]
    layers = inference.activations(exported[1], pictures_[0])
    assert inference.runtime().name == "ai-edge-litert"
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert inference.runtime().name == "tensorflow"
    capfd.readouterr()
    for path, expected, step in zip(exported, own, (1e-5, 1 / 64), strict=True):  # int8 may round another way
        np.testing.assert_allclose(inference.open_model(path).predict(pictures_), expected, atol=step)
    for name, values in inference.activations(exported[1], pictures_[0]).items():
        np.testing.assert_allclose(values, layers[name], atol=0.05 * np.abs(values).max(), err_msg=name)
    assert capfd.readouterr().err == ""


def test_a_file_that_is_no_picture_is_named_and_the_others_are_answered(exported, samples, capfd):
    samples[1].write_bytes(samples[1].read_bytes()[:200])
    status = main(["predict", "--model", str(exported[1]), *map(str, samples)])
    said = capfd.readouterr()
    assert status == 2 and said.err.count("\n") == 1 and samples[1].name in said.err and "truncated" in said.err
    assert samples[0].name in said.out and samples[2].name in said.out and len(said.out.splitlines()) == 12


# -- pictures of every kind --------------------------------------------------------------------------------------------


def noise(height, width, channels=3):
    return np.random.default_rng(height).integers(0, 256, (height, width, channels), np.uint8)


def saved(tmp_path, picture, name="picture.png", **settings):
    """The bytes that Pillow writes for an array or an Image."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(tmp_path / name, **settings)
    return (tmp_path / name).read_bytes()


@pytest.mark.parametrize("height, width", [(20, 900), (900, 20), (1, 1), (64, 64), (3000, 64), (30, 40), (300, 400)])
def test_a_picture_of_any_shape_fits_the_network(height, width, tmp_path):
    data = saved(tmp_path, np.full((height, width, 3), (250, 100, 3), np.uint8))
    fitted = pictures.read(tmp_path / "picture.png", 64)
    assert fitted.shape == (64, 64, 3) and fitted.dtype == np.uint8 and (fitted == (250, 100, 3)).all()
    assert pictures.decode(data, "it").shape == (height, width, 3)


def test_each_side_is_fitted_by_itself():
    wide = noise(16, 128)  # shrunk by means of two columns, its rows enlarged
    means = wide.reshape(16, 64, 2, 3).mean(axis=2)
    expected = cv2.resize(means.astype(np.float32), (64, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(pictures.fit(wide, 64) - expected).max() <= 1.5


def test_grey_becomes_three_equal_channels_and_16_bits_become_8(tmp_path):
    grey = noise(12, 9)[..., 0]
    read = pictures.decode(saved(tmp_path, grey), "it")
    np.testing.assert_array_equal(read, np.repeat(grey[..., None], 3, axis=2))
    deep = pictures.decode(cv2.imencode(".png", grey.astype(np.uint16) * 257)[1].tobytes(), "it")
    np.testing.assert_array_equal(deep, read)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(mode, tmp_path):
    image, settings = Image.fromarray(noise(10, 14, 4), "RGBA"), {}
    if mode == "LA":
        image = image.convert("LA")
    if mode == "P":
        image, settings = image.convert("RGB").quantize(8), {"transparency": 3}
    data = saved(tmp_path, image, **settings)
    whole = Image.open(tmp_path / "picture.png").convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    difference = pictures.decode(data, "it").astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_was_held(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(tmp_path, cv2.GaussianBlur(noise(24, 40), (0, 0), 3), "photo.jpg", exif=exif, quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "photo.jpg")).convert("RGB"))
    read = pictures.decode(data, "it")
    assert read.shape == expected.shape and np.abs(read.astype(int) - expected).max() <= 4


@pytest.mark.parametrize(
    "damage, why",
    [
        (lambda data: b"", "it is empty"),
        (lambda data: b"<svg></svg>", "it is not a JPEG, PNG or BMP image"),
        (lambda data: data[:-20], "it is truncated"),
        (lambda data: data[:20] + b"\x7f\xff\xff\xff" + data[24:], "it cannot be decoded"),  # 2**31 - 1 pixels high
        (lambda data: data[:16] + bytes(60) + data[76:], "it cannot be decoded"),
    ],
)
def test_a_broken_picture_gets_a_sentence(damage, why, tmp_path):
    data = damage(saved(tmp_path, noise(30, 30, 4)))
    with pytest.raises(UserError, match=f"it.png: expected a whole image, found that {why}") as raised:
        pictures.decode(data, "it.png")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["café", os.fsdecode(b"caf\xe9"), "咖啡"])
def test_names_of_classes_in_any_letters_travel_with_the_file(name, exported, tmp_path):
    content = exported[0].read_bytes()
    bare, described = content[: content.rfind(b"PK\x03\x04")], inference.read_label(exported[0])
    classes = [name, *described["classes"][1:]]
    path = deployment.write_model(tmp_path / "named.tflite", bare, described | {"classes": classes})
    assert inference.open_model(path).classes == classes


def test_a_latency_is_the_median_after_the_warm_up_in_milliseconds(monkeypatch):
    monkeypatch.setattr(inference.timeit, "repeat", lambda run, number, repeat: [9.0, 0.001, 0.002, 0.9])
    assert inference.latency(None, repeats=3, warm_up=1) == pytest.approx(2)


def test_the_threads_that_were_asked_for_reach_the_runtime(monkeypatch, exported):
    asked, interpreter_of = [], inference.interpreter_of
    monkeypatch.setattr(
        inference, "interpreter_of", lambda path, **how: asked.append(how) or interpreter_of(path, **how)
    )
    inference.open_model(exported[0], threads=2)
    assert asked == [{"num_threads": 2}]


def test_the_command_exports_onnx_where_it_is_asked_to(monkeypatch, tmp_path):
    written = []
    train, held_out = shapes100.load(1, 1)
    splits = {"train": train, "validation": held_out}
    folders.write_folders(tmp_path / "data", splits, shapes100.CLASSES, size=64, progress=False)
    monkeypatch.setattr(deployment, "to_onnx", lambda network: b"onnx")
    monkeypatch.setattr(deployment, "write_model", lambda path, content, label: written.append((path.name, content)))
    monkeypatch.setattr(deployment, "trial", lambda *a: "")
    deployment.export_run(RUN, tmp_path, tmp_path / "data", "last", "onnx", 100)
    assert written == [("float32.onnx", b"onnx")]
