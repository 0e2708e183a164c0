"""The five commands do the whole job, and a user's mistake gets one line and exit status 2, before any work is lost."""

import ast
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from test_cifar100 import binary_files, expect, made_up_records, write

from mbv2_lib import (
    ablations,
    architecture,
    cifar100,
    config,
    folders,
    pictures,
    pipeline,
    recipes,
    shapes100,
    training,
)
from mbv2_lib.__main__ import main, parser, report
from mbv2_lib.files import UserError, read_json, write_json
from mbv2_lib.runs import describe_weights, read_history


@pytest.fixture(scope="module", autouse=True)
def short_networks():
    """Two of the paper's seven rows: a step is traced in a fraction of the time, and no claim here is about depth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architecture, "ROWS", architecture.ROWS[:2])
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The README's walk with Shapes-100, as small as it goes: prepare, check, train, evaluate, fine-tune."""
    work = tmp_path_factory.mktemp("walk")
    data, other = str(work / "shapes"), str(work / "twenty")
    prepare = ["prepare", "--dataset", "shapes100", "--out", data, "--size", "32", "--per-class", "2"]
    (train, train_labels), (held, held_labels) = shapes100.load(3, 1)
    splits = {
        "train": (train[train_labels < 20], train_labels[train_labels < 20]),
        "validation": (held[held_labels < 20], held_labels[held_labels < 20]),
    }
    folders.write_folders(other, splits, shapes100.CLASSES[:20], size=32, progress=False)
    small = ["--size", "32", "--alpha", "0.35", "--expansion", "1", "--batch", "50", "--epochs", "1"]
    first, tuned = str(work / "first"), str(work / "tuned")
    assert main(prepare) == 0
    assert main(["check", data]) == 0
    assert main(["train", "--classes", "100", "--data", data, "--run", first, *small]) == 0
    assert main(["evaluate", "--run", first, "--data", data, "--flips"]) == 0
    weights = ["--weights", f"{first}/best.weights.h5", "--tclasses", "100"]
    assert main(["train", "--classes", "20", "--data", other, "--run", tuned, *small, *weights]) == 0
    return work


def test_pictures_are_written_for_both_splits(work):
    for split, each in (("train", 2), ("validation", 2)):
        paths, labels = folders.list_images(work / "shapes", split)
        assert len(paths) == 100 * each and (np.bincount(labels) == each).all()


def test_metrics_are_shares_with_their_errors_and_flips_apart(work):
    metrics = json.loads((work / "first" / "metrics.json").read_text())
    assert 0 <= metrics["top1"] <= metrics["top5"] <= 1 and metrics["loss"] > 0
    assert metrics["top1_standard_error"] == pytest.approx((metrics["top1"] * (1 - metrics["top1"]) / 200) ** 0.5)
    assert metrics["pictures"] == 200 and metrics["with_flips"]["pictures"] == 200
    assert metrics["copies_of_training"] == 0 and metrics["top1_without_copies"] == metrics["top1"]
    shares = metrics["top1_by_superclass"]  # all of one size, so that their mean is the whole
    assert list(shares) == list(shapes100.SUPERCLASSES)
    assert np.mean(list(shares.values())) == pytest.approx(metrics["top1"])
    last = read_history(work / "first")[-1]
    assert metrics["loss"] == pytest.approx(last["val_loss"], rel=1e-4) and metrics["top5"] == last["val_top5"]


def test_a_fine_tuned_run_has_the_new_classes(work):
    assert describe_weights(work / "tuned" / "last.weights.h5")[1:] == (1, 20)
    assert json.loads((work / "tuned" / "config.json").read_text())["tclasses"] == 100


def test_check_names_copies_and_exits_with_one(work, tmp_path, capsys):
    leaky = tmp_path / "leaky"
    shutil.copytree(work / "shapes", leaky)
    name = shapes100.CLASSES[7]
    stolen = sorted((leaky / "train" / name).iterdir())[0]
    shutil.copy(stolen, leaky / "validation" / name / "renamed.jpg")
    assert main(["check", str(leaky)]) == 1
    said = capsys.readouterr().out
    assert stolen.name in said and "renamed.jpg" in said


