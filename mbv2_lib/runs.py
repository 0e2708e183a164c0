"""A run folder on the disk: settings, history, weights, and the state that a resume goes on from.

Every file appears whole or not at all. The state is written last: what it does not know of, a resume does again.
"""

import csv
import dataclasses
from pathlib import Path

import h5py
import numpy as np

from mbv2_lib.architecture import mobilenet_v2_architecture
from mbv2_lib.files import UserError, read_json, whole_file, write_csv


@dataclasses.dataclass
class TrainConfig:
    """Every setting of a run; `config.json` in the run folder holds the same.

    classes: outputs. data: what `pipeline.open_data` takes. run: the run folder. size: pixels of a side.
    batch: pictures a step. epochs: passes over the training pictures. alpha, expansion, dropout: see
    `network.mobilenet_v2`. block: one of `ablations.BLOCKS`. recipe: one of `recipes.RECIPES`. learning_rate: None for
    the recipe's own. precision: "auto", "float32" or "bfloat16". seed: decides weights, order and dice. patience:
    epochs without a better validation top-1 after which the run stops early, None for never. holdout: see
    `pipeline.open_data`.
    weights, tclasses: a weight file to start from and its number of classes.
    """

    classes: int
    data: str = "data/cifar100-224"
    run: str = "runs/latest"
    size: int = 224
    batch: int = 32
    epochs: int = 300
    alpha: float = 1.0
    expansion: int = 6
    block: str = "inverted-residual"
    dropout: float = 0.2
    recipe: str = "first"
    learning_rate: float | None = None
    precision: str = "auto"
    seed: int = 0
    patience: int | None = None
    holdout: int = 0
    weights: str | None = None
    tclasses: int | None = None


# What a TrainConfig may hold: of these settings one of a few words; of the others numbers above zero, with exceptions.
CHOICES = {
    "block": ("inverted-residual", "relu-bottleneck", "wide-shortcut", "no-shortcut"),
    "recipe": ("first", "short", "modern"),
    "precision": ("auto", "float32", "bfloat16"),
}
MAY_BE_ZERO = ("dropout", "seed", "holdout")
BELOW = {"dropout": 1, "seed": 2**32, "size": 4097, "alpha": 10, "expansion": 100}
BELOW |= dict.fromkeys(("classes", "tclasses"), 10**5)
OTHERS_BELOW = 2**31  # a number above that is a slip of the keyboard


def new_config(given):
    """The TrainConfig of what a user said (a dict). What she left out about --weights, its run's config.json says.

    Raises UserError where --classes is missing, or where she and that config.json contradict each other.
    """
    if "classes" not in given:
        raise UserError(
            "--classes: expected the number of classes of --data, found nothing; say for example --classes 100"
        )
    config = TrainConfig(**given)
    if config.tclasses and not config.weights:
        raise UserError(
            f"--tclasses {config.tclasses}: is about a file in --weights, found none; name it or leave both out"
        )
    if not config.weights:
        return config
    said = Path(config.weights).with_name("config.json")
    before = read_json(said) if said.is_file() else {}
    if not isinstance(before, dict):
        raise UserError(f"{said}: expected the settings of a run, found {before!r}; restore it or move the file away")
    if config.tclasses is None:
        config.tclasses = before.get("classes", config.classes)
    asked = {name: getattr(config, name) for name in ("size", "alpha", "expansion", "block")}
    for name, value in ({"classes": config.tclasses} | asked).items():
        if before.get(name, value) != value:
            flag = "tclasses" if name == "classes" else name
            raise UserError(
                f"--{flag} {value}: {config.weights} was trained with {name} {before[name]}, as {said} says; "
                f"say --{flag} {before[name]} or take another file"
            )
    return config


def resumed_config(given):
    """The TrainConfig of the run to resume. Raises UserError where a setting that the user said is another there."""
    config, _ = read_config(given["run"])
    for name, value in given.items():
        began_with = getattr(config, name)
        if name != "run" and value != began_with:
            flag = name.replace("_", "-")
            raise UserError(
                f"--{flag} {value}: the run began with {began_with}; leave --{flag} out, or begin another --run"
            )
    return dataclasses.replace(config, run=given["run"])  # the folder may have moved


def read_config(run):
    """The TrainConfig of a run folder, and all that its config.json says. Raises UserError where it has none."""
    path = Path(run) / "config.json"
    if not path.is_file():
        raise UserError(f"{run}: expected a run folder with config.json, found none; name the --run of `mbv2 train`")
    said = read_json(path)
    said = said if isinstance(said, dict) else {}
    for field in dataclasses.fields(TrainConfig):
        if field.name not in said or not may_stand_for(field, said[field.name]):
            raise UserError(
                f"{path}: expected {field.name} as `mbv2 train` writes it, found {said.get(field.name, 'nothing')!r}; "
                "was the file edited? Put the setting right or begin anew"
            )
    names = said.get("class_names")
    named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not named or not isinstance(said.get("data_digest"), str):
        raise UserError(
            f"{path}: expected class_names and data_digest as `mbv2 train` writes them, found others or none; restore "
            "the file or begin anew"
        )
    return TrainConfig(**{field.name: said[field.name] for field in dataclasses.fields(TrainConfig)}), said


def may_stand_for(field, value):
    """Whether config.json may hold this value for a field of TrainConfig."""
    if field.name in CHOICES:
        return value in CHOICES[field.name]
    if isinstance(value, bool):  # Python counts it among the whole numbers
        return False
    zero = value == 0 and field.name in MAY_BE_ZERO
    if isinstance(value, int | float) and not (zero or 0 < value < BELOW.get(field.name, OTHERS_BELOW)):
        return False
    return isinstance(value, field.type) or (isinstance(value, int) and isinstance(1.0, field.type))


def what_may_stand_for(field):
    """The same in words."""
    if field.name in CHOICES:
        return f"one of {', '.join(CHOICES[field.name])}"
    if isinstance("", field.type):
        return "text"
    least = "0 or more" if field.name in MAY_BE_ZERO else "above 0"
    return f"a number, {least} and below {BELOW.get(field.name, OTHERS_BELOW)}"


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


def load_weights(network, path, alpha, expansion, classes):
    """Load a weight file into a network of this width, expansion and class count.

    Raises UserError where the file is missing, is no weight file, or holds another network: what it holds, what was
    asked.
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
    """How many channels each convolution in a weight file ends in, and how many classes it knows. See above."""
    if not Path(path).is_file():
        raise UserError(f"{path}: expected a weight file (.weights.h5), found no such file")
    try:
        with h5py.File(path) as file:
            layers = file["layers"]
            kernels = {name: layers[name]["vars/0"].shape for name in layers if name.startswith(("conv2d", "dense"))}
            return [shape[-1] for name, shape in sorted(kernels.items(), key=_position)]
    except Exception as error:  # as above
        raise UserError(f"{path}: expected Keras weights of a MobileNetV2, found something else ({error})") from error


def _channels_of(alpha, expansion):
    """How many channels each convolution of a MobileNetV2 ends in, but for the depthwise ones."""
    stem, blocks, head = mobilenet_v2_architecture(alpha, expansion)
    return [stem, *(w for b in blocks for w in ([b.expanded] if b.expansion > 1 else []) + [b.filters]), head]


def _position(item):
    """Keras numbers the layers of a kind: conv2d, conv2d_1, ...; the dense one is the last."""
    kind, _, number = item[0].partition("2d_")
    return kind != "conv" and kind != "conv2d", int(number or 0)
