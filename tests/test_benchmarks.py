"""The benchmarks run, and compare like with like. How fast anything is, `make bench` says."""

import importlib
import itertools
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mbv2_lib import architecture, runs, shapes100
from mbv2_lib.augmentation import Augmentation
from mbv2_lib.files import read_json

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def benchmarks_can_be_imported(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


OF_TWO_ROWS = "accelerator", "latency", "scaling"  # networks of two of the paper's seven rows are sooner traced


def tiny(name, out):
    """What the benchmark `name` finds in its tiny mode, as it keeps it."""
    with pytest.MonkeyPatch.context() as patch:
        if name in OF_TWO_ROWS:
            patch.setattr(architecture, "ROWS", architecture.ROWS[:2])
        importlib.import_module(name).main(["--tiny", "--out", str(out)])
    return read_json(out / f"{name}.json")


@pytest.mark.parametrize(
    ("name", "rows"),
    [("train_step", 1), ("input_pipeline", 2), ("write_folders", 2), ("costs", 1), ("latency", 2), ("freed_memory", 1)],
)
def test_a_comparison_gives_ratios_of_medians_with_their_spread(name, rows, tmp_path):
    found = tiny(name, tmp_path)["rows"]
    with_torch = {"train_step": 2, "latency": 1}.get(name, 0)
    assert len(found) == rows + (with_torch if "torch" in sys.modules else 0)
    assert name == "freed_memory" or found[0]["at_least"] > 1
    for row in found:
        assert row["ratio"] == pytest.approx(row["ours"]["median"] / row["theirs"]["median"])
        assert 0 < row["ratio_low"] <= row["ratio_high"]


@pytest.mark.parametrize("name", ["explorer_latency", "memory", "accelerator"])
def test_a_measurement_gives_a_table(name, tmp_path):
    found = tiny(name, tmp_path)
    assert found["text"].count("\n|") >= 3 and "failed" not in found["text"]


@pytest.mark.parametrize(("name", "count"), [("step_profile", 2), ("scaling", 1)])
def test_a_drawing_is_made_with_its_table(name, count, tmp_path):
    found = tiny(name, tmp_path)
    assert found["text"].count("\n|") >= 3 and len(found["pictures"]) == count
    for picture in found["pictures"]:
        assert 5_000 < (tmp_path / picture).stat().st_size < 150_000


def test_where_there_is_no_browser_its_benchmark_says_so(tmp_path, monkeypatch):
    import browser_latency

    monkeypatch.setattr(browser_latency.browsing, "missing", lambda: "no chromium on the PATH")
    assert tiny("browser_latency", tmp_path)["text"] == "Not measured: no chromium on the PATH"


def test_95_of_100_values_are_not_above_the_late_one():
    from pairs import late

    assert late(range(1, 101)) == 95 and late([3, 1, 2]) == 3 and late(range(1, 12)) == 11


def test_works_are_timed_by_turns():
    from pairs import alternate, compare

    calls = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 5, lambda: calls.append("-"))
    assert "".join(calls) == "-a-b" * 6 and {len(times) for times in seconds.values()} == {5}
    row = compare("x", [1, 2, 4], [2, 8, 8], amount=8)
    assert (row["ours"], row["ratio"], row["ratio_low"], row["ratio_high"]) == (
        {"median": 4, "low": 2, "high": 8}, 4, 2, 4
    )  # fmt: skip


def test_both_keras_networks_answer_alike_and_another_step_is_told():
    from train_step import expect_same_steps, keras_networks

    ours, stock = keras_networks(64, 10, 0.35)
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(ours(pictures), stock(pictures / 127.5 - 1), atol=1e-5)
    expect_same_steps({"ours": [2.0, 1.9], "stock": [2.0, 1.91]})
    for other in ([2.1, 2.0], [2.0, 1.95], [2.0, 2.1]):
        with pytest.raises(AssertionError, match="stock"):
            expect_same_steps({"ours": [2.0, 1.9], "stock": other})


def test_the_network_in_pytorch_answers_as_ours():
    torch = pytest.importorskip("torch", reason="PyTorch is an optional extra")
    import torch_network
    from train_step import keras_networks

    ours, _ = keras_networks(64, 10, 0.5)
    model = torch_network.network(10, 0.5)
    torch_network.copy_weights(ours, model)
    assert sum(value.numel() for value in model.parameters()) == sum(np.prod(w.shape) for w in ours.trainable_weights)
    pictures = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype("float32")
    with torch.no_grad():
        probabilities = model.eval()(torch_network.turned(pictures / 127.5 - 1)).softmax(dim=1)
    np.testing.assert_allclose(probabilities, ours(pictures), atol=1e-5)


