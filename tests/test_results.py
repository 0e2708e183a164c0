"""What is said of the reference runs is what was measured: history, metrics, model card and README agree."""

import dataclasses
import json
import math
import re
import shlex
import statistics
from pathlib import Path

import pytest

from mbv2_lib import runs
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
    *earlier, _ = runs.parts(run)
    before = sum(len(runs.read_history(part)) for part in earlier)
    assert [row["epoch"] for row in runs.whole_history(run)] == list(range(1, before + config["epochs"] + 1))


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
    history = runs.whole_history(run)
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


def commands(text):
    """The lines of a Markdown text that run mbv2, each from its first word on: what stands before sets variables."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    with_variables = r""" {4,}(\$ )?([A-Z_]+=(".*"|\S+) )*mbv2 """
    return [line.strip().removeprefix("$ ") for line in lines if re.match(with_variables, line)]


@every_run
def test_the_commands_of_the_model_card_are_the_settings_of_the_run(run):
    shown = [line for line in commands((run / "README.md").read_text(encoding="utf-8")) if "mbv2 train" in line]
    longer = run / "longer"
    parts = [*runs.parts(run), *(runs.parts(longer) if longer.is_dir() else [])]
    for part, line in zip(parts, shown, strict=True):
        variables, words = line.split("mbv2 ")
        said = vars(parser().parse_args(shlex.split(words)))
        config, described = runs.read_config(part)
        assert ("KERAS_BACKEND=jax" in variables) == (described["backend"] == "jax")
        for field in dataclasses.fields(config):
            if field.name not in ("run", "weights", "tclasses"):
                assert said.get(field.name, field.default) == getattr(config, field.name), (part, field.name)
        assert bool(said.get("weights")) == bool(config.weights)


def test_the_card_says_what_going_on_brought():
    run = ROOT / "data" / "reference_runs" / "cifar100-128px"
    (_, stays), (_, longer) = read(run), read(run / "longer")
    history = runs.whole_history(run / "longer")
    minutes = sum(row["seconds"] for row in history) / 60
    said = [f"{len(history)} more epochs were trained in {minutes:.0f} minutes"]
    said += [f"{percent(longer[name])} in place of {percent(stays[name])}" for name in ("top1", "top5")]
    said += [f"{longer['loss']:.3f} in place of {stays['loss']:.3f}"]
    said += [f"from {percent(runs.read_history(run)[-1]['top1'], 1)} to {percent(history[-1]['top1'], 1)}"]
    ends = [runs.read_history(part)[-1]["val_top1"] for part in (*runs.parts(run / "longer"), run)]
    assert ends == pytest.approx([360 / 500, 360 / 500, 359 / 500])
    said += ["each of the two parts ended right on 360, one more"]
    for words in said:
        assert words in said_by(run), words
    assert abs(longer["top1"] - stays["top1"]) < stays["top1_standard_error"]


def said_by(run):
    """The words of a model card, on one line."""
    return " ".join((run / "README.md").read_text(encoding="utf-8").split())


def test_the_commands_of_the_readme_are_ones_that_the_program_takes():
    shown = commands(README)
    assert len(shown) > 5
    for line in shown:
        parser().parse_args(shlex.split(line.split("mbv2 ", 1)[1]))  # exits where it does not


def test_the_run_on_a_gpu_took_and_reached_what_its_card_says():
    run = ROOT / "data" / "reference_runs" / "cifar100-128px-h100"
    card = said_by(run)
    first, *others = [row["seconds"] for row in runs.read_history(run)]
    assert f"which compiles, took {first:.0f} seconds" in card
    assert f"the others took {min(others):.1f} to {max(others):.1f}, half of them less than 4.9" in card
    half = statistics.median(others)
    assert half < 4.9 and f"at 128 px took {half:.0f} seconds" in " ".join(README.split())
    (_, longer), (_, metrics) = read(run.with_name("cifar100-128px")), read(run)
    error = math.hypot(longer["top1_standard_error"], metrics["top1_standard_error"])
    assert f"ends {100 * (longer['top1'] - metrics['top1']):.2f} points higher" in card
    assert f"of that difference ({100 * error:.2f})" in card


def test_the_readme_says_of_the_leak_what_the_notebook_measured():
    notebook = (ROOT / "notebooks" / "05_accuracy.ipynb").read_text(encoding="utf-8")
    leaked, clean = re.search(r"leaked ([\d.]+)%, clean ([\d.]+)%: gap", notebook).groups()
    epochs = re.search(r"above training in \d+ of (\d+) epochs", notebook)[1]
    rows = [line for line in README.splitlines() if line.startswith("| the ")]
    assert any(f"{epochs} epochs" in row for row in rows)
    assert any("leaked" in row and f"| {leaked} % |" in row for row in rows)
    assert any("clean" in row and f"| {clean} % |" in row for row in rows)
