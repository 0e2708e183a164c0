"""CIFAR-100: fetched, verified and read. 50,000 training and 10,000 test images of 100 classes in 20 superclasses.

Source: Alex Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. Whatever a download or a folder
claims to be, its content is compared with the true data's; nothing is unpacked onto the disk, no pickle is loaded.
"""

import gzip
import hashlib
import tarfile
import time
import zlib
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

import cv2
import numpy as np
import pooch
import requests
from urllib3.exceptions import HTTPError as BrokenStream

from mbv2_lib.files import UserError, whole_file
from mbv2_lib.threads import progress_bar

SUPERCLASSES = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
CLASSES = tuple(sorted(name for names in SUPERCLASSES.values() for name in names))
_COARSE = {name: coarse for coarse, names in enumerate(SUPERCLASSES.values()) for name in names}
SUPERCLASS_OF = np.array([_COARSE[name] for name in CLASSES], np.uint8)

RECORD = 2 + 3 * 32 * 32  # bytes: coarse label, fine label, pixels in the order channel, row, column
DIGESTS = {
    "train": "7077d87fc363f92dbf1245f13ba80561d7b33a96c79ad57168d49dc172aaa92b",
    "test": "96adb3db8da7632dbb350559a17b9f585fab5b17675de5fc8f6761384196b294",
}
SOURCES = (  # (URL, SHA-256 of the archive where it is known), in the order of trying
    ("https://s3.amazonaws.com/fast-ai-imageclas/cifar100.tgz", None),
    (
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
)
MOST_BYTES, MOST_MEMBERS = 400_000_000, 100_000  # an honest archive has half as much, unpacked
ENOUGH, TRIES, PAUSE = 1 << 20, 3, 1.0  # bytes, tries, seconds; see `_download`
LAYOUTS = "train.bin and test.bin, or pictures as train/<superclass>/<class>/<image>.png and test/..."
MEND = "give a folder or an archive of CIFAR-100 that you have, or take the word shapes100, which needs neither"


def load(source=None, cache=None, silence=30):
    """CIFAR-100: (x_train, y_train), (x_test, y_test), its content verified.

    Images are (n, 32, 32, 3) uint8 RGB, labels (n,) uint8; label i is `CLASSES[i]`. They come in the order of the
    records; of a tree of PNGs, by class and file name.

    source: a folder, a .tar.gz or a URL of one, in the binary layout or as a tree of PNGs; None tries `SOURCES`.
    cache: the folder of downloads; None means the user's cache folder. What it holds verified is not fetched again.
    silence: seconds without a byte after which a download counts as stalled.
    Raises UserError where no source gives the true data; it says what each one gave.
    """
    if source is not None and "://" not in str(source):
        try:
            return _arrays(_records(Path(source)))
        except (OSError, ValueError) as error:
            raise UserError(f"{source}: {error}; {MEND}") from error
    cache = Path(cache or pooch.os_cache("mbv2_lib"))
    saved = cache / "cifar100"
    if saved.is_dir():
        try:
            return _arrays(_records(saved))
        except (OSError, ValueError) as error:
            print(f"CIFAR-100: {saved} is fetched again: {error}")
    records, archive = _fetch(SOURCES if source is None else [(str(source), None)], cache, silence)
    for split, rows in records.items():
        with whole_file(saved / f"{split}.bin") as aside:
            rows.tofile(aside)
    archive.unlink(missing_ok=True)  # another process may have been as far
    return _arrays(records)


def digest(images, labels):
    """SHA-256, in hex, over the sorted SHA-256 digests of all records: the same for any order of the images.

    images: (n, 32, 32, 3) uint8 RGB; labels: (n,) of 0..99.
    """
    labels = np.asarray(labels, np.uint8)[:, None]
    pixels = np.asarray(images).transpose(0, 3, 1, 2).reshape(len(labels), -1)
    return _digest(np.concatenate([SUPERCLASS_OF[labels], labels, pixels], axis=1))


def _digest(rows):
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(row).digest() for row in rows))).hexdigest()


