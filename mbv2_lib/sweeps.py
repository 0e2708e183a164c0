"""Small runs side by side: what was tried, what each reached on pictures set aside, and the command that repeats it.

`python -m mbv2_lib.sweeps ablations` trains what data/sweeps/ablations.csv lacks, run by run, and adds the rows;
with `--folder runs/again` it trains everything anew and leaves the shipped file as it is.
"""

import argparse
import csv
import itertools
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from mbv2_lib import runs
from mbv2_lib.config import BLOCK_NAMES
from mbv2_lib.files import UserError, write_csv

FOLDER = Path(__file__).parents[1] / "data" / "sweeps"
HELD_OUT = 5000  # training pictures that are set aside, to measure on; the test set stays unseen
SMALL = {
    "alpha": 0.5,
    "size": 48,
    "expansion": 6,
    "block": "inverted-residual",
    "recipe": "short",
    "epochs": 4,
    "seed": 0,
}


def tried():
    """The settings of every run: dict of sweep to list of dicts with the keys of SMALL.

    "design_space": width against resolution, and expansion at one of them. "ablations": the paper's. Three seeds each.
    "recipes": the first project's against later ones. "longer": expansions, five times as long. Two seeds each.
    """
    grid = [*itertools.product((0.35, 0.5, 1.0), (32, 48)), (0.35, 64), (0.5, 64)]
    networks = [{"alpha": alpha, "size": size} for alpha, size in grid]
    networks += [{"expansion": expansion} for expansion in (1, 3, 9)]
    space = [network | {"seed": seed} for seed, network in itertools.product(range(3), networks)]
    changed = [{"block": block, "seed": seed} for seed, block in itertools.product(range(3), BLOCK_NAMES)]
    recipes = itertools.product(range(2), ("first", "short", "modern"))  # `long`, for hundreds of epochs, was not tried
    taught = [{"size": 32, "epochs": 10, "recipe": recipe, "seed": seed} for seed, recipe in recipes]
    longer = [{"expansion": t, "epochs": 20, "seed": seed} for seed, t in itertools.product(range(2), (1, 3, 6))]
    sweeps = {"design_space": space, "ablations": changed, "recipes": taught, "longer": longer}
    return {name: [SMALL | row for row in rows] for name, rows in sweeps.items()}


def command(settings, folder=None):
    """The command that trains with these settings, as one line. 5,000 training pictures are set aside to measure on."""
    said = {"classes": 100, "data": "data/cifar100", "batch": 128, "holdout": HELD_OUT} | settings
    said["run"] = folder_of(settings, folder)
    return "mbv2 train " + " ".join(f"--{flag} {shlex.quote(str(value))}" for flag, value in said.items())


def folder_of(settings, folder=None):
    """A run folder whose name tells the settings, in `folder` (else runs/sweeps)."""
    return f"{folder or 'runs/sweeps'}/" + "-".join(str(value) for value in settings.values())


def read(sweep, folder=None):
    """The rows of a sweep's CSV in `folder` (else the shipped one): list of dicts, numbers as numbers.

    There are none where there is no such file.
    """
    path = Path(folder or FOLDER) / f"{sweep}.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _number(text) for name, text in row.items()} for row in csv.DictReader(file)]


def _number(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def repeated(folder=None):
    """What runs reached that differ in nothing but the seed: dict of size to a list of such groups, lists of top-1.

    Of all sweeps together; a run that stands in two of them counts once.
    """
    groups = {}
    for row in itertools.chain.from_iterable(read(sweep, folder) for sweep in tried()):
        settings = tuple(row[name] for name in SMALL if name != "seed")
        groups.setdefault(row["size"], {}).setdefault(settings, {})[row["seed"]] = row["top1"]
    return {size: [list(top1.values()) for top1 in groups[size].values()] for size in sorted(groups)}


def run(sweep, folder=None):
    """Train what the sweep's CSV lacks, and add a row as each run ends; a run that was stopped goes on."""
    for settings in tried()[sweep]:
        rows = read(sweep, folder)
        if not any(settings.items() <= row.items() for row in rows):
            write_csv(Path(folder or FOLDER) / f"{sweep}.csv", [*rows, trained(settings, folder)])


def trained(settings, folder=None):
    """Train with these settings, or go on with a run that was stopped; returns its row.

    Top-1 is that of the last epoch, not of the best. What another sweep has trained to its end is only read.
    """
    line, place = command(settings, folder), folder_of(settings, folder)
    resume = ["--resume"] if Path(place, "history.csv").exists() else []
    if subprocess.run([sys.executable, "-m", "mbv2_lib", *shlex.split(line)[1:], *resume]).returncode:
        raise UserError(f"{line}: expected a run to its end, found that it failed; see the line above")
    last = runs.read_history(place)[-1]
    top1 = {"training_top1": round(last["top1"], 4), "top1": round(last["val_top1"], 4)}
    return settings | top1 | {"pictures": HELD_OUT, "machine": machine(), "command": line}


def machine():
    """What computes, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()  # ours, on Linux
    return f"{cores} cores, {platform.machine().replace('_', '-')}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train what the CSV of a sweep lacks.")
    parser.add_argument("sweep", choices=tried())
    parser.add_argument("--folder", help="where the CSV and the runs go (else data/sweeps and runs/sweeps)")
    asked = parser.parse_args()
    try:
        run(asked.sweep, folder=asked.folder)
    except UserError as error:
        sys.exit(f"mbv2: {error}")
