"""Folders of pictures: {train,validation}/<class>/<image>.jpg, written with OpenCV and described by manifest.json."""

import hashlib
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mbv2_lib.files import UserError, read_json, write_json

SPLITS = ("train", "validation")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp")  # what OpenCV and TensorFlow both read
INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
WRITE_ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)  # the last on Windows only
END_OF_JPEG = b"\xff\xd9"


def write_folders(
    out,
    splits,
    classes,
    size=224,
    interpolation="cubic",
    quality=95,
    workers=None,
    source="arrays",
    digest=None,
    progress=True,
):
    """Write every image as out/<split>/<class>/<class>_<index>.jpg, and out/manifest.json; return the manifest.

    splits         {"train": (images, labels), "validation": (images, labels)};
                   images uint8 RGB (n, height, width, 3), labels integers (n,) in [0, len(classes))
    classes        the class names, in the order of the labels
    size           height and width of the pictures in pixels, 1 or more
    interpolation  a key of INTERPOLATIONS
    quality        JPEG quality, 1 to 100
    workers        threads (OpenCV works outside Python's lock); all cores by default. The bytes do not depend on it.
    source, digest where the images come from and what names their content; the digest is computed by default

    A picture appears whole or not at all, so the same call after a kill writes only what is missing; until the last
    picture stands, the manifest says "complete": false. Raises UserError for a setting out of range, for a folder
    that holds other pictures, and where the disk is full or read-only.
    """
    out = Path(out)
    expect_settings(size, interpolation, quality, workers)
    settings = {
        "format": 1,
        "source": str(source),
        "digest": digest or content_digest(splits),
        "size": size,
        "interpolation": interpolation,
        "quality": quality,
        "counts": {split: len(labels) for split, (_, labels) in splits.items()},
        "classes": list(classes),
    }
    expect_same_pictures(out, settings)
    write_json(out / "manifest.json", {**settings, "complete": False})

    def write(pictures):
        write_class(pictures, lambda image: encode(image, size, interpolation, quality))

    for _ in in_threads(write, planned(out, splits, classes), f"writing {out}", workers, progress):
        pass
    write_json(out / "manifest.json", {**settings, "complete": True})
    return {**settings, "complete": True}


def write_class(pictures, encoded):
    """Write encoded(image) to each (path, image) of one class folder, but for the pictures that stand there whole."""
    if not pictures:
        return
    folder = Path(pictures[0][0]).parent
    aside = str(folder / ".partial-picture")  # for one thread alone, which is done with a picture before the next
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = {str(path) for path in folder.iterdir()}
        for path, image in pictures:
            # A power cut may leave a name without its content, so a name alone does not count.
            if path not in present or not ends_whole(path):
                write_whole(path, encoded(image), aside)
    except OSError as error:
        raise UserError(
            f"{folder}: pictures could not be written ({error.strerror or error}); free some space, or choose a folder "
            "that you may write to, and run the same command again, which goes on where it stopped"
        ) from error


def write_whole(path, data, aside):
    """Write `data` to `aside`, then rename. Lighter than `files.whole_file`, which would halve the rate.

    Both are text, and the file is a bare number: objects of pathlib and of `open` ask the system more questions and
    take Python's lock for longer, and the other threads wait for it.
    """
    try:
        file = os.open(aside, WRITE_ANEW, 0o666)
        try:
            while len(data):  # the system may take a part, as where the disk is nearly full
                data = data[os.write(file, data) :]
        finally:
            os.close(file)
        os.replace(aside, path)  # noqa: PTH105
    except OSError:
        with suppress(OSError):  # what stopped the writing may stop this too; the first error is the one to tell
            Path(aside).unlink()
        raise


def encode(image, size, interpolation="cubic", quality=95):
    """The JPEG bytes, uint8 (n,), of one uint8 RGB image (height, width, 3), resized to (size, size, 3)."""
    # OpenCV takes its channels as blue, green, red. Without this line the pictures show blue oranges.
    blue_green_red = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    picture = cv2.resize(blue_green_red, (size, size), interpolation=INTERPOLATIONS[interpolation])
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg


def planned(out, splits, classes):
    """One list of (path, image) a class folder: threads that write to different folders do not wait for each other."""
    return [
        [(f"{beginning}_{index:05d}.jpg", images[index]) for index in np.flatnonzero(labels == label)]
        for split, (images, labels) in splits.items()
        for label, beginning in enumerate(out / split / name / name for name in classes)
    ]


def ends_whole(path):
    """Whether the JPEG file at `path` stands there to its last byte."""
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(END_OF_JPEG), 0))
        return file.read() == END_OF_JPEG


