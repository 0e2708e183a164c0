"""A run folder on the disk: settings, history, weights, and the state that a resume goes on from.

Every file appears whole or not at all. The state is written last: what it does not know of, a resume does again.
"""

import csv
import dataclasses
from pathlib import Path

import h5py
import numpy as np

from mbv2_lib.architecture import mobilenet_v2_architecture
from mbv2_lib.config import TrainConfig, flag
from mbv2_lib.files import UserError, read_json, whole_file, write_csv


def read_config(run):
    """The TrainConfig of a run folder, and all that its config.json says. Raises UserError where it has none."""
    path = Path(run) / "config.json"
    if not path.is_file():
        raise UserError(f"{run}: expected a run folder with config.json, found none; name the --run of `mbv2 train`")
    said, names = read_json(path), [field.name for field in dataclasses.fields(TrainConfig)]
    missing = {*names, "class_names", "data_digest"}.difference(said if isinstance(said, dict) else ())
    try:
        if missing:
            raise UserError(f"expected all settings of a run, found none of {', '.join(sorted(missing))}")
        config, classes = TrainConfig(**{name: said[name] for name in names}), said["class_names"]
        named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
        if not named or not isinstance(said["data_digest"], str):
            raise UserError("expected class_names and data_digest as `mbv2 train` writes them, found others")
    except UserError as error:
        raise UserError(f"{path}: {error}; was the file edited? Put it right or begin anew") from error
    return config, said


def resumed_config(given):
    """The TrainConfig of the run to resume. Raises UserError where a setting that the user said is another there."""
    config, _ = read_config(given["run"])
    for name, value in given.items():
        began_with = getattr(config, name)
        if name != "run" and value != began_with:
            raise UserError(
                f"{flag(name)} {value}: the run began with {began_with}; leave {flag(name)} out, or begin another --run"
            )
    return dataclasses.replace(config, run=given["run"])  # the folder may have moved


COLUMNS = ("epoch", "loss", "top1", "val_loss", "val_top1", "val_top5", "learning_rate", "seconds")  # of history.csv


def write_history(run, rows):
    """Write the rows (dicts of one epoch each) as history.csv."""
    write_csv(Path(run) / "history.csv", rows)


def read_history(run):
    """The rows of history.csv as dicts of numbers; none where the run has none yet. Raises UserError if damaged."""
    path = Path(run) / "history.csv"
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        if rows and (others := set(COLUMNS) ^ set(rows[0])):
            raise KeyError(*others)
        return [row | {"epoch": int(row["epoch"])} for row in rows]
    except (ValueError, TypeError, KeyError, OverflowError, csv.Error) as error:
        raise UserError(
            f"{path}: expected a number in every column, found a damaged file ({error}); begin anew"
        ) from error


def state_of(learner):
    """The variables that the next epoch depends on: weights, statistics, seeds, and all that the optimizer keeps."""
    return [*learner.variables, *learner.optimizer.variables]


def write_state(run, epochs, variables):
    """Write all that the next epoch depends on: epochs done, and the values of the variables, in order."""
    with whole_file(Path(run) / "state.npz") as aside, aside.open("wb") as file:
        np.savez(file, epochs=epochs, **{f"variable_{n}": np.asarray(value) for n, value in enumerate(variables)})


def read_state(run):
    """(epochs done, values of the variables) of a run; (0, []) before its first whole epoch.

    Raises UserError for a damaged file.
    """
    path = Path(run) / "state.npz"
    if not path.is_file():
        return 0, []
    try:
        with np.load(path, allow_pickle=False) as state:
            count = len(state.files) - 1
            return int(state["epochs"]), [state[f"variable_{number}"] for number in range(count)]
    except Exception as error:  # what a damaged archive raises shares no other class
        raise UserError(f"{path}: expected the state of a run, found a damaged file ({error}); begin anew") from error


def write_weights(path, network):
    """Save the network's weights (a .weights.h5 file) whole or not at all. Raises UserError where the disk is full."""
    with whole_file(path) as aside:
        # HDF5 takes the whole process down where a disk is full: a plain write of the size to come asks first.
        aside.write_bytes(bytes(int(4.4 * network.count_params()) + 1_000_000))
        network.save_weights(aside)


def weights_file(run, which="last"):
    """The path of a run's weights of the "last" or the "best" epoch. Raises UserError where there is no such file."""
    path = Path(run) / f"{which}.weights.h5"
    if not path.is_file():
        raise UserError(f"{path}: expected the weights of a trained run, found none; run `mbv2 train` to its end")
    return path


def expect_weights(path, alpha, expansion, classes):
    """Look at a weight file's header for a network of this width, expansion and class count.

    Raises UserError where the file is missing, is no weight file, or holds another network: then it says which.
    """
    if _channels_in(path) != [*_channels_of(alpha, expansion), classes]:
        found = describe_weights(path)
        raise UserError(
            f"{path}: holds a network of width {found[0]}, expansion {found[1]} and {found[2]} classes; asked for "
            f"width {alpha}, expansion {expansion} and {classes} classes: mend --alpha, --expansion, --classes or, "
            "where the file starts a fine-tuning, --tclasses"
        )
    if not str(path).endswith(".weights.h5"):
        raise UserError(f"{path}: expected a name that ends in .weights.h5, by which Keras knows the form; rename it")


def load_weights(network, path, alpha, expansion, classes):
    """Load a weight file into a network of this width, expansion and class count. Raises UserError where it can not."""
    expect_weights(path, alpha, expansion, classes)
    try:
        network.load_weights(path)
    except Exception as error:  # what h5py raises for a damaged file shares no other class
        raise UserError(f"{path}: expected all layers of a MobileNetV2, found it damaged; take another file") from error


def describe_weights(path):
    """(width, expansion, classes) of the network in a weight file, told by the shapes of its kernels alone.

    Raises UserError for what is no such file, a width that is no multiple of .05 up to 3, or an expansion above 10.
    """
    channels = _channels_in(path)
    for alpha in (round(0.05 * step, 2) for step in range(1, 61)):
        for expansion in range(1, 11):
            if channels[:-1] == _channels_of(alpha, expansion):
                return alpha, expansion, channels[-1]
    raise UserError(
        f"{path}: expected weights of a MobileNetV2 of a width of 0.05, 0.10 to 3 and an expansion up to 10, found "
        f"{len(channels)} other kernels; say --alpha and --expansion as in the training, or take another file"
    )


def _channels_in(path):
    """The channels that each convolution in a weight file puts out, but the depthwise ones, in order; then classes."""
    if not Path(path).is_file():
        raise UserError(f"{path}: expected a weight file (.weights.h5), found no such file; name another")
    try:
        with h5py.File(path) as file:
            layers = file["layers"]
            names = [name for name in layers if name.startswith(("conv2d", "dense"))]
            # Keras numbers the layers of a kind, conv2d, conv2d_1 and so on; the dense one is the last.
            names.sort(key=lambda name: (name.startswith("dense"), int(name.partition("_")[2] or 0)))
            return [layers[name]["vars/0"].shape[-1] for name in names]
    except Exception as error:  # as above
        raise UserError(
            f"{path}: expected Keras weights of a MobileNetV2, found something else ({error}); name another file"
        ) from error


def _channels_of(alpha, expansion):
    """The same of a network of this width and expansion, without the classes."""
    stem, blocks, head = mobilenet_v2_architecture(alpha, expansion)
    return [stem, *(w for b in blocks for w in ([b.expanded] if b.expansion > 1 else []) + [b.filters]), head]
