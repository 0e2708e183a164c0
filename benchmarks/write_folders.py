"""Writing picture folders: `folders.write_folders` against the plain loop, one picture after the other.

Each runs in a process of its own: ours sets OpenCV and the C library up for threads, and the plain loop shall meet them
as everyone does.
"""

import functools
import itertools
import multiprocessing
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from pairs import alternate, arguments, compare, report

from mbv2_lib import folders, shapes100
from mbv2_lib.threads import settle_for_threads

MEMORY = Path("/dev/shm")  # Linux keeps these files in memory: the programs are compared, not the disk


@functools.cache
def drawn(per_class):
    """Shapes-100 with so many pictures a class: images and labels, drawn once a process."""
    images, labels = shapes100.draw(per_class)
    return images, labels.astype(np.int64)


def plain_loop(out, per_class, size):
    """The loop that everyone writes, as the first project did, but with the channels in OpenCV's order."""
    for name in shapes100.CLASSES:
        (out / "train" / name).mkdir(parents=True)
    for index, (image, label) in enumerate(zip(*drawn(per_class), strict=True)):
        name = shapes100.CLASSES[label]
        picture = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (size, size), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(out / "train" / name / f"{name}_{index:05d}.jpg"), picture)


def ours(out, per_class, size):
    """What `mbv2 prepare` does."""
    folders.write_folders(out, {"train": drawn(per_class)}, shapes100.CLASSES, size, progress=False)


def contents(folder):
    """The bytes of every picture under `folder`, by its path from there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}


def writing(per_class, size, pairs):
    """Seconds of ours and of the plain loop, by turns, into new folders."""
    numbers, new = itertools.count(), multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as aside,
        ProcessPoolExecutor(1, new) as one,
        ProcessPoolExecutor(1, new) as other,
    ):

        def write(process, way):
            out = Path(aside) / f"{way.__name__}-{next(numbers)}"
            process.submit(way, out, per_class, size).result()
            return out

        def clean():
            for folder in Path(aside).iterdir():
                shutil.rmtree(folder)

        mine, theirs = contents(write(one, ours)), contents(write(other, plain_loop))
        assert mine == theirs and len(mine) == len(drawn(per_class)[1]), "the two wrote different pictures"
        return alternate({"ours": lambda: write(one, ours), "plain": lambda: write(other, plain_loop)}, pairs, clean)


def encoding(images, size, pairs):
    """Seconds to resize and encode without writing, in a thread a core and in one: what the cores can give."""
    settle_for_threads()

    def encode(some):
        for image in some:
            cv2.imencode(".jpg", cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC))

    def in_threads():
        with ThreadPoolExecutor() as pool:
            list(pool.map(encode, np.array_split(images, 10 * os.cpu_count())))

    return alternate({"threads": in_threads, "one": lambda: encode(images)}, pairs)


def main(argv=None):
    options = arguments(__doc__, argv)
    per_class, size, pairs = (1, 64, 1) if options.tiny else (100, 224, 9)
    images = drawn(per_class)[0]
    amount = len(images)
    seconds = writing(per_class, size, pairs)
    rows = [compare("writing folders, against the plain loop", *seconds.values(), amount, at_least=1.8)]
    seconds = encoding(images, size, pairs)
    rows.append(compare(f"encoding alone, {os.cpu_count()} threads against one", *seconds.values(), amount))
    where = f"in {MEMORY}, which is memory" if MEMORY.is_dir() else "on the disk"
    text = (
        f"{amount:,} pictures of {size} px, quality 95, {where}; the files of both are the same to the byte. The "
        "second row has no files: it is what the cores give to the same work, and so the bound of the first."
    )
    return report(options, "write_folders", "Writing folders", rows, text)


if __name__ == "__main__":
    main()