def test_a_leak_for_demonstration_says_so_and_is_found_picture_by_picture(work, tmp_path, capsys):
    out = tmp_path / "leaky"
    prepare = ["prepare", "--dataset", "shapes100", "--out", str(out), "--size", "32", "--per-class", "2"]
    assert main([*prepare, "--leak-demo"]) == 0
    assert "copies of training pictures" in capsys.readouterr().out
    assert "leak" in json.loads((out / "manifest.json").read_text())["source"]
    assert main(["check", str(out)]) == 1
    assert capsys.readouterr().out.count("found the same pixels") == 200
    assert pipeline.copied(pipeline.open_data(out)).all()
    assert not pipeline.copied(pipeline.open_data(work / "shapes")).any()


def test_a_run_watched_on_a_holdout_is_measured_on_the_validation_pictures(work, tmp_path):
    data, run = str(work / "shapes"), str(tmp_path / "watched")
    small = ["--size", "32", "--alpha", "0.35", "--expansion", "1", "--batch", "50", "--epochs", "1"]
    assert main(["train", "--classes", "100", "--data", data, "--run", run, *small, "--holdout", "100"]) == 0
    assert main(["evaluate", "--run", run, "--data", data]) == 0
    assert json.loads((tmp_path / "watched" / "metrics.json").read_text())["pictures"] == 200


def test_doctor_is_content_with_this_environment(capsys):
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "tensorflow" in said and "FAIL" not in said


# -- mistakes ----------------------------------------------------------------------------------------------------------


def complaint(capsys, *command):
    """The one line that a wrong command gets."""
    capsys.readouterr()
    try:
        status = main([str(word) for word in command])
    except SystemExit as end:  # argparse's own
        status = end.code
    said = capsys.readouterr()
    assert status == 2, said
    lines = [line for line in said.err.strip().splitlines() if not line.startswith("checking: ")]  # its progress
    assert len(lines) == 1 and lines[0].startswith("mbv2"), said.err
    return lines[0]


def train(capsys, tmp_path, data, *flags, classes=100):
    run = tmp_path / "run"
    line = complaint(capsys, "train", "--classes", classes, "--data", data, "--run", run, "--size", "32", *flags)
    assert not (run / "state.npz").exists() and not list(tmp_path.rglob("*.weights.h5"))
    return line


@pytest.mark.parametrize(
    ("flag", "value"), [("--dropout", "1"), ("--dropout", "nan"), ("--seed", "-1"), ("--seed", str(2**32))]
)
def test_a_number_out_of_range_is_refused(flag, value, tmp_path, capsys):
    assert f"expected a {'number' if flag == '--dropout' else 'whole number'} from 0" in complaint(
        capsys, "train", "--classes", 4, "--data", tmp_path, f"{flag}={value}"
    )


def test_a_size_out_of_range_is_refused_before_anything_is_drawn(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shapes100, "load", None)
    asked = "prepare", "--dataset", "shapes100", "--out", tmp_path / "big", "--size", 5000
    assert "--size: expected a whole number from 1 to 4096, found 5000" in complaint(capsys, *asked)


def test_more_threads_than_a_machine_bears_are_refused(tmp_path, capsys):
    asked = "predict", "--model", tmp_path, "--threads", 257, "a.png"
    assert "expected a whole number from 1 to 256, found 257" in complaint(capsys, *asked)


def test_a_link_to_nowhere_is_named_before_the_first_epoch(work, tmp_path, capsys):
    data = shutil.copytree(work / "shapes", tmp_path / "data")
    picture = next((data / "train" / shapes100.CLASSES[0]).iterdir())
    picture.unlink()
    picture.symlink_to("nowhere.jpg")
    assert "expected a whole picture" in train(capsys, tmp_path, data)


