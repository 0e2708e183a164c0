"""From data on the disk to batches: folders of pictures through tf.data, arrays of 32 px as they are.

Both give the same: a dict with "pictures" (n, h, w, 3) uint8 RGB and, in training, the dice of `augmentation.draw`;
and targets (n, classes). An array's pictures travel small and are enlarged inside the training step: 49 times fewer
bytes than at 224 px, and no TensorFlow needed.
"""

import hashlib
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mbv2_lib import augmentation, checking, cifar100, folders, shapes100
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
    digest: str  # SHA-256 that tells one data set from another


def open_data(path, holdout=0):
    """Open what `--data` names.

    path: a prepared folder with train/ and validation/; a folder with CIFAR-100's train.bin and test.bin, or another
        source of `cifar100.load`, read as arrays of 32 px; or the word "shapes100" for the drawn data set.
    holdout: where above 0, validation is not the set's own: so many training pictures, the same number of each class,
        chosen by a fixed seed, are set aside instead. This is how a recipe is chosen without a look at the test set.
    Returns Data. Raises UserError for a path that is none of these.
    """
    if str(path) == "shapes100":
        data = _of_arrays(*shapes100.load(*SHAPES_PER_CLASS), shapes100.CLASSES)
    elif Path(path).is_file() or any(Path(path).rglob("train.bin")):
        data = _of_arrays(*cifar100.load(path), cifar100.CLASSES)
    else:
        checking.expect_layout(path)
        splits = [Split(*folders.list_images(path, split)) for split in ("train", "validation")]
        names = "".join(
            f"{Path(file).relative_to(path)} {Path(file).stat().st_size}\n" for s in splits for file in s[0]
        )
        data = Data(*splits, folders.class_names(path), hashlib.sha256(names.encode()).hexdigest())
    return set_aside(data, holdout) if holdout else data


def _of_arrays(train, validation, classes):
    splits = [Split(pictures, labels.astype("int64")) for pictures, labels in (train, validation)]
    digest = hashlib.sha256()
    for split in splits:
        digest.update(np.ascontiguousarray(split.pictures))
        digest.update(split.labels)
    return Data(*splits, list(classes), digest.hexdigest())


def set_aside(data, holdout, seed=2018):
    """The same data, with `holdout` training pictures in the place of the validation set. See `open_data`."""
    each, rest = divmod(holdout, len(data.classes))
    if rest or not 0 < each < np.bincount(data.train.labels).min():
        raise UserError(
            f"--holdout: expected a multiple of the {len(data.classes)} classes that leaves training pictures of each, "
            f"found {holdout}; the smallest class has {np.bincount(data.train.labels).min()} pictures"
        )
    shuffled = np.random.default_rng(seed).permutation(len(data.train.labels))
    by_class = shuffled[np.argsort(data.train.labels[shuffled], kind="stable")]
    labels = data.train.labels[by_class]
    place = np.arange(len(labels)) - np.searchsorted(labels, labels)  # 0, 1, 2 ... within the class
    held, kept = np.sort(by_class[place < each]), np.sort(by_class[place >= each])
    return data._replace(train=data.train.take(kept), validation=data.train.take(held))


class Plan(NamedTuple):
    """Which pictures make which batch of which epoch, with which dice: decided by the seed alone."""

    labels: np.ndarray
    classes: int
    batch: int
    size: int
    augmentation: object
    seed: int = 0
    multiple_of: int = 1  # devices that share a batch: what does not divide by them waits for the next epoch

    @property
    def steps(self):
        """Batches in an epoch; the last may be smaller."""
        return -(-self._used // self.batch)

    @property
    def _used(self):
        return len(self.labels) // self.multiple_of * self.multiple_of

    def epoch(self, number):
        """Yield (rows, inputs, targets) for each batch of epoch `number`; every picture comes once."""
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
    """The planned batches with their pictures read from `paths`, several batches at once, in a tf.data.Dataset."""
    import tensorflow as tf

    first = next(planned)
    signature = tf.nest.map_structure(lambda value: tf.TensorSpec((None, *value.shape[1:]), value.dtype), first)
    every_path = tf.constant([str(path) for path in paths])

    def read(rows, dice, targets):
        return {"pictures": read_pictures(tf.gather(every_path, rows), size), **dice}, targets

    batches = tf.data.Dataset.from_generator(lambda: itertools.chain([first], planned), output_signature=signature)
    return batches.map(read, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def evaluation_batches(split, batch, size):
    """Yield pictures (n, h, w, 3) uint8 in the order of the split, `batch` at a time, the last of them fewer."""
    starts = range(0, len(split.labels), batch)
    if isinstance(split.pictures, np.ndarray):
        yield from (split.pictures[start : start + batch] for start in starts)
        return
    import tensorflow as tf

    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in split.pictures]).batch(batch)
    pictures = paths.map(lambda some: read_pictures(some, size), num_parallel_calls=tf.data.AUTOTUNE)
    yield from pictures.prefetch(2).as_numpy_iterator()


def read_pictures(paths, size):
    """Decode the files named by a string tensor (n,) to (n, size, size, 3) uint8 RGB, resized where they differ."""
    import tensorflow as tf

    def read(path):
        data = tf.io.read_file(path)
        picture = tf.cond(
            tf.strings.substr(data, 0, 2) == "BM",  # how a BMP begins; the other decoder reads JPEG and PNG
            lambda: tf.io.decode_bmp(data, channels=3),
            lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),  # to the bit what OpenCV reads
        )
        shape = tf.shape(picture)[:2]
        picture = tf.cond(
            tf.reduce_all(shape == size),
            lambda: picture,
            lambda: tf.cast(tf.round(tf.image.resize(picture, (size, size), antialias=True)), "uint8"),
        )
        return tf.ensure_shape(picture, (size, size, 3))

    return tf.map_fn(read, paths, fn_output_signature=tf.TensorSpec((size, size, 3), "uint8"))
