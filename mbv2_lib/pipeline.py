"""From data on the disk to batches: folders of pictures read ahead by threads, arrays of 32 px as they are.

Both give the same: a dict with "pictures" (n, h, w, 3) uint8 RGB and, in training, the dice of `augmentation.draw`;
and targets (n, classes). Pictures from folders have been warped as they were read, by the host's cores, which the
network leaves idle on a GPU. An array's pictures travel small, 49 times fewer bytes than at 224 px, and are enlarged
and warped inside the training step.
"""

import hashlib
import itertools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mbv2_lib import augmentation, checking, cifar100, folders, pictures, shapes100, threads
from mbv2_lib.backend import keras
from mbv2_lib.files import UserError

SHAPES_PER_CLASS = 100, 20  # of Shapes-100, in training and held out: drawn anew in seconds


class Split(NamedTuple):
    """Pictures, as one uint8 array (n, h, w, 3) or as a list of n paths, and their labels (n,) int64."""

    pictures: object
    labels: np.ndarray

    def take(self, rows):
        """The same split with only these rows, in this order."""
        if isinstance(self.pictures, np.ndarray):
            return Split(self.pictures[rows], self.labels[rows])
        return Split([self.pictures[row] for row in rows], self.labels[rows])


class Data(NamedTuple):
    """A data set: what to train on, what to measure on, and its classes in the order of the labels."""

    train: Split
    validation: Split
    classes: list
    digest: str  # SHA-256 of pictures and labels; of a folder, of its files' names and sizes


def open_data(path, holdout=0):
    """Open what `--data` names.

    path: a prepared folder with train/ and validation/; a folder with CIFAR-100's train.bin and test.bin, or an
        archive for `cifar100.load`, read as arrays of 32 px; or the word "shapes100" for the drawn data set.
    holdout: where above 0, validation is not the set's own: so many training pictures, the same number of each class,
        chosen by a fixed seed, are set aside instead. This is how a recipe is chosen without a look at the test set.
    Returns Data. Raises UserError for a path that is none of these, or a `holdout` that does not fit the classes.
    """
    if str(path) == "shapes100":
        data = _of_arrays(*shapes100.load(*SHAPES_PER_CLASS), shapes100.CLASSES)
    elif Path(path).is_file() or any(Path(path, inside, "train.bin").is_file() for inside in ("", "cifar-100-binary")):
        data = _of_arrays(*cifar100.load(path), cifar100.CLASSES)
    else:
        names = checking.expect_layout(path)
        splits = [Split(*folders.list_images(path, split)) for split in folders.SPLITS]
        files = [Path(file) for split in splits for file in split.pictures]
        sizes = [file.stat().st_size if file.exists() else 0 for file in files]  # a link to nowhere is named later
        listed = "".join(f"{file.relative_to(path)} {size}\n" for file, size in zip(files, sizes, strict=True))
        data = Data(*splits, names, hashlib.sha256(os.fsencode(listed)).hexdigest())
    return set_aside(data, holdout) if holdout else data


def superclasses(classes):
    """The superclasses of a data set that has these classes: dict of name to members; empty for one of your own."""
    known = [source.SUPERCLASSES for source in (cifar100, shapes100) if list(source.CLASSES) == list(classes)]
    return known[0] if known else {}


def copied(data):
    """Which validation pictures stand in the training set, too, byte for byte; (n,) bool."""

    def content(picture):
        return picture.tobytes() if isinstance(picture, np.ndarray) else Path(picture).read_bytes()

    known = {hashlib.sha256(content(picture)).digest() for picture in data.train.pictures}
    return np.array([hashlib.sha256(content(picture)).digest() in known for picture in data.validation.pictures])


def _of_arrays(train, validation, classes):
    splits = [Split(pictures, labels.astype("int64")) for pictures, labels in (train, validation)]
    digest = hashlib.sha256()
    for split in splits:
        digest.update(np.ascontiguousarray(split.pictures))
        digest.update(split.labels)
    return Data(*splits, list(classes), digest.hexdigest())


def set_aside(data, holdout, seed=2018):
    """The same data, with `holdout` training pictures in place of the validation set, as many of each class.

    Raises UserError for a number that does not divide by the classes, or leaves one without training pictures.
    """
    each, rest = divmod(holdout, len(data.classes))
    if rest or not 0 < each < np.bincount(data.train.labels).min():
        raise UserError(
            f"--holdout: expected a multiple of the {len(data.classes)} classes that leaves training pictures of each, "
            f"found {holdout}; the smallest class has {np.bincount(data.train.labels).min()} pictures"
        )
    shuffled = np.random.default_rng(seed).permutation(len(data.train.labels))
    of_class = data.train.labels[shuffled]
    held = np.sort(np.concatenate([shuffled[of_class == label][:each] for label in range(len(data.classes))]))
    kept = np.setdiff1d(np.arange(len(shuffled)), held)
    return data._replace(train=data.train.take(kept), validation=data.train.take(held))