def test_data_that_is_missing_or_empty_or_laid_out_otherwise(work, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "train" / "a").mkdir(parents=True)
    for data in ("nowhere", "empty", "half"):
        line = train(capsys, tmp_path, tmp_path / data)
        assert "validation" in line and str(tmp_path / data) in line


def test_another_number_of_classes(work, tmp_path, capsys):
    line = train(capsys, tmp_path, work / "shapes", classes=10)
    assert "10" in line and "100" in line


def test_a_class_in_one_split_only(work, tmp_path, capsys):
    data = tmp_path / "torn"
    shutil.copytree(work / "twenty", data)
    shutil.rmtree(data / "validation" / shapes100.CLASSES[3])
    assert shapes100.CLASSES[3] in train(capsys, tmp_path, data, classes=20)


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"not a picture", lambda data: b""]
)
def test_an_unreadable_picture_is_named_before_the_first_epoch(work, tmp_path, capsys, damage):
    data = tmp_path / "damaged"
    shutil.copytree(work / "twenty", data)
    victims = [sorted((data / "train" / shapes100.CLASSES[number]).iterdir())[0] for number in (2, 5)]
    for victim in victims:
        victim.write_bytes(damage(victim.read_bytes()))
    line = train(capsys, tmp_path, data, classes=20)
    assert str(victims[0]) in line or str(victims[1]) in line
    assert main(["check", str(data)]) == 1
    said = capsys.readouterr().out
    assert all(victim.name in said for victim in victims)


def test_weights_of_another_network_say_what_they_hold(work, tmp_path, capsys):
    weights = shutil.copy(work / "first" / "best.weights.h5", tmp_path)  # without its config.json
    line = train(capsys, tmp_path / "a", work / "twenty", "--weights", weights, "--tclasses", 100, classes=20)
    assert "width 0.3" in line and "width 1.0" in line  # of two rows, those of width 0.3 and 0.35 are alike
    flags = ["--alpha", "0.35", "--expansion", "1", "--weights", weights]
    line = train(capsys, tmp_path / "b", work / "twenty", *flags, "--tclasses", 7, classes=20)
    assert "100 classes" in line and "7 classes" in line
    line = train(capsys, tmp_path / "c", work / "twenty", *flags, "--tclasses", 100, "--expansion", 3, classes=20)
    assert "expansion 1" in line and "expansion 3" in line


def test_what_a_run_says_of_its_weights_is_read_and_must_not_be_contradicted(work, tmp_path, capsys, monkeypatch):
    weights = work / "first" / "best.weights.h5"
    flags = ["--alpha", "0.35", "--expansion", "1", "--weights", weights]
    line = train(capsys, tmp_path / "a", work / "twenty", *flags, "--tclasses", 50, classes=20)
    assert "--tclasses 50" in line and "100" in line
    line = train(capsys, tmp_path / "b", work / "twenty", *flags, "--alpha", "0.5", classes=20)
    assert "--alpha 0.5" in line and "0.35" in line
    asked = []
    monkeypatch.setattr(training, "train", lambda config, resume: asked.append(config))
    assert main(["train", "--classes", "20", "--weights", str(weights)]) == 0  # the rest says the run's config.json
    (tuned,) = asked
    assert (tuned.tclasses, tuned.size, tuned.alpha, tuned.expansion) == (100, 32, 0.35, 1)


@pytest.mark.parametrize(
    "said",
    [
        {"alpha": None}, {"alpha": float("nan")}, {"alpha": "0.35"}, {"expansion": 1.0}, {"expansion": True},
        {"size": -1}, {"size": [32] * 1000}, {"block": "thick"}, {"classes": None}, {"classes": 10**9},
    ],
)  # fmt: skip
def test_a_run_that_says_of_its_weights_what_can_not_be_is_named(said, tmp_path):
    write_json(tmp_path / "config.json", {"classes": 20, "alpha": 0.35} | said)
    given = {"classes": 20, "weights": str(tmp_path / "last.weights.h5")}
    for more in ({}, {"alpha": 0.35, "expansion": 1, "size": 32}):
        with pytest.raises(UserError, match=r"config.json: expected for \w+ .*, found .*; restore") as error:
            config.new_config(given | more)
        assert len(str(error.value)) < 400


