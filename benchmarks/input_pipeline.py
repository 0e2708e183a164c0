"""Folders of pictures to augmented batches: ours, Keras's `ImageDataGenerator`, and its random layers in `tf.data`."""

import itertools
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from pairs import alternate, arguments, compare, report

from mbv2_lib import folders, pipeline, shapes100
from mbv2_lib.augmentation import Augmentation
from mbv2_lib.backend import keras
from mbv2_lib.recipes import RECIPES


def ours(folder, size, batch, augmentation):
    """The endless batches of (pictures, targets) that a training reads, one iterator for all its epochs."""
    data = pipeline.open_data(folder)
    plan = pipeline.Plan(data.train.labels, len(data.classes), batch, size, augmentation)
    return ((inputs["pictures"], targets) for inputs, targets in pipeline.training_batches(data.train, plan))


def generator(folder, size, batch, augmentation, workers=1, processes=False):
    """One epoch of `ImageDataGenerator`, read ahead by as many threads or processes as `model.fit` would use."""
    import tensorflow as tf
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    source = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=augmentation.rotation,
        shear_range=augmentation.shear,
        zoom_range=augmentation.zoom,
        width_shift_range=augmentation.shift,
        height_shift_range=augmentation.shift,
        horizontal_flip=augmentation.flip,
    )
    names = folders.class_names(folder)
    batches = source.flow_from_directory(f"{folder}/train", (size, size), classes=names, batch_size=batch)
    batches.workers, batches.use_multiprocessing = workers, processes
    batches.on_epoch_end()  # draws the order now: two threads that ask for their first batch at once draw two
    return PyDatasetAdapter(batches).get_numpy_iterator()


def random_layers(folder, size, batch, augmentation):
    """One epoch of `image_dataset_from_directory` with Keras's random layers in parallel threads of `tf.data`."""
    import tensorflow as tf

    batches = keras.utils.image_dataset_from_directory(
        f"{folder}/train",
        label_mode="categorical",
        class_names=folders.class_names(folder),
        image_size=(size, size),
        batch_size=batch,
        verbose=False,
    )
    if augmentation == Augmentation():
        return batches
    layers, shear = keras.layers, np.radians(augmentation.shear)
    vary = keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(augmentation.rotation / 360, fill_mode="nearest"),  # in turns
            layers.RandomShear(shear, shear, fill_mode="nearest"),
            layers.RandomZoom(augmentation.zoom, augmentation.zoom, fill_mode="nearest"),
            layers.RandomTranslation(augmentation.shift, augmentation.shift, fill_mode="nearest"),
        ]
    )
    varied = batches.map(lambda pictures, targets: (vary(pictures, training=True), targets), tf.data.AUTOTUNE)
    return varied.prefetch(tf.data.AUTOTUNE)


def count(batches):
    """Read them all; returns the number of pictures."""
    return sum(len(targets) for _, targets in batches)


def best_workers(make, tried):
    """The (workers, processes) of `tried` that read an epoch fastest, each timed once."""
    seconds = {}
    for workers, processes in tried:
        start = time.perf_counter()
        count(make(workers=workers, processes=processes))
        seconds[workers, processes] = time.perf_counter() - start
    return min(seconds, key=seconds.get)


def main(argv=None):
    options = arguments(__doc__, argv)
    per_class, size, batch, pairs, epochs = (1, 48, 25, 1, 1) if options.tiny else (12, 224, 32, 5, 8)
    cores = os.cpu_count()
    tried = [(2, False)] if options.tiny else [(1, False), (cores, False), (2 * cores, False), (cores, True)]
    augmentation = RECIPES["first"].augmentation
    with tempfile.TemporaryDirectory() as aside:
        folder, (images, labels) = Path(aside) / "pictures", shapes100.draw(per_class)
        splits = {"train": (images, labels), "validation": (images[:100], labels[:100])}
        folders.write_folders(folder, splits, shapes100.CLASSES, size, progress=False)
        setting = folder, size, batch, augmentation
        workers, processes = best_workers(lambda **how: generator(*setting, **how), tried)
        # Before the clock runs, a graph is traced for each of the two, as it is once in a training.
        batches, layered = ours(*setting), random_layers(*setting)
        steps = epochs * -(-len(labels) // batch)  # long enough that a few batches read ahead do not count
        seconds = alternate(
            {
                "ours": lambda: count(itertools.islice(batches, steps)),
                "generator": lambda: count(generator(*setting, workers, processes)),
                "layers": lambda: count(layered),
            },
            pairs,
        )
    amounts = epochs * len(labels), len(labels)
    rows = [
        compare("input, against `ImageDataGenerator`", seconds["ours"], seconds["generator"], *amounts, at_least=8),
        compare("input, against Keras's random layers", seconds["ours"], seconds["layers"], *amounts, at_least=10),
    ]
    kind = "processes" if processes else "threads"
    text = (
        f"{len(labels)} pictures of {size} px in folders, batch {batch}, flipped, turned by up to 90 degrees, sheared, "
        f"zoomed and shifted. `ImageDataGenerator` was fastest with {workers} {kind}."
    )
    return report(options, "input_pipeline", "Folders to augmented batches", rows, text)


if __name__ == "__main__":
    main()
