"""A changed block differs from the inverted residual in what it says and no more; a sweep can be repeated."""

import csv
import json
import shlex
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from mbv2_lib import recipes, runs, sweeps
from mbv2_lib.__main__ import parser
from mbv2_lib.ablations import BLOCKS, block_with
from mbv2_lib.blocks import inverted_residual
from mbv2_lib.config import new_config
from mbv2_lib.files import UserError
from mbv2_lib.network import mobilenet_v2


def build(block, filters=8, strides=1, expansion=4):
    keras.utils.set_random_seed(3)
    given = keras.Input((6, 6, 8))
    return keras.Model(given, block(given, filters, strides, expansion, name="block"))


PICTURE = np.random.default_rng(0).normal(size=(2, 6, 6, 8)).astype("float32")


@pytest.mark.parametrize(("filters", "strides", "expansion"), [(8, 1, 4), (8, 2, 4), (16, 1, 4), (8, 1, 1)])
def test_unchanged_it_is_the_inverted_residual(filters, strides, expansion):
    one, other = (build(block, filters, strides, expansion) for block in (inverted_residual, block_with()))
    np.testing.assert_array_equal(one.predict(PICTURE, verbose=0), other.predict(PICTURE, verbose=0))


def test_no_variant_has_a_weight_more_or_less():
    counts = {name: mobilenet_v2((32, 32, 3), 10, 0.35, block=block).count_params() for name, block in BLOCKS.items()}
    assert len(set(counts.values())) == 1 and len(counts) == 4


@pytest.mark.parametrize(("name", "shortcuts"), [("inverted-residual", 10), ("wide-shortcut", 10), ("no-shortcut", 0)])
def test_as_many_shortcuts_as_the_paper_has_or_none(name, shortcuts):
    network = mobilenet_v2((32, 32, 3), 10, 0.35, block=BLOCKS[name])
    adds = [layer for layer in network.layers if isinstance(layer, keras.layers.Add)]
    assert len(adds) == shortcuts
    wide = name == "wide-shortcut"
    for layer in adds:  # what is joined: the thin ends, or the expanded tensors, six times as many channels
        projected = network.get_layer(layer.name.replace("_add", "_project")).output.shape[-1]
        assert layer.output.shape[-1] == projected * (6 if wide else 1)


def test_a_relu_bottleneck_puts_out_nothing_negative_before_its_shortcut():
    assert build(BLOCKS["relu-bottleneck"], filters=16).predict(PICTURE, verbose=0).min() == 0
    linear = build(inverted_residual, filters=16).predict(PICTURE, verbose=0)
    rectified = build(BLOCKS["relu-bottleneck"], filters=16).predict(PICTURE, verbose=0)
    np.testing.assert_allclose(rectified, linear.clip(0, 6), atol=1e-6)


def test_a_wide_shortcut_carries_the_expanded_tensor_past_a_depthwise_convolution_that_does_nothing():
    block = build(BLOCKS["wide-shortcut"], filters=8)
    block.get_layer("block_depthwise").set_weights([np.zeros((3, 3, 32, 1))])
    expanded = keras.Model(block.input, block.get_layer("block_expand_relu").output).predict(PICTURE, verbose=0)
    kernel = block.get_layer("block_project").get_weights()[0][0, 0]
    np.testing.assert_allclose(
        block.predict(PICTURE, verbose=0), expanded @ kernel / np.sqrt(1 + 1e-3), rtol=1e-4, atol=1e-5
    )


def test_every_run_of_the_sweeps_is_a_command_that_the_program_takes():
    everything = [settings for rows in sweeps.tried().values() for settings in rows]
    for settings in everything:
        words = shlex.split(sweeps.command(settings))
        said = vars(parser().parse_args(words[1:]))
        assert words[0] == "mbv2" and settings.items() <= said.items()
    assert len({sweeps.folder_of(settings) for settings in everything}) == len(everything) - 3  # in two sweeps: SMALL