def test_an_answer_of_another_network_is_told_before_it_is_timed():
    from latency import expect_same_answers

    right = np.random.default_rng(0).dirichlet(np.ones(10), 1)
    answers = dict.fromkeys(["Keras predict", "tf.function", "float32, 1 thread", "int8, 2 threads"], right)
    answers["int8, 2 threads"] = np.round(right * 256) / 256
    expect_same_answers(answers)
    for name in list(answers)[1:]:
        with pytest.raises(AssertionError, match=name):
            expect_same_answers(answers | {name: np.roll(right, 1)})
    with pytest.raises(AssertionError, match="float32"):
        expect_same_answers(answers | {"float32, 1 thread": answers["int8, 2 threads"]})


def test_all_input_paths_read_the_same_pictures(tmp_path):
    """Without augmentation, and from PNG, which all decode alike: each gives every picture once, with its class."""
    import input_pipeline

    images, labels = shapes100.draw(1)
    for split in ("train", "validation"):
        for image, label in zip(images, labels, strict=True):
            place = tmp_path / split / shapes100.CLASSES[label]
            place.mkdir(parents=True)
            cv2.imwrite(str(place / "0.png"), image[..., ::-1])

    def by_class(batches):
        pictures, targets = zip(*((np.asarray(x), np.asarray(y)) for x, y in batches), strict=True)
        order = np.concatenate(targets).argmax(axis=1)
        assert sorted(order) == list(range(100))
        return np.concatenate(pictures)[order.argsort()]

    setting = tmp_path, 32, 25, Augmentation()
    expected = by_class(itertools.islice(input_pipeline.ours(*setting), 4))
    for other in (input_pipeline.generator(*setting, workers=2), input_pipeline.random_layers(*setting)):
        np.testing.assert_array_equal(by_class(other), expected)


def test_the_rate_of_an_accelerator_is_read_from_the_histories_of_the_runs(tmp_path):
    import accelerator

    for name, device, seconds in (("gpu", "gpu:0", [90, 4, 5, 9]), ("cpu", "cpu:0", [900, 400, 500, 900])):
        config = tmp_path / name / "config.json"
        config.parent.mkdir()
        for file in ("config.json", "history.csv"):
            shutil.copy(accelerator.RUNS / "cifar100-128px" / file, config.parent)
        config.write_text(json.dumps(json.loads(config.read_text()) | {"devices": [device], "holdout": 5000}))
        rows = zip(runs.read_history(tmp_path / name)[:4], seconds, strict=True)
        runs.write_history(tmp_path / name, [row | {"seconds": time} for row, time in rows])
    assert list(accelerator.shipped_rows(tmp_path)) == [["gpu", "gpu:0 (jax)", "bfloat16", 250, 128, 5000, "9,000"]]


def test_the_committed_page_says_the_rates_of_the_shipped_runs():
    import accelerator

    assert list(accelerator.shipped_rows())
    page = (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8")
    assert accelerator.shipped_text() in page or "This machine has no accelerator" not in page


def test_the_bound_counts_what_a_step_must_do():
    from bounds import Machine, step_bound

    from mbv2_lib.costs import network_cost

    slow_units = Machine(flops=1e9, sizes=(1e6, 1e7), rates=(1e15, 1e15))
    bound = step_bound(slow_units, 1.0, 224, batch=2)
    assert sum(bound.values()) == pytest.approx(
        2 * 6 * network_cost(1.0, resolution=224, classes=100).madds / 1e9, rel=1e-3
    )
    slow_memory = Machine(flops=1e18, sizes=(1e6, 1e7), rates=(1e9, 1e9))
    written = sum(x.activation_bytes for x in network_cost(1.0, classes=100).layers if x.kind == "normalization")
    assert step_bound(slow_memory, 1.0, 224, batch=2)["normalization"] == pytest.approx(2 * 8 * written / 1e9)


def test_make_bench_assembles_the_page(tmp_path, monkeypatch):
    import run

    assert set(run.SCRIPTS) <= {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    run.main(
        ["--tiny", "--out", str(tmp_path / "found")], scripts=["write_folders", "explorer_latency"], target=tmp_path
    )
    page = (tmp_path / "results.md").read_text()
    assert "writing folders, against the plain loop" in page and "## One slider move" in page and "keras 3." in page
