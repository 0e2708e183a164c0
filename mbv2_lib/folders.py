"""Folders of pictures: {train,validation}/<class>/<image>.jpg, written with OpenCV and described by manifest.json."""

import hashlib
import os
import re
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mbv2_lib.files import UserError, alone_in, read_json, unwritable, write_json
from mbv2_lib.threads import in_threads

SPLITS = ("train", "validation")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp")  # what OpenCV and TensorFlow both read
INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
END_OF_JPEG = b"\xff\xd9"


def write_folders(
    out, splits, classes, size=224, interpolation="cubic", quality=95, workers=None, source="arrays", progress=True
):
    """Write every image as out/<split>/<class>/<class>_<index>.jpg, and out/manifest.json; return the manifest.

    splits         {"train": (images, labels), "validation": (images, labels)};
                   images uint8 RGB (n, height, width, 3), labels integers (n,) in [0, len(classes))
    classes        the class names, in the order of the labels
    size           height and width of the pictures in pixels, 1 or more
    interpolation  a key of INTERPOLATIONS
    quality        JPEG quality, 1 to 100
    workers        threads (OpenCV works outside Python's lock); all cores by default. The bytes do not depend on it.
    source         where the images come from, for the manifest

    A class folder appears whole or not at all, and the same call after a kill writes only what is missing; until the
    last picture stands, the manifest says "complete": false. Raises UserError for a rule that is none, for images
    or labels that are not as above, for a folder that holds other pictures, and where the disk is full or read-only.
    """
    out = Path(out)
    if out.is_file():
        raise UserError(f"{out}: expected a folder to write, found a file; choose another one")
    if interpolation not in INTERPOLATIONS:
        raise UserError(f"interpolation {interpolation!r}: expected one of {', '.join(INTERPOLATIONS)}; choose one")
    for split, (images, labels) in splits.items():
        low, high = np.min(labels, initial=0), np.max(labels, initial=0)
        if len(images) != len(labels) or images.dtype != np.uint8 or low < 0 or high >= len(classes):
            raise UserError(
                f"{split}: expected uint8 images, each with a label from 0 to {len(classes) - 1}, found {len(images)} "
                f"of {images.dtype} and {len(labels)} labels within {low} and {high}; mend them"
            )
    settings = {
        "format": 1,
        "source": str(source),
        "digest": content_digest(splits),
        "size": size,
        "interpolation": interpolation,
        "quality": quality,
        "counts": {split: len(labels) for split, (_, labels) in splits.items()},
        "classes": list(classes),
    }
    write = partial(write_picture, size=size, interpolation=interpolation, quality=quality)
    with alone_in(out):
        expect_same_pictures(out, settings)
        write_json(out / "manifest.json", {**settings, "complete": False})
        plan = planned(out, splits, classes)
        for _ in in_threads(partial(write_class, write=write), plan, f"writing {out}", workers, progress):
            pass
        write_json(out / "manifest.json", {**settings, "complete": True})
    return {**settings, "complete": True}


def write_class(pictures, write):
    """Call write(path, image) for each (path, image) of a class folder, but for the pictures that stand there whole.

    They are written into a folder aside, which takes the name of the class when the last of them stands in it.
    """
    if not pictures:
        return
    folder = Path(pictures[0][0]).parent
    aside = folder.with_name(f".partial-{folder.name}")
    try:
        if not missing(pictures):
            return
        if folder.exists():  # a power cut has taken some of its pictures
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
        aside.mkdir(parents=True, exist_ok=True)
        for path, image in missing([(path.replace(str(folder), str(aside), 1), image) for path, image in pictures]):
            write(path, image)
        aside.rename(folder)
    except OSError as error:
        raise unwritable(folder, error) from error


def missing(pictures):
    """Those of the (path, image), all of one folder, whose picture does not stand there whole."""
    folder = Path(pictures[0][0]).parent
    present = {str(path) for path in folder.iterdir()} if folder.exists() else set()
    # A kill may leave half a picture, and a power cut an empty one: a name alone does not count.
    return [(path, image) for path, image in pictures if path not in present or not ends_whole(path)]


def write_picture(path, image, size, interpolation="cubic", quality=95):
    """Write one uint8 RGB image (height, width, 3) as a JPEG of (size, size, 3). Raises OSError, and leaves no file."""
    # OpenCV takes its channels as blue, green, red. Without this line the pictures show blue oranges.
    blue_green_red = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    picture = cv2.resize(blue_green_red, (size, size), interpolation=INTERPOLATIONS[interpolation])
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if not cv2.imwrite(os.fsencode(path), picture, settings):  # as bytes: a folder's name need not be UTF-8
        # OpenCV took away what it had begun, but does not say why. Python does, or it can write there after all.
        try:
            Path(path).write_bytes(cv2.imencode(".jpg", picture, settings)[1])
        except OSError:
            Path(path).unlink(missing_ok=True)
            raise


def planned(out, splits, classes):
    """One list of (path, image) a class folder: threads that write to different folders do not wait for each other."""
    return [
        [(f"{beginning}_{index:05d}.jpg", images[index]) for index in np.flatnonzero(np.asarray(labels) == label)]
        for split, (images, labels) in splits.items()
        for label, beginning in enumerate(out / split / name / name for name in classes)
    ]


def ends_whole(path):
    """Whether the JPEG file at `path` stands there to its last byte."""
    return Path(path).read_bytes().endswith(END_OF_JPEG)


def content_digest(splits):
    """SHA-256 over the images and labels of every split, in order."""
    digest = hashlib.sha256()
    for split, (images, labels) in splits.items():
        digest.update(f"{split} {images.shape}".encode())
        digest.update(np.ascontiguousarray(images))
        digest.update(np.asarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()


def expect_same_pictures(out, settings):
    """Raise UserError where `out` holds pictures of other settings: a mixture would look like a data set."""
    manifest = read_manifest(out)
    if manifest is None:
        found = [name for name in (*SPLITS, "manifest.json") if (out / name).exists()]
        if found:
            raise UserError(f"{out}: expected a new folder, found another's {found[0]} in it; choose another --out")
        return
    differing = [key for key in settings if manifest.get(key) != settings[key]]
    if differing:
        found, wanted = (
            ", ".join(f"{key} {str(values.get(key))[:70]}" for key in differing) for values in (manifest, settings)
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
    good_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    good_counts = isinstance(counts, dict) and all(isinstance(count, int) for count in counts.values())
    if not (good_names and good_counts):
        raise UserError(
            f"{path}: expected a list of class names and counts by split, found others: it is damaged; run the same "
            "mbv2 prepare into a new folder, or delete it if the pictures are your own"
        )
    return manifest