@pytest.mark.parametrize("sweep", [path.stem for path in sweeps.FOLDER.glob("*.csv")])
def test_a_shipped_sweep_holds_what_it_says_it_tried(sweep):
    rows = sweeps.read(sweep)
    for row in rows:
        settings = {name: row[name] for name in sweeps.SMALL}
        assert settings in sweeps.tried()[sweep]
        assert row["command"] == sweeps.command(settings) and row["pictures"] == sweeps.HELD_OUT
        assert 0.01 < row["top1"] < 1 and row["machine"]
    assert len({row["command"] for row in rows}) == len(rows)


def test_the_recipe_for_long_runs_says_what_its_runs_came_to():
    found = [100 * row["top1"] for row in sweeps.read("recipes") if row["recipe"] == "modern"]
    assert "in place of {:.1f} and {:.1f} %".format(*found) in " ".join(recipes.modern_optimizer.__doc__.split())


def test_a_sweep_trains_what_its_file_lacks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeps, "FOLDER", tmp_path)
    first, second = ({**sweeps.SMALL, "seed": seed} for seed in (0, 1))
    monkeypatch.setattr(sweeps, "tried", lambda: {"two": [first, second]})
    asked = []

    def trained(words):
        asked.append(words)
        assert "--resume" not in words  # no run of another folder is taken for one of this
        folder = Path(words[words.index("--run") + 1])
        folder.mkdir(parents=True)
        best = dict.fromkeys(runs.COLUMNS, 3.0) | {"epoch": 1, "top1": 0.2, "val_top1": 0.3}
        runs.write_history(folder, [best, best | {"epoch": 2, "val_top1": 0.25}])  # the last counts
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(sweeps.subprocess, "run", trained)
    sweeps.run("two")
    assert len(asked) == 2
    with (tmp_path / "two.csv").open() as file:
        assert [(row["seed"], row["top1"]) for row in csv.DictReader(file)] == [
            ("0", "0.25"),
            ("1", "0.25"),
        ]
    sweeps.run("two")
    assert len(asked) == 2
    sweeps.run("two", folder="again")  # everything anew, and the shipped file stays as it is
    assert len(asked) == 4 and len(sweeps.read("two", "again")) == len(sweeps.read("two")) == 2
    assert sweeps.repeated("again") == sweeps.repeated() == {48: [[0.25, 0.25]]} and sweeps.repeated("none") == {}


def test_a_sweep_whose_run_fails_says_so_and_adds_no_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeps.subprocess, "run", lambda words: subprocess.CompletedProcess(words, 2))
    with pytest.raises(UserError, match="mbv2 train .*: expected a run to its end"):
        sweeps.run("ablations", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_weights_bring_their_block_and_another_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"classes": 10, "block": "no-shortcut"}))
    given = {"classes": 10, "weights": str(tmp_path / "last.weights.h5")}
    with pytest.raises(
        UserError, match="--block inverted-residual: .* was trained with no-shortcut.*move that config.json away"
    ):
        new_config(given | {"block": "inverted-residual"})
    assert new_config(given).block == new_config(given | {"block": "no-shortcut"}).block == "no-shortcut"


def test_the_shipped_sweeps_bear_out_what_the_notebook_says_of_them():
    def means(sweep, name, **same):
        rows = [row for row in sweeps.read(sweep) if same.items() <= row.items()]
        values = {row[name] for row in rows}
        return {value: np.mean([row["top1"] for row in rows if row[name] == value]) for value in values}

    blocks = means("ablations", "block")
    assert blocks["inverted-residual"] > blocks["wide-shortcut"] + 0.03 > blocks["no-shortcut"] + 0.03
    assert blocks["inverted-residual"] > blocks["relu-bottleneck"] + 0.03
    recipes, widths = means("recipes", "recipe"), means("design_space", "alpha", size=32, expansion=6)
    assert recipes["short"] - max(recipes["first"], recipes["modern"]) > widths[1.0] - widths[0.5] > 0
    expansions = means("design_space", "expansion", size=48, alpha=0.5)
    assert expansions[6] - expansions[1] < 0.025  # no news by the notebook's yardstick
