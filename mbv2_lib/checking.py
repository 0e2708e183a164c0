"""What can be wrong with a folder of pictures, found before a network learns from it."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mbv2_lib.files import UserError
from mbv2_lib.folders import (
    EXTENSIONS,
    SPLITS,
    class_names,
    folders_in,
    images_in,
    list_images,
    natural_key,
    read_manifest,
)
from mbv2_lib.pictures import bytes_of, decode, flaw_of
from mbv2_lib.threads import in_threads

# Two pictures count as near copies where at most NEAR_BITS of the 256 bits of their hashes differ, and their small
# versions differ by less than NEAR_LEVELS of 255 on average. Measured: of the 500 million pairs of a training and a
# test image of CIFAR-100, 21 are found, the same photograph every one; of 2,000 JPEG copies of 224 px pictures at
# quality 30, all are found, and at quality 10 all but 2.
NEAR_BITS = 48
NEAR_LEVELS = 6


class Finding(NamedTuple):
    """One thing that is wrong with a folder: what kind, one line for the user, and the pictures concerned."""

    kind: str
    message: str
    paths: tuple[str, ...] = ()


def expect_layout(folder):
    """The class names of `folder`. Raises UserError unless it is laid out and complete."""
    problems = layout_problems(folder)
    if problems:
        raise UserError(problems[0].message)
    return class_names(folder)


def layout_problems(folder):
    """List of findings on the folders, not the pictures."""
    folder = Path(folder)
    interrupted = list(unfinished(folder))
    if not all((folder / split).is_dir() for split in SPLITS):
        return [*interrupted, layout_finding(folder, contents(folder))]
    names = class_names(folder)
    if not names:
        return [*interrupted, layout_finding(folder, "no class folders in train/ and validation/")]
    return [*interrupted, *unequal_classes(folder, names), *empty_classes(folder, names)]


def layout_finding(folder, found):
    layout = "train/<class>/<image>.jpg and validation/<class>/<image>.jpg"
    return Finding("layout", f"{folder}: expected {layout}, found {found}; name another folder, or run mbv2 prepare")


def contents(folder):
    """What stands at `folder`, in a few words."""
    if not folder.is_dir():
        return "a file" if folder.exists() else "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "an empty folder"
    return "a folder with " + shortened(names)


def shortened(names, most=5):
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def unfinished(folder):
    manifest = read_manifest(folder)
    if manifest and not manifest["complete"]:
        yield Finding(
            "incomplete",
            f"{folder}: expected every picture of its manifest.json, found that writing them was interrupted; "
            "run the same mbv2 prepare again, which goes on where it stopped",
        )


def unequal_classes(folder, names):
    """Findings where the class folders of the splits and of the manifest are not the same."""
    for split in SPLITS:
        present = folders_in(folder / split)
        missing = [name for name in names if name not in present]
        unknown = sorted(set(present) - set(names), key=natural_key)
        if missing:
            mend = "add the folder with its pictures, or remove the class from the other split"
            found = f"expected the same {len(names)} classes in train/ and validation/, found that"
            yield Finding("missing class", f"{folder}: {found} {split}/ lacks {shortened(missing)}; {mend}")
        if unknown:
            mend = "move these folders away, or delete manifest.json if it describes other pictures"
            found = f"expected the {len(names)} classes of manifest.json, found in {split}/ also"
            yield Finding("unknown class", f"{folder}: {found} {shortened(unknown)}; {mend}")


def empty_classes(folder, names):
    """Findings where a class folder is there and holds no image."""
    for split in SPLITS:
        for name in names:
            path = folder / split / name
            if path.is_dir() and not images_in(path):
                kinds = ", ".join(EXTENSIONS)
                yield Finding("empty class", f"{path}: expected images ({kinds}), found none; add some, or remove it")


def check(folder, progress=True):
    """List of findings on a folder laid out as train/<class>/<image>.jpg and validation/<class>/<image>.jpg.

    Kinds: "incomplete", "missing class", "unknown class", "empty class", "number of images", "unreadable", "in both
    splits" (equal pixels, whatever the name or the lossless format) and "near copy" (the same picture encoded anew).
    Reads every picture; keeps 1 kB of each in memory. Raises UserError where the folder has no such layout.
    """
    findings = layout_problems(folder)
    if any(finding.kind == "layout" for finding in findings):
        raise UserError(findings[0].message)
    counts = (read_manifest(folder) or {}).get("counts", {})
    whole = {}
    for split in SPLITS:
        paths, _ = list_images(folder, split)
        if (count := counts.get(split, len(paths))) != len(paths):
            found = f"{folder}: expected {count} images in {split}/ (manifest.json), found {len(paths)}"
            mend = "run the same mbv2 prepare again, which writes those that are missing"
            mend = mend if len(paths) < count else "remove those that were added"
            findings.append(Finding("number of images", f"{found}; {mend}"))
        looks = of_each(look_at, paths, f"reading {split}", progress)
        findings += [look for look in looks if isinstance(look, Finding)]
        whole[split] = [look for look in looks if isinstance(look, Look)]
    return findings + copies(whole["train"], whole["validation"])


def find_unreadable(paths, progress=True):
    """The paths of images that are truncated, damaged or no images, in order. Reads every file to its end."""
    whole = of_each(readable, paths, "checking", progress)
    return [path for path, is_whole in zip(paths, whole, strict=True) if not is_whole]


def readable(path):
    """Whether `pictures.decode` gets a whole picture out of the file."""
    with suppress(UserError):
        data = bytes_of(path)
        # First the decoder goes through the whole file, but computes one pixel for every 8 x 8, which is faster.
        # A picture with a side of less than 8 has no such pixel, and is decoded in full.
        with suppress(cv2.error):
            small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
            if small is not None and not flaw_of(data):
                return True
        decode(data, path)
        return True
    return False


def of_each(function, paths, title, progress):
    """List of function(path), in order; the paths go to threads two hundred at a time."""

    def of_some(some):
        return [function(path) for path in some]

    batches = [paths[start : start + 200] for start in range(0, len(paths), 200)]
    return [answer for answers in in_threads(of_some, batches, title, progress=progress) for answer in answers]


class Look(NamedTuple):
    """What is remembered of a picture: enough to know it again, in about 1 kB."""

    path: str
    pixels: bytes  # SHA-256 of the decoded pixels
    signs: np.ndarray  # perceptual hash: int8 (256,), each -1 or 1
    small: np.ndarray  # uint8 (16, 16, 3)


def look_at(path):
    """A Look at the image at `path`, or a Finding where it cannot be read."""
    try:
        picture = decode(bytes_of(path), path)
    except UserError as error:
        return Finding("unreadable", str(error), (path,))
    pixels = hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).digest()
    small = cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA)
    return Look(path, pixels, perceptual_hash(picture), small)


def perceptual_hash(picture):
    """The signs of the 16 x 16 lowest frequencies of a uint8 RGB (height, width, 3) picture: int8 (256,), each -1 or 1.

    The picture is made grey and 32 x 32, and goes through the discrete cosine transform. Encoding anew changes the
    fine detail; whether a slow wave across the picture adds or takes away light stays.
    """
    grey = cv2.cvtColor(cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    waves = cv2.dct(grey.astype(np.float32))[:16, :16]
    waves[0, 0] = 0  # the mean brightness: positive in every picture
    return np.where(waves > 0, 1, -1).astype(np.int8).ravel()


def copies(train, validation):
    """A finding for each validation picture that also stands in train; both are lists of Look."""
    by_pixels = {}
    for look in train:
        by_pixels.setdefault(look.pixels, []).append(look.path)
    same = [(look, by_pixels[look.pixels]) for look in validation if look.pixels in by_pixels]
    near = near_copies(train, [look for look in validation if look.pixels not in by_pixels])
    return [
        *(both_splits("in both splits", "the same pixels", *pair) for pair in same),
        *(both_splits("near copy", "nearly the same picture", *pair) for pair in near),
    ]


def both_splits(kind, what, look, twins):
    message = f"{look.path}: expected in validation/ only, found {what} in {shortened(twins, 2)}; remove one of them"
    return Finding(kind, message, (look.path, *twins))


def near_copies(train, validation, block=500):
    """Pairs of a validation Look and the paths of its near copies in train."""
    if not train or not validation:
        return []
    signs = np.stack([look.signs for look in validation]).astype(np.float32)
    twins = {}
    for start in range(0, len(train), block):  # in blocks, since all the pairs at once would fill the memory
        some = train[start : start + block]
        # Signs that agree add 1 to the product and signs that differ take 1 away: 256 - 2 * differing.
        differing = (256 - np.stack([look.signs for look in some]).astype(np.float32) @ signs.T) / 2
        for row, column in np.argwhere(differing <= NEAR_BITS):
            if cv2.absdiff(some[row].small, validation[column].small).mean() < NEAR_LEVELS:
                twins.setdefault(int(column), []).append(some[row].path)
    return [(validation[column], twins[column]) for column in sorted(twins)]