def content_digest(splits):
    """SHA-256 over the images and labels of every split, in order."""
    digest = hashlib.sha256()
    for split, (images, labels) in splits.items():
        digest.update(f"{split} {images.shape}".encode())
        digest.update(np.ascontiguousarray(images))
        digest.update(np.asarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()


def expect_settings(size, interpolation, quality, workers):
    """Raise UserError where a setting of `write_folders` is out of its range."""
    if interpolation not in INTERPOLATIONS:
        raise UserError(f"interpolation {interpolation!r}: expected one of {', '.join(INTERPOLATIONS)}")
    for name, value, least, most in (
        ("size", size, 1, 4096),
        ("quality", quality, 1, 100),
        ("workers", workers or 1, 1, 256),
    ):
        if not least <= value <= most:
            raise UserError(f"{name} {value}: expected a number from {least} to {most}")


def expect_same_pictures(out, settings):
    """Raise UserError where `out` holds pictures of other settings: a mixture would look like a data set."""
    manifest = read_manifest(out)
    if manifest is None:
        if any((out / split).exists() for split in SPLITS):
            raise UserError(f"{out}: expected a new folder, found pictures without a manifest; choose another --out")
        return
    asked = json.loads(json.dumps(settings))  # as it will read after a round trip: tuples are lists there
    differing = [key for key in asked if manifest.get(key) != asked[key]]
    if differing:
        found, wanted = (
            ", ".join(f"{key} {str(values.get(key))[:70]}" for key in differing) for values in (manifest, asked)
        )
        raise UserError(f"{out}: holds pictures with {found}; expected {wanted}; choose another --out, or delete it")


def class_names(folder):
    """The class names in the data set's order: the manifest's, else that of the folders with numbers as numbers."""
    manifest = read_manifest(folder)
    if manifest:
        return manifest["classes"]
    found = {name for split in SPLITS for name in folders_in(Path(folder) / split)}
    return sorted(found, key=natural_key)


def natural_key(name):
    """Sort key that puts 2 before 10. As text, 10 comes first: then a folder's index is not the class's."""
    parts = re.split(r"(\d+)", name)  # text and digits take turns, so that like meets like
    return [int(part) if part.isdecimal() else part for part in parts], name


def list_images(folder, split):
    """Paths (list of str) and labels (int64, (n,)) of one split, class by class in the order of `class_names`."""
    paths, labels = [], []
    for label, name in enumerate(class_names(folder)):
        found = images_in(Path(folder) / split / name)
        paths += found
        labels += [label] * len(found)
    return paths, np.array(labels, dtype=np.int64)


def images_in(folder):
    """Sorted paths (str) of the image files in `folder`; hidden ones, such as files being written, are none."""
    if not folder.is_dir():
        return []
    return sorted(
        str(path) for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    )


def folders_in(folder):
    """Names of the folders in `folder`, without hidden ones; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def read_manifest(folder):
    """The manifest (dict) that `write_folders` left in `folder`; None where there is none, or another program's.

    Raises UserError where it is damaged.
    """
    path = Path(folder) / "manifest.json"
    manifest = read_json(path) if path.exists() else None
    if not isinstance(manifest, dict) or not {"format", "classes", "complete"} <= manifest.keys():
        return None
    names, counts = manifest["classes"], manifest.get("counts", {})
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not isinstance(counts, dict):
        raise UserError(
            f"{path}: expected a list of class names and counts by split, found others: it is damaged; run the same "
            "mbv2 prepare into a new folder, or delete it if the pictures are your own"
        )
    return manifest


def in_threads(work, batches, title, workers=None, progress=True):
    """Yield work(batch) for each list in `batches`, in order, several at once, under a progress bar.

    Stops soon where one fails: batches that have not begun are dropped, and the error is raised.
    """
    pool = ThreadPoolExecutor(workers or os.cpu_count())
    try:
        with progress_bar(sum(map(len, batches)), title, progress) as bar:
            for batch, result in zip(batches, pool.map(work, batches), strict=True):
                bar.update(len(batch))
                yield result
    finally:
        pool.shutdown(cancel_futures=True)


def progress_bar(total, title, show=True):
    """A tqdm bar with the rate and the time left; plain lines, one in ten seconds, where there is no terminal."""
    if sys.stderr.isatty():
        return tqdm(total=total, desc=title, unit=" images", disable=not show)
    plain = "{desc}: {n_fmt} of {total_fmt} images, {rate_fmt}, {remaining} left"
    return tqdm(total=total, desc=title, bar_format=plain, mininterval=10, file=PlainLines(), disable=not show)


class PlainLines:
    """Takes the terminal's place for tqdm: each state of the bar becomes a line of its own."""

    def write(self, text):
        if text.strip():
            print(text.strip(), file=sys.stderr)

    def flush(self):
        sys.stderr.flush()