def test_weights_are_not_overwritten_by_the_run_that_starts_from_them(work, tmp_path, capsys):
    inside = shutil.copytree(work / "first", tmp_path / "run")
    for name in ("state.npz", "history.csv"):
        (inside / name).unlink()
    before = (inside / "last.weights.h5").read_bytes()
    command = ["train", "--classes", 20, "--data", work / "twenty", "--run", inside, "--epochs", 1]
    assert "choose another --run" in complaint(capsys, *command, "--weights", inside / "last.weights.h5")
    assert (inside / "last.weights.h5").read_bytes() == before


def test_a_link_to_weights_leads_to_their_run(work, tmp_path):
    (tmp_path / "start.weights.h5").symlink_to(work / "first" / "best.weights.h5")
    assert config.new_config({"classes": 20, "weights": str(tmp_path / "start.weights.h5")}).alpha == 0.35


@pytest.mark.parametrize("place", [".", "/", ".."])
def test_a_folder_in_the_place_of_weights_is_told_in_one_line(place, work, tmp_path, capsys):
    assert "expected a weight file" in train(capsys, tmp_path, work / "twenty", "--weights", place, classes=20)


def test_weights_fit_pictures_of_another_size(work):
    given = {"classes": 20, "weights": str(work / "first" / "best.weights.h5")}
    assert (config.new_config(given).size, config.new_config(given | {"size": 64}).size) == (32, 64)


@pytest.mark.parametrize("content", [None, b"", b"words", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_file_that_holds_no_weights(work, tmp_path, capsys, content):
    weights = tmp_path / "wrong.weights.h5"
    if content is not None:
        weights.write_bytes(content)
    run = tmp_path / "run"
    flags = ["--weights", weights, "--tclasses", 100, "--alpha", "0.35", "--size", "32"]
    line = complaint(capsys, "train", "--classes", 20, "--data", work / "twenty", "--run", run, *flags)
    assert str(weights) in line and "expected" in line


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(work, capsys):
    before = (work / "first" / "history.csv").read_text()
    command = ["train", "--classes", 100, "--data", work / "shapes", "--run", work / "first", "--size", 32]
    assert "--resume" in complaint(capsys, *command, "--alpha", 0.35)
    line = complaint(capsys, "train", "--run", work / "first", "--resume", "--batch", 8)
    assert "--batch 8" in line and "50" in line
    assert (work / "first" / "history.csv").read_text() == before


def test_the_words_that_flags_offer_are_those_that_the_library_knows():
    """They stand in `__main__` and `config` once more: `doctor` answers where no other package can be imported."""
    commands = next(action.choices for action in parser()._actions if action.choices)
    offered = {action.dest: action.choices for action in commands["prepare"]._actions}
    assert set(offered["interpolation"]) == set(folders.INTERPOLATIONS)
    assert tuple(ablations.BLOCKS) == config.BLOCK_NAMES and tuple(recipes.RECIPES) == config.RECIPE_NAMES
    kept = {setting.name: setting.metadata["kind"].words for setting in dataclasses.fields(config.TrainConfig)}
    for precision in kept["precision"]:
        with training.computing_in(precision):
            assert keras.config.dtype_policy().name in ("float32", "mixed_bfloat16")


def test_a_run_that_does_not_exist(work, tmp_path, capsys):
    assert "config.json" in complaint(capsys, "train", "--run", tmp_path / "none", "--resume")
    assert "config.json" in complaint(capsys, "evaluate", "--run", tmp_path / "none", "--data", work / "shapes")
    (tmp_path / "bare").mkdir()
    shutil.copy(work / "first" / "config.json", tmp_path / "bare")
    assert "last.weights.h5" in complaint(capsys, "evaluate", "--run", tmp_path / "bare", "--data", work / "shapes")


def test_a_run_measured_on_other_classes(work, capsys):
    line = complaint(capsys, "evaluate", "--run", work / "tuned", "--data", work / "shapes")
    assert "20" in line and "100" in line and str(work / "shapes") in line


def test_a_damaged_state_is_not_resumed(work, tmp_path, capsys):
    run = shutil.copytree(work / "first", tmp_path / "run")
    (run / "state.npz").write_bytes((run / "state.npz").read_bytes()[:1000])
    assert "state.npz" in complaint(capsys, "train", "--run", run, "--resume")


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--data", "x"],
        ["train", "--classes", "0"],
        ["train", "--classes", "ten"],
        ["train", "--classes", "10", "--alpha", "-1"],
        ["train", "--classes", "10", "--learning-rate", "nan"],
        ["train", "--classes", "10", "--recipe", "secret"],
        ["train", "--classes", "10", "--tclasses", "5"],
        ["train", "--classes", "10", "--dropout", "1.5"],
        ["train", "--classes", "10", "--run", ""],
        ["train", "--classes", "10", "--weights", ""],
        ["prepare", "--out", ""],
        ["prepare", "--dataset", "shapes100", "--out", "x", "--per-class", "1000000000000"],
        ["check", ""],
        ["prepare", "--out", "x", "--quality", "0"],
        ["prepare", "--dataset", "mnist", "--out", "x"],
        ["prepare", "--dataset", "shapes100", "--out", "x", "--source", "y"],
        ["prepare", "--out", "x", "--source", "/no/such/file"],
        ["check"],
        ["check", "/no/such/folder"],
        ["frobnicate"],
        [],
    ],
)
def test_wrong_words_get_one_line(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    complaint(capsys, *command)
    assert not list(tmp_path.iterdir())


def test_a_holdout_that_does_not_divide_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "SHAPES_PER_CLASS", (2, 1))
    assert "--holdout" in train(capsys, tmp_path, "shapes100", "--holdout", 7)


