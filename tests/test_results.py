"""What is said of the reference runs is what was measured: history, metrics, model card and README agree."""

import dataclasses
import json
import math
import re
import shlex
import statistics
import textwrap
from pathlib import Path

import numpy as np
import pytest

from mbv2_lib import cifar100, recipes, runs, training
from mbv2_lib.__main__ import parser

ROOT = Path(__file__).resolve().parents[1]
RUNS = sorted(path.parent for path in (ROOT / "data" / "reference_runs").glob("*/config.json"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
every_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)


def read(run):
    return json.loads((run / "config.json").read_text()), json.loads((run / "metrics.json").read_text())


def percent(share, digits=2):
    return f"{100 * share:.{digits}f} %"


def test_there_is_a_run_of_each_data_set():
    assert {run.name.split("-")[0] for run in RUNS} == {"cifar100", "shapes100"}


@every_run
def test_the_history_has_each_epoch_once_and_ends_with_the_run(run):
    config, _ = read(run)
    assert [row["epoch"] for row in runs.read_history(run)] == list(range(1, config["epochs"] + 1))


@every_run
def test_the_weights_are_those_of_the_settings_and_small(run):
    config, _ = read(run)
    weights = run / "last.weights.h5"
    assert runs.describe_weights(weights) == (config["alpha"], config["expansion"], config["classes"])
    assert weights.stat().st_size <= 10e6


@every_run
def test_the_metrics_are_of_the_last_epoch_on_the_data_of_the_run(run):
    config, metrics = read(run)
    assert metrics["weights"] == "last" and metrics["data_digest"] == config["data_digest"]
    assert metrics["top1_standard_error"] == pytest.approx(
        (metrics["top1"] * (1 - metrics["top1"]) / metrics["pictures"]) ** 0.5
    )
    if not config["holdout"]:  # then the run was watched on the pictures that it was measured on
        assert metrics["top1"] == pytest.approx(runs.read_history(run)[-1]["val_top1"])


@every_run
def test_the_model_card_and_the_readme_say_what_was_measured(run):
    config, metrics = read(run)
    history = runs.read_history(run)
    minutes = sum(row["seconds"] for row in history) / 60
    measured = [percent(metrics["top1"]), percent(metrics["top5"]), percent(metrics["top1_standard_error"])]
    row = next(
        line for line in README.splitlines() if line.startswith("|") and f"data/reference_runs/{run.name}/" in line
    )
    for figure in (*measured, f"{minutes:.0f}"):
        assert figure in row, f"README.md, {run.name}: {figure} is missing"
    card = (run / "README.md").read_text(encoding="utf-8")
    said = [
        *measured,
        f"{config['parameters']:,} parameters",
        f"{minutes:.0f} minutes",
        f"{metrics['pictures']:,} held-out pictures",
        f"seed {config['seed']}",
        f"{len(history)} epochs",
        f"{metrics['copies_of_training']} ",
        percent(metrics["top1_without_copies"]),
        *(
            f"| {group.replace('_', ' ')} | {percent(top1, 1)} |"
            for group, top1 in metrics["top1_by_superclass"].items()
        ),
    ]
    if config["holdout"]:  # the card says how far the two lie apart at the end
        last = history[-1]
        said += [percent(last["top1"], 1), percent(last["val_top1"], 1), f"--holdout {config['holdout']}"]
    for figure in said:
        assert figure in card, f"{run.name}/README.md: {figure} is missing"


@every_run
def test_the_code_of_the_model_card_gives_probabilities(run, monkeypatch):
    config, _ = read(run)
    card = (run / "README.md").read_text(encoding="utf-8")
    code = textwrap.dedent(re.search(r"## Use\n\n((?: {4}.*\n|\n)+)", card)[1])
    size = config["size"]
    assert f"(n, {size}, {size}, 3)" in code
    monkeypatch.chdir(ROOT)
    names = {"pictures": np.zeros((2, size, size, 3))}
    exec(code, names)
    np.testing.assert_allclose(names["probabilities"].sum(axis=1), 1, rtol=1e-5)
    assert names["probabilities"].shape == (2, len(names["described"]["class_names"])) == (2, config["classes"])


def commands(text):
    """The lines of a Markdown text that run mbv2, each from its first word on: what stands before sets variables."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    with_variables = r""" {4,}(\$ )?([A-Z_]+=(".*"|\S+) )*mbv2 """
    return [line.strip().removeprefix("$ ") for line in lines if re.match(with_variables, line)]


@every_run
def test_the_commands_of_the_model_card_are_the_settings_of_the_run(run):
    [line] = [line for line in commands((run / "README.md").read_text(encoding="utf-8")) if "mbv2 train" in line]
    variables, words = line.split("mbv2 ")
    said = vars(parser().parse_args(shlex.split(words)))
    config, described = runs.read_config(run)
    assert ("KERAS_BACKEND=jax" in variables) == (described["backend"] == "jax")
    for field in dataclasses.fields(config):
        if field.name != "run":
            assert said.get(field.name, field.default) == getattr(config, field.name), field.name


def test_the_card_says_what_was_measured_before():
    """The rows of its table: each names a run, or several that went on from each other."""
    earlier = ROOT / "data" / "reference_runs" / "cifar100-128px" / "earlier"
    card = (earlier.parent / "README.md").read_text(encoding="utf-8")
    chains = (["110-epochs"], ["61-epochs"], ["part-1", "part-2", "part-3"], ["part-4", "part-5"])
    assert sorted(path.name for path in earlier.iterdir()) == sorted(sum(chains, []))
    for chain in chains:
        parts = [earlier / name for name in chain]
        metrics = json.loads((parts[-1] / "metrics.json").read_text())
        row = next(line for line in card.splitlines() if line.startswith(f"| [{chain[0]}]"))
        assert all(f"(earlier/{name})" in row for name in chain)
        assert f"| {percent(metrics['top1'])} | {percent(metrics['top5'])} |" in row
        assert sum(len(runs.read_history(part)) for part in parts) == int(re.search(r"\| (\d+)( more)? \|", row)[1])
        minutes = {"gpu:0": 0, "cpu:0": 0}
        for part in parts:
            _, described = runs.read_config(part)
            minutes[described["devices"][0]] += sum(history["seconds"] for history in runs.read_history(part)) / 60
        said = {"gpu:0": r"(\d+) on an H100", "cpu:0": r"(\d+) on two CPU cores"}
        for device, words in said.items():
            found = re.search(words, row)
            assert (int(found[1]) if found else 0) == round(minutes[device]), (chain, device)


def test_the_card_says_what_the_second_look_gave():
    run = ROOT / "data" / "reference_runs" / "cifar100-128px"
    first, again = read(run)[1], json.loads((run / "plain-statistics.json").read_text())
    more, fewer = (round(10_000 * (again[top] - first[top])) for top in ("top1", "top5"))
    losses = f"their loss falls, too, from {first['loss']:.3f} to {again['loss']:.3f}, but"
    shares = f"{percent(again['top1'])} top-1 and {percent(again['top5'])} top-5"
    aside = again["set_aside"]
    assert more == 1 and f"{losses} {shares} are one right answer more and {-fewer} fewer" in said_by(run)
    assert f"on the 500 falls from {aside['loss_varied']:.2f} to {aside['loss_plain']:.2f}" in said_by(run)


def test_the_card_says_how_far_the_run_lies_above_the_one_before():
    run = ROOT / "data" / "reference_runs" / "cifar100-128px"
    before = run / "earlier" / "110-epochs"
    (_, ours), (_, theirs) = read(run), read(before)
    error = math.hypot(*(100 * metrics["top1_standard_error"] for metrics in (ours, theirs)))
    gain = 100 * (ours["top1"] - theirs["top1"])
    assert f"{gain:.2f} points above 110-epochs, with a standard error of {error:.2f} or less" in said_by(run)
    last, last_before = (runs.read_history(one)[-1] for one in (run, before))
    assert f"on the 500 both have {percent(last['val_top1'], 1)}, this one with the lower loss" in said_by(run)
    assert last["val_top1"] == last_before["val_top1"] and last["val_loss"] < last_before["val_loss"]
    comment = (ROOT / "mbv2_lib" / "recipes.py").read_text(encoding="utf-8").replace("\n# ", " ")
    for one, words in ((before, "After {} of {}, the loss of `modern`"), (run, "rose, too, after {} of {}")):
        losses = [row["val_loss"] for row in runs.read_history(one)]
        assert words.format(losses.index(min(losses)) + 1, len(losses)) in comment


def test_the_card_says_how_the_run_ended_on_the_pictures_that_watched_it():
    run = ROOT / "data" / "reference_runs" / "cifar100-128px"
    losses = [row["val_loss"] for row in runs.read_history(run)]
    after = len(losses) - 1 - losses.index(min(losses))
    words = f"Over its last {after} epochs the loss on the 500 rose from {min(losses):.3f} to {losses[-1]:.3f}"
    assert words in said_by(run)


def said_by(run):
    """The words of a model card, on one line."""
    return " ".join((run / "README.md").read_text(encoding="utf-8").split())


def test_the_commands_of_the_readme_are_ones_that_the_program_takes():
    shown = commands(README)
    assert len(shown) > 5
    for line in shown:
        parser().parse_args(shlex.split(line.split("mbv2 ", 1)[1]))  # exits where it does not


def test_the_run_on_a_gpu_took_and_reached_what_its_card_says():
    run = ROOT / "data" / "reference_runs" / "cifar100-128px"
    card = said_by(run)
    first, *others = [row["seconds"] for row in runs.read_history(run)]
    assert f"which compiles, took {first:.0f} seconds" in card
    half = statistics.median(others)
    assert f"the others took {min(others):.1f} to {max(others):.1f}, at the median {half:.1f}" in card
    assert f"at 128 px took {half:.0f} seconds" in " ".join(README.split())


def test_the_readme_says_of_the_leak_what_the_notebook_measured():
    notebook = (ROOT / "notebooks" / "05_accuracy.ipynb").read_text(encoding="utf-8")
    leaked, clean = re.search(r"leaked ([\d.]+)%, clean ([\d.]+)%: gap", notebook).groups()
    epochs = re.search(r"above training in \d+ of (\d+) epochs", notebook)[1]
    rows = [line for line in README.splitlines() if line.startswith("| the ")]
    assert any(f"{epochs} epochs" in row for row in rows)
    assert any("leaked" in row and f"| {leaked} % |" in row for row in rows)
    assert any("clean" in row and f"| {clean} % |" in row for row in rows)


@every_run
def test_the_recipe_is_still_that_of_the_run(run):
    config, described = runs.read_config(run)
    pictures = {"shapes100": 10_000}.get(config.data, 50_000) - config.holdout
    steps = math.ceil(pictures / config.batch)
    small = dataclasses.replace(config, size=32, alpha=0.35, expansion=1)
    rate = training.build_learner(small, steps).optimizer._learning_rate
    for row in runs.read_history(run)[:-1]:  # the last is zero
        assert float(rate(steps * row["epoch"])) == pytest.approx(row["learning_rate"], rel=1e-4)


def test_what_the_histories_do_not_tell_of_the_recipes():
    smoothing = {name: recipe.label_smoothing for name, recipe in recipes.RECIPES.items()}
    assert smoothing == {"first": 0, "short": 0.1, "modern": 0.1, "long": 0.1}
    assert recipes.RECIPES["modern"].optimizer(0.1, 198 * 200, 0).ema_momentum == pytest.approx(0.999)


def test_classes_stand_in_the_order_of_the_run_on_cifar100():
    (run,) = (run for run in RUNS if run.name.startswith("cifar100"))
    assert list(cifar100.CLASSES) == read(run)[0]["class_names"]


def test_the_card_and_the_recipe_count_the_channels_that_faded():
    run = ROOT / "data" / "reference_runs" / "cifar100-128px"
    network = training.trained_network(runs.read_config(run)[0], run / "last.weights.h5")
    stem, depthwise = (np.asarray(network.get_layer(name).kernel) for name in ("stem", "block_0_depthwise"))
    faded = np.abs(stem).max(axis=(0, 1, 2)) < 1e-3
    np.testing.assert_array_equal(np.abs(depthwise).max(axis=(0, 1, 3)) < 1e-3, faded)
    told = f"{faded.sum()} of the stem's {len(faded)} channels"
    for text in ((run / "README.md").read_text(encoding="utf-8"), recipes.modern_optimizer.__doc__):
        assert told in " ".join(text.split())
