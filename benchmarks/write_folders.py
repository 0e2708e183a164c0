"""Writing picture folders: `folders.write_folders` against the plain loop, one picture after the other."""

import itertools
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from pairs import alternate, arguments, compare, report

from mbv2_lib import folders, shapes100


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


def main(argv=None):
    options = arguments(__doc__, argv)
    per_class, size, pairs = (1, 64, 1) if options.tiny else (20, 224, 9)
    images, labels = shapes100.draw(per_class)
    labels = labels.astype(np.int64)
    with tempfile.TemporaryDirectory() as aside:
        numbers = itertools.count()

        def ours():
            out = Path(aside) / f"ours-{next(numbers)}"
            folders.write_folders(out, {"train": (images, labels)}, shapes100.CLASSES, size, progress=False)
            return out

        def theirs():
            out = Path(aside) / f"plain-{next(numbers)}"
            plain_loop(out, images, labels, shapes100.CLASSES, size)
            return out

        mine, plain = contents(ours()), contents(theirs())
        assert mine == plain and len(mine) == len(labels), "the two wrote different pictures"

        def empty():
            for folder in Path(aside).iterdir():
                shutil.rmtree(folder)

        seconds = alternate({"ours": ours, "plain": theirs}, pairs, before=empty)
    what = "writing folders, against the plain loop"
    rows = [compare(what, seconds["ours"], seconds["plain"], len(labels), at_least=1.8)]
    text = f"{len(labels):,} pictures of {size} px, quality 95; the {len(mine):,} files are the same to the byte."
    return report(options, "write_folders", "Writing folders", rows, text)


if __name__ == "__main__":
    main()