def test_a_wrong_command_is_answered_without_waiting_for_tensorflow(tmp_path):
    code = "import sys; from mbv2_lib.__main__ import main; main(sys.argv[1:]); print('tensorflow' in sys.modules)"
    for command in (["train", "--classes", "10", "--tclasses", "5"], ["check", str(tmp_path)]):
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
        assert done.stdout.strip().endswith("False")


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    command = [sys.executable, "-m", "mbv2_lib", "check", str(tmp_path)]
    for split in folders.SPLITS:  # findings by the hundred: more than a pipe holds
        for number in range(400):
            (tmp_path / split / f"{'long' * 40}-{number}").mkdir(parents=True)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait() == 141 and all(line.startswith("reading ") for line in said.splitlines()), said


@pytest.mark.parametrize("backend", ["nonsense", "numpy"])
def test_a_backend_that_can_not_train_is_named(tmp_path, backend):
    command = [sys.executable, "-m", "mbv2_lib", "train", "--classes", "100", "--run", str(tmp_path / "run")]
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert backend in done.stderr and "unset KERAS_BACKEND" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content, said", [('{"image_data_format": "channels_first"}', "channels_last"), ("[]", "")])
def test_the_settings_of_keras_in_the_home_change_no_network(tmp_path, content, said):
    (tmp_path / "keras.json").write_text(content)
    program = "from mbv2_lib import backend; print(backend.keras.config.image_data_format())"
    command = [sys.executable, "-c", program] if said else [sys.executable, "-m", "mbv2_lib", "train", "--classes", "9"]
    environment = os.environ | {"KERAS_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == (0 if said else 2) and said in done.stdout
    assert (
        done.stderr == ""
        if said
        else done.stderr.startswith("mbv2: Keras cannot start") and done.stderr.count("\n") == 1
    )


def test_what_was_measured_is_said_where_it_cannot_be_written(work, tmp_path, capfd):
    shutil.copytree(work / "first", tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    (tmp_path / "run" / "metrics.json").mkdir()
    assert main(["evaluate", "--run", str(tmp_path / "run"), "--data", str(work / "shapes")]) == 2
    said = capfd.readouterr()
    assert "top1" in said.out and "metrics.json" in said.err


def test_a_name_that_no_disk_takes_is_said_of_its_picture():
    with pytest.raises(UserError, match="cannot be opened"):
        pictures.read(300 * "x" + ".jpg", 32)


def test_a_complaint_that_nobody_can_read_keeps_its_exit_status(tmp_path):
    command = f"{sys.executable} -m mbv2_lib check {tmp_path / 'nowhere'} 2>/dev/full"
    assert subprocess.run(command, shell=True).returncode == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_is_no_error(work, closed):
    command = f"{sys.executable} -m mbv2_lib check {work / 'shapes'} {closed}"
    said = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert said.returncode == 0 and "Traceback" not in said.stderr


def test_names_that_are_no_utf8_are_said_and_kept(tmp_path, capfd):
    for split in folders.SPLITS:
        for name in (b"caf\xe9", b"tea"):
            folder = os.path.join(os.fsencode(tmp_path / split), name)  # noqa: PTH118
            os.makedirs(folder)  # noqa: PTH103
            with open(os.path.join(folder, b"x.jpg"), "wb") as file:  # noqa: PTH118, PTH123
                file.write(b"no picture")
    assert main(["check", str(tmp_path)]) == 1
    assert "caf\\udce9" in capfd.readouterr().out
    names = [os.fsdecode(b"caf\xe9"), "tea"]
    write_json(tmp_path / "names.json", names)
    assert read_json(tmp_path / "names.json") == names


def test_cifar100_is_prepared_under_its_own_names(tmp_path, monkeypatch):
    expect(monkeypatch, records := made_up_records())
    source = write(tmp_path / "source", binary_files(records))
    out = tmp_path / "out"
    assert main(["prepare", "--dataset", "cifar100", "--source", str(source), "--out", str(out), "--size", "8"]) == 0
    paths, labels = folders.list_images(out, "train")
    assert [Path(path).parent.name for path in paths] == [cifar100.CLASSES[label] for label in labels]
    assert np.bincount(labels).tolist() == [2] * 100


def test_the_settings_of_prepare_reach_the_pictures(tmp_path):
    written = {}
    for rule, quality in (("area", "30"), ("area", "95"), ("nearest", "30")):
        asked = ["--quality", quality, "--interpolation", rule, "--size", "16", "--per-class", "1"]
        assert main(["prepare", "--dataset", "shapes100", "--out", str(tmp_path / f"{rule}{quality}"), *asked]) == 0
        picture = min((tmp_path / f"{rule}{quality}").glob("train/*/*.jpg"))
        assert cv2.imread(str(picture)).shape == (16, 16, 3)
        written[rule, quality] = picture.read_bytes()
    assert len(written["area", "30"]) < len(written["area", "95"]) and len(set(written.values())) == 3


def test_prepare_and_train_have_the_same_size_where_none_is_said():
    assert parser().parse_args(["prepare", "--out", "x"]).size == config.TrainConfig(classes=2).size == 224


def test_top_1_and_top_5_have_their_own_errors():
    measured = {"pictures": 9, "data": "x", "weights": "last", "loss": 1.0, "top1": 0.5, "top5": 0.9}
    told = report(measured | {"top1_standard_error": 0.01, "top5_standard_error": 0.02}).splitlines()
    assert [line.partition("+- ")[2][:5] for line in told[2:4]] == ["1.00%", "2.00%"]


def test_a_message_on_what_was_found_says_how_to_mend_it():
    """Or says what is expected of a value, which is the mend; read_config adds one to two parts of its message."""
    lacking = []
    for path in sorted(Path(config.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError" and node.args:
                parts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                words = "".join(part for part in parts if isinstance(part, str))
                if "found" in words and ";" not in words:
                    lacking.append((path.name, words[:40]))
    assert lacking == [
        ("config.py", ": expected , found "),
        ("runs.py", "expected all settings of a run, found no"),
        ("runs.py", "expected class_names and data_digest as "),
        ("training.py", "--batch: expected a multiple of the  dev"),
    ]
