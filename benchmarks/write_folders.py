"""Writing picture folders: `folders.write_folders` against the plain loop, one picture after the other."""

import itertools
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from pairs import alternate, arguments, compare, report

from mbv2_lib import folders, shapes100

MEMORY = Path("/dev/shm")  # Linux keeps these files in memory: the programs are compared, not the disk


def plain_loop(out, images, labels, classes, size):
    """The loop that everyone writes, as the first project did, but with the channels in OpenCV's order."""
    for name in classes:
        (out / "train" / name).mkdir(parents=True)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = classes[label]
        picture = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (size, size), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(out / "train" / name / f"{name}_{index:05d}.jpg"), picture)


def contents(folder):
    """The bytes of every picture under `folder`, by its path from there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}


def writing(images, labels, size, pairs):
    """Seconds of ours and of the plain loop, by turns, into new folders."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as aside:
        numbers = itertools.count()

        def ours():
            out = Path(aside) / f"ours-{next(numbers)}"
            folders.write_folders(out, {"train": (images, labels)}, shapes100.CLASSES, size, progress=False)
            return out

        def plain():
            out = Path(aside) / f"plain-{next(numbers)}"
            plain_loop(out, images, labels, shapes100.CLASSES, size)
            return out

        mine, other = contents(ours()), contents(plain())
        assert mine == other and len(mine) == len(labels), "the two wrote different pictures"
        # Nothing is deleted between the turns: a file system may take longer over files where others just went.
        return alternate({"ours": ours, "plain": plain}, pairs)


def encoding(images, size, pairs):
    """Seconds to resize and encode without writing, in a thread a core and in one: what the cores can give."""

    def encode(some):
        for image in some:
            folders.encode(image, size)

    def in_threads():
        with ThreadPoolExecutor() as pool:
            list(pool.map(encode, np.array_split(images, 10 * os.cpu_count())))

    return alternate({"threads": in_threads, "one": lambda: encode(images)}, pairs)


def main(argv=None):
    options = arguments(__doc__, argv)
    per_class, size, pairs = (1, 64, 1) if options.tiny else (20, 224, 15)
    images, labels = shapes100.draw(per_class)
    labels = labels.astype(np.int64)
    amount = len(labels)
    seconds = writing(images, labels, size, pairs)
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
