"""The settings of a run: what each means, and what it may be, whether a user, a notebook or config.json says it."""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

from mbv2_lib.files import UserError, read_json

# -- what a setting may be ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Kind:
    """The values that a setting may have: those of one type that `fits` takes; `expected` says it in words.

    Called with a text it reads the value, as argparse wants it of a type.
    """

    type: type
    expected: str
    fits: Callable
    words: tuple = ()  # all of them, where they are a few words

    def __contains__(self, value):
        whole = isinstance(value, int) and not isinstance(value, bool)  # Python counts True among the whole numbers
        of_type = whole if self.type is int else isinstance(value, self.type) or (whole and self.type is float)
        return of_type and self.fits(value)

    def __call__(self, text):
        try:
            value = self.type(text)
        except ValueError:
            value = None
        if value not in self:
            raise argparse.ArgumentTypeError(f"expected {self.expected}, found {text or 'nothing'}")
        return value


def whole(least=1, most=2**31 - 1):  # a number above that is a slip of the keyboard
    return Kind(int, f"a whole number from {least} to {most}", lambda number: least <= number <= most)


def above_zero(below=2**31):
    return Kind(float, f"a number above 0 and below {below}", lambda number: 0 < number < below)


def one_of(*words):
    return Kind(str, f"one of {', '.join(words)}", lambda word: word in words, words)


SHARE = Kind(float, "a number from 0 to below 1", lambda number: 0 <= number < 1)
PLACE = Kind(str, "a path", bool)  # an empty one, as of a variable that is not set, would mean the working folder


# -- the settings of a run ---------------------------------------------------------------------------------------------


# The keys of `ablations.BLOCKS` and `recipes.RECIPES`, written out: to ask those modules would import Keras.
BLOCK_NAMES = ("inverted-residual", "relu-bottleneck", "wide-shortcut", "no-shortcut")
RECIPE_NAMES = ("first", "short", "modern", "long")


def setting(kind, meaning, default=dataclasses.MISSING):
    """A field of TrainConfig: what it may be, and what `mbv2 train --help` says of it."""
    return dataclasses.field(default=default, metadata={"kind": kind, "meaning": meaning})


@dataclasses.dataclass
class TrainConfig:
    """Every setting of a run; `config.json` in the run folder holds the same.

    For `data` and `holdout` see `pipeline.open_data`. Raises UserError for a value that a setting may not have.
    """

    classes: int = setting(whole(1, 10**5 - 1), "number of classes of --data (required without --resume)")
    data: str = setting(
        PLACE, 'a prepared folder, a folder with train.bin and test.bin, or "shapes100"', "data/cifar100-224"
    )
    run: str = setting(PLACE, "the run folder", "runs/latest")
    size: int = setting(whole(1, 4096), "pixels of a side", 224)
    batch: int = setting(whole(), "pictures a step", 32)
    epochs: int = setting(whole(), "passes over the training pictures", 300)
    alpha: float = setting(above_zero(10), "width multiplier", 1.0)
    expansion: int = setting(whole(1, 99), "how many times a block widens its channels inside", 6)
    block: str = setting(one_of(*BLOCK_NAMES), "the paper's block, or one with a part changed", "inverted-residual")
    dropout: float = setting(SHARE, "share of the features left out in training", 0.2)
    recipe: str = setting(
        one_of(*RECIPE_NAMES),
        "how to train: first (Adam, one rate), or for dozens (short), a hundred (modern), hundreds (long) of epochs",
        "first",
    )
    learning_rate: float | None = setting(above_zero(), "the highest of the run, in place of the recipe's", None)
    precision: str = setting(
        one_of("auto", "float32", "bfloat16"),
        "numbers to compute in; auto: bfloat16 on an accelerator, float32 on a CPU",
        "auto",
    )
    seed: int = setting(
        whole(0, 2**32 - 1), "decides the first weights, the order of the pictures and how they are varied", 0
    )
    patience: int | None = setting(whole(), "stop after so many epochs without a better held-out top-1", None)
    holdout: int = setting(
        whole(0), "set aside so many training pictures and measure on them, in place of the validation pictures", 0
    )
    weights: str | None = setting(
        PLACE,
        "a weight file to start from; a config.json beside it gives size, alpha, expansion, block where you do not",
        None,
    )
    tclasses: int | None = setting(
        whole(1, 10**5 - 1), "classes of the network in --weights; else that config.json says it, or --classes", None
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), field.metadata["kind"]
            if value not in kind and not (value is None and field.default is None):
                raise UserError(f"{flag(field.name)}: expected {kind.expected}, found {value!r}")


def flag(name):
    """What the command line calls a setting."""
    return "--" + name.replace("_", "-")


def new_config(given):
    """The TrainConfig of what a user said (a dict). What she left out about --weights, its run's config.json says.

    Raises UserError where --classes is missing, or where she and that config.json contradict each other; only the
    pictures may have another size, for the weights fit any.
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
    beside = Path(config.weights).resolve().parent / "config.json"  # where a link leads: there lies the run
    before = network_settings(beside) if beside.is_file() else {}
    for name, value in before.items():
        if name != "size" and given.get(name, value) != value:
            raise UserError(
                f"{flag(name)} {given[name]}: {config.weights} was trained with {value}, as {beside} says; "
                f"leave {flag(name)} out, or move that config.json away if it is another run's"
            )
    return TrainConfig(**{"tclasses": config.classes} | before | given)


def network_settings(path):
    """The settings of the network that a run's config.json describes: a dict, with its classes under "tclasses".

    Raises UserError where the file holds no settings, or a value that a setting cannot have.
    """
    said = read_json(path)
    if not isinstance(said, dict):
        raise UserError(f"{path}: expected the settings of a run, found {said!r:.60}; restore it or move the file away")
    kinds = {field.name: field.metadata["kind"] for field in dataclasses.fields(TrainConfig)}
    network = {name: said[name] for name in ("size", "alpha", "expansion", "block") if name in said}
    network |= {"tclasses": said["classes"]} if "classes" in said else {}
    for name, value in network.items():
        if value not in kinds[name]:
            raise UserError(
                f"{path}: expected for {name} {kinds[name].expected}, found {value!r:.60}; restore it or move the "
                "file away"
            )
    return network
