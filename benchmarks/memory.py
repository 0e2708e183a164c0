"""Peak memory of a training on folders of 224 px pictures, few and many: it should not grow with their number.

The larger folder gets more steps, too, in proportion, so that what each step would leave behind shows as well.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from pairs import alternate, arguments, report, shown, spread, table

from mbv2_lib import folders, shapes100

CLASSES = 100


def linked_folder(out, source, images):
    """A folder of `images` training pictures: names of their own for the few pictures of `source`."""
    (out / "validation").mkdir(parents=True)
    for name in shapes100.CLASSES:
        (out / "train" / name).mkdir(parents=True)
        pictures = sorted((source / "train" / name).glob("*.jpg"))
        for index in range(images // CLASSES):
            os.link(pictures[index % len(pictures)], out / "train" / name / f"{index:05d}.jpg")
        (out / "validation" / name).symlink_to(source / "validation" / name)


def train_and_tell(folder, size, batch, steps, expansion):
    """Train for some steps as `training.train` does, and print the peak resident size in MB."""
    from mbv2_lib import pipeline, training
    from mbv2_lib.config import TrainConfig
    from mbv2_lib.recipes import RECIPES

    config = TrainConfig(classes=CLASSES, data=folder, size=size, batch=batch, epochs=1, expansion=expansion)
    data = pipeline.open_data(config.data)
    training.check_fits(config, data)
    plan = pipeline.Plan(data.train.labels, CLASSES, batch, size, RECIPES[config.recipe].augmentation)
    learner = training.build_learner(config, plan.steps)
    learner.run_eagerly = steps < 3  # in tiny mode: a step or two are not worth the tracing of a network
    learner.fit(pipeline.training_batches(data.train, plan), steps_per_epoch=steps, verbose=0, shuffle=False)
    print(peak_megabytes())


def peak_megabytes():
    """Peak resident size of this process. Linux's own record begins with the program, getrusage's with its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main(argv=None):
    options = arguments(__doc__, argv)
    size, batch, expansion, pairs = (32, 4, 1, 1) if options.tiny else (224, 16, 6, 5)
    counts = (200, 1000) if options.tiny else (10_000, 50_000)
    steps = (1, 2) if options.tiny else (8, 40)
    peaks = {images: [] for images in counts}

    with tempfile.TemporaryDirectory() as aside:
        aside, (images, labels) = Path(aside), shapes100.draw(2)
        splits = {"train": (images, labels), "validation": (images[:100], labels[:100])}
        folders.write_folders(aside / "few", splits, shapes100.CLASSES, size, progress=False)

        def measure(images, steps):
            given = [str(value) for value in (aside / str(images), size, batch, steps, expansion)]
            told = subprocess.run([sys.executable, __file__, "--train", *given], capture_output=True, text=True)
            assert told.returncode == 0, told.stderr[-2000:]
            peaks[images].append(float(told.stdout.split()[-1]))

        for images in counts:
            linked_folder(aside / str(images), aside / "few", images)
        works = {images: lambda i=images, s=taken: measure(i, s) for images, taken in zip(counts, steps, strict=True)}
        alternate(works, pairs - 1)  # its warm-up is a measurement like the others: a new process each time

    few, many = (spread(peaks[images]) for images in counts)
    ratio = many["median"] / few["median"]
    rows = [
        [f"{images:,}", taken, shown(found)] for images, taken, found in zip(counts, steps, (few, many), strict=True)
    ]
    text = (
        f"{table(['pictures in the folder', 'steps', 'peak, MB'], rows)}\n\n{size} px, batch {batch}: the larger "
        f"folder takes {ratio:.3f} times the memory ({pairs} pairs of new processes); the aim is within 5 %."
    )
    return report(options, "memory", "Peak memory", text=text)


if __name__ == "__main__":
    if "--train" in sys.argv:
        folder, *numbers = sys.argv[2:]
        train_and_tell(folder, *map(int, numbers))
    else:
        main()