class Plan(NamedTuple):
    """Which pictures make which batch of which epoch, with which dice: decided by the seed alone."""

    labels: np.ndarray
    classes: int
    batch: int
    size: int
    augmentation: object
    seed: int = 0
    multiple_of: int = 1  # devices that share a batch; the few pictures too many for equal parts sit this epoch out

    @property
    def steps(self):
        """Batches in an epoch; the last may be smaller."""
        return -(-self._used // self.batch)

    @property
    def _used(self):
        return len(self.labels) // self.multiple_of * self.multiple_of

    def epoch(self, number):
        """Yield (rows, dice, targets) for each batch of epoch `number`; no picture comes twice."""
        order = np.random.default_rng([self.seed, number]).permutation(len(self.labels))[: self._used]
        for step in range(self.steps):
            rows = order[step * self.batch : (step + 1) * self.batch]
            generator = np.random.default_rng([self.seed, number, step])
            dice = augmentation.draw(self.augmentation, generator, len(rows), self.size)
            targets = one_hot(self.labels[rows], self.classes)
            yield rows, dice, augmentation.mixed_targets(targets, dice).astype("float32")


def one_hot(labels, classes):
    """Labels (n,) as float32 (n, classes), 1 in the label's column."""
    return np.eye(classes, dtype="float32")[labels]


def training_batches(split, plan, first_epoch=0):
    """Endless batches for `model.fit`, from `first_epoch` on: `plan.steps` of them make an epoch."""
    planned = itertools.chain.from_iterable(plan.epoch(number) for number in itertools.count(first_epoch))
    if isinstance(split.pictures, np.ndarray):
        return (({"pictures": split.pictures[rows], **dice}, targets) for rows, dice, targets in planned)

    return _read_ahead(split.pictures, planned, plan.size)


def _read_ahead(paths, planned, size):
    """The planned batches with their pictures read from `paths` and warped, while earlier ones are computed on."""
    import tensorflow as tf

    first = next(planned)
    signature = tf.nest.map_structure(lambda value: tf.TensorSpec((None, *value.shape[1:]), value.dtype), first)
    pictures_of = _reader(paths, size)

    def read(rows, dice, targets):
        warps = [dice.pop("warp")] if "warp" in dice else []
        return {"pictures": pictures_of(rows, *warps), **dice}, targets

    batches = tf.data.Dataset.from_generator(lambda: itertools.chain([first], planned), output_signature=signature)
    batches = batches.map(read, num_parallel_calls=os.cpu_count()).prefetch(2)
    return batches if keras.config.backend() == "tensorflow" else _in_own_memory(batches)


def _in_own_memory(batches):
    """The batches of a tf.data.Dataset as arrays of NumPy that nobody else writes to.

    JAX computes on an array where it lies, and later than it is asked to: by then TensorFlow may have put another batch
    there, and the loss becomes NaN.
    """
    import tensorflow as tf

    return (tf.nest.map_structure(np.array, batch) for batch in batches.as_numpy_iterator())


def evaluation_batches(split, batch, size):
    """Yield pictures (n, h, w, 3) uint8 in the order of the split, `batch` at a time, the last of them fewer."""
    starts = range(0, len(split.labels), batch)
    if isinstance(split.pictures, np.ndarray):
        yield from (split.pictures[start : start + batch] for start in starts)
        return
    import tensorflow as tf

    rows = tf.data.Dataset.range(len(split.labels)).batch(batch)
    pictures = rows.map(_reader(split.pictures, size), num_parallel_calls=os.cpu_count())
    yield from pictures.prefetch(2).as_numpy_iterator()


def _reader(paths, size):
    """A function for `Dataset.map`: rows (n,) of `paths`, and perhaps their warps, to what `read_pictures` returns.

    tf.data calls it for several batches at once, in threads; OpenCV lets go of Python's lock while it works, and so
    all cores are busy.
    """
    import tensorflow as tf

    threads.settle_for_threads()

    def read(rows, *warps):
        return read_pictures([paths[row] for row in rows], size, *warps)

    def pictures_of(rows, *warps):
        pictures = tf.numpy_function(read, [rows, *warps], "uint8", stateful=False)
        return tf.ensure_shape(pictures, (None, size, size, 3))

    return pictures_of


def read_pictures(paths, size, warps=None):
    """The pictures in these files, (n, size, size, 3) uint8 RGB; with `warps` (n, 8), warped. See `pictures.read`."""
    batch = np.empty((len(paths), size, size, 3), "uint8")
    for place, path in enumerate(paths):
        picture = pictures.read(path, size)
        batch[place] = picture if warps is None else augmentation.warped(picture, warps[place])
    return batch