def _arrays(records):
    """Records of both splits as (x_train, y_train), (x_test, y_test)."""
    pixels = {split: rows[:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for split, rows in records.items()}
    return tuple((np.ascontiguousarray(pixels[split]), records[split][:, 1].copy()) for split in DIGESTS)


# Reading: a folder and an archive both become pairs (name, bytes), and these become records. What is not CIFAR-100
# to the last bit raises ValueError.


def _records(source):
    """The records in a folder or an archive: {"train": (n, 3074) uint8, "test": ...}, pictures in order of class."""
    if not source.exists():
        raise ValueError(f"expected a folder or a .tar.gz with {LAYOUTS}, found nothing there")
    parts = {split: [] for split in DIGESTS}
    for name, data in _folder(source) if source.is_dir() else _archive(source):
        try:
            rows = _rows(data) if name.endswith(".bin") else _row(PurePosixPath(name).parts[-2], data)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        parts[_split(name)].append((rows[0, 1], name, rows))
    return {split: _verified(split, sorted(files, key=lambda file: file[:2])) for split, files in parts.items()}


def _verified(split, files):
    """The records of one split, (n, 3074) uint8, out of its files (label, name, records)."""
    if not files:
        raise ValueError(f"expected {LAYOUTS}, found no {split} images")
    records = np.concatenate([rows for _, _, rows in files])
    expected, found = DIGESTS[split], _digest(records)
    if found != expected:
        raise ValueError(
            f"not CIFAR-100: expected {split} images with digest {expected[:12]}..., found {len(records)} images "
            f"with digest {found[:12]}..."
        )
    return records


def _split(name):
    """Which split a file belongs to, by its name; None where it is no part of the data."""
    *_, split, _, _, file = ("", "", "", *PurePosixPath(name).parts)
    if file in ("train.bin", "test.bin"):
        return file.removesuffix(".bin")
    return split if split in DIGESTS and file.endswith(".png") and not file.startswith(".") else None


def _rows(data):
    """The records of a binary file: (n, 3074) uint8."""
    if len(data) % RECORD or not data:
        raise ValueError(f"expected whole records of {RECORD} bytes, found {len(data)} bytes: the file is cut")
    rows = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    coarse, fine = rows[:, 0], rows[:, 1]
    if fine.max() >= len(CLASSES) or (coarse != SUPERCLASS_OF[fine]).any():
        raise ValueError("expected labels 0..99, each with its superclass, found others")
    return rows


def _row(label, data):
    """The record of one PNG: (1, 3074) uint8."""
    if label not in CLASSES:
        raise ValueError(f"expected a folder with the name of a class, found {label}")
    # The header is read first: a small file may claim a picture that fills the memory.
    size_is_right = data[:8] == b"\x89PNG\r\n\x1a\n" and data[16:24] == bytes([0, 0, 0, 32]) * 2
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if size_is_right else None
    if pixels is None:
        raise ValueError("expected a PNG of 32 x 32 pixels, found another or a broken one")
    fine = CLASSES.index(label)
    return np.concatenate([[SUPERCLASS_OF[fine], fine], pixels.transpose(2, 0, 1).ravel()]).astype(np.uint8)[None]


def _folder(folder):
    """(name, bytes) of the files of the first layout that a folder has."""
    for pattern in ("*.bin", "cifar-100-binary/*.bin", "t*/*/*/*.png", "*/t*/*/*/*.png"):
        paths = {path.relative_to(folder).as_posix(): path for path in folder.glob(pattern)}
        if any(map(_split, paths)):
            return ((name, path.read_bytes()) for name, path in paths.items() if _split(name))
    return ()


class _Limited:
    """A file to read from, up to a limit: a small archive may unpack to terabytes."""

    def __init__(self, file):
        self.file, self.left = file, MOST_BYTES

    def read(self, size):
        data = self.file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise tarfile.ReadError(f"more than {MOST_BYTES:,} bytes once unpacked")
        return data


def _archive(path):
    """(name, bytes) of the files of a .tar.gz, in its order, read without unpacking it onto the disk."""
    try:
        with gzip.open(path) as unpacked, tarfile.open(fileobj=_Limited(unpacked), mode="r|") as archive:
            for count, member in enumerate(archive):
                name = PureWindowsPath(member.name)  # it knows both separators, and drives
                if name.anchor or ".." in name.parts:
                    raise tarfile.ReadError(f"a member outside the archive's folder, {member.name}")
                if not (member.isfile() or member.isdir()) or member.issparse():
                    raise tarfile.ReadError(f"a link or another member that is no plain file, {member.name}")
                if count == MOST_MEMBERS:
                    raise tarfile.ReadError(f"more than {MOST_MEMBERS:,} members")
                if member.isfile() and _split(member.name):
                    yield member.name, archive.extractfile(member).read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ValueError(f"expected a whole .tar.gz with {LAYOUTS}, found {error}") from error


# Downloading: pooch checks hashes and names a file when it is whole; what goes on after a cut is here.


def _fetch(sources, cache, silence):
    """The verified records of the first source that gives them, and the archive that holds them."""
    pooch.get_logger().setLevel("WARNING")  # it would name every hash that it cannot check
    failures = []
    for url, sha256 in sources:
        print(f"CIFAR-100: from {url}")
        try:
            archive = cache / pooch.utils.unique_file_name(url)
        except ValueError as error:  # no address at all
            failures.append(f"{url}: {error}")
            continue
        part = archive.with_name(archive.name + ".part")
        try:
            pooch.retrieve(url, sha256, archive.name, cache, downloader=partial(_download, part=part, silence=silence))
            return _records(archive), archive
        except (requests.RequestException, BrokenStream) as error:  # the part stays, for the next time
            failures.append(f"{url}: {error}")
        except ValueError as error:  # wrong content; pooch raises it too, for a wrong hash
            failures.append(f"{url}: {error}")
            archive.unlink(missing_ok=True)
            part.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{cache}: cannot hold the download ({error}); choose another cache folder") from error
        print(f"CIFAR-100: not from {failures[-1]}")
    raise UserError(f"CIFAR-100 could not be fetched ({'; '.join(failures)}); {MEND}")


def _download(url, output, _pooch, part, silence):
    """A downloader for pooch that goes on where the last one stopped.

    A cut or a silence is followed by another try, up to TRIES in a row that bring less than ENOUGH bytes each.
    """
    poor = 0
    while poor < TRIES:
        before = _size(part)
        try:
            _continue(url, part, silence)
            return part.replace(output)
        except (requests.HTTPError, ValueError):  # an answer such as 404, or no URL: asking again changes nothing
            raise
        except (requests.RequestException, BrokenStream) as error:
            print(f"CIFAR-100: interrupted at {_size(part):,} bytes ({type(error).__name__})")
            poor = 0 if _size(part) - before >= ENOUGH else poor + 1
            time.sleep(PAUSE)
    raise requests.ConnectionError(f"no answer, cut or silent {TRIES} times in a row, at {_size(part):,} bytes")


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _continue(url, part, silence):
    """Append to `part` what it lacks of the file at `url`."""
    have = _size(part)
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=silence) as reply:
        told = reply.headers.get("Content-Range", "")
        if reply.status_code == 416 and told == f"bytes */{have}":  # nothing follows: the part is whole
            return
        if reply.status_code == 416:
            part.unlink(missing_ok=True)
            raise requests.ConnectionError("the server's file is another one than before; starting again")
        reply.raise_for_status()
        start = have if told.startswith(f"bytes {have}-") else 0  # some servers send all of it again
        total = start + int(reply.headers.get("Content-Length", 0))
        bar = progress_bar(total or None, "downloading", unit="B", unit_scale=True, initial=start)
        with part.open("ab" if start else "wb") as file, bar:
            for chunk in reply.raw.stream(1 << 14, decode_content=False):
                bar.update(file.write(chunk))
                if max(bar.n, total) > MOST_BYTES:
                    raise ValueError(f"expected at most {MOST_BYTES:,} bytes, found more")
