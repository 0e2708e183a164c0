"""A picture file as a network is fed with it: decoded whole, turned upright, opaque, and fitted to its square."""

from pathlib import Path

import cv2
import numpy as np

from mbv2_lib.files import UserError


def read(path, size):
    """The JPEG, PNG or BMP file at `path`, (size, size, 3) uint8 RGB. Raises UserError, one line; see `decode`."""
    return fit(decode(bytes_of(path), path), size)


def bytes_of(path):
    """What the picture file at `path` holds. Raises UserError, one line, where it cannot be opened."""
    try:
        if Path(path).is_fifo():  # to read it would be to wait for a writer
            raise complaint(path, "it is no file")
        return Path(path).read_bytes()
    except OSError as error:
        raise complaint(path, f"it cannot be opened ({error.strerror})") from error


def decode(data, name):
    """A picture file's bytes as uint8 RGB (height, width, 3); `name` is what a complaint calls it.

    Turned as its EXIF data say, but for a PNG with four channels, whose alpha is laid on white; of a grey PNG with a
    transparent grey, OpenCV drops the transparency. Grey becomes three equal channels, 16 bits become 8. Raises
    UserError, one line, for what is no whole picture.
    """
    if flaw := flaw_of(data):
        raise complaint(name, flaw)
    try:
        encoded = np.frombuffer(data, np.uint8)
        picture = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if may_be_transparent(data) else None
        if picture is not None and picture.shape[2:] == (4,):
            picture = on_white(picture)
        else:
            picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    except (cv2.error, MemoryError):
        picture = None
    if picture is None:
        raise complaint(name, "it cannot be decoded (damaged, or too large)")
    return picture


def flaw_of(data):
    """What its first and last marks say against an image file's bytes; None where nothing.

    Asked before the decoder, because decoders differ: some hand out half a picture and grey below it. The end is
    sought anywhere behind the start of the pixels, since cameras append data of their own; the compressed pixels
    themselves cannot hold a JPEG's end mark. (A thumbnail in front of them does: then the decoder has to tell.)
    """
    if not data:
        return "it is empty"
    if data.startswith(b"\xff\xd8\xff"):
        whole = b"\xff\xd9" in data[max(data.find(b"\xff\xda"), 0) :]
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        whole = b"IEND\xae\x42\x60\x82" in data
    elif data.startswith(b"BM"):
        whole = int.from_bytes(data[2:6], "little") <= len(data)
    else:
        return "it is not a JPEG, PNG or BMP image"
    return None if whole else "it is truncated"


def complaint(name, flaw):
    return UserError(f"{name}: expected a whole image, found that {flaw}; replace or remove it")


def may_be_transparent(data):
    """Whether these bytes are a PNG with an alpha channel (colour types 4 and 6) or with a transparent colour."""
    return data.startswith(b"\x89PNG") and (data[25:26] in (b"\x04", b"\x06") or b"tRNS" in data[: data.find(b"IDAT")])


def on_white(picture):
    """A picture as OpenCV decodes it unchanged, BGRA of 8 or 16 bits, laid on white: uint8 RGB."""
    values = picture.astype(np.float32) / np.iinfo(picture.dtype).max
    alpha = values[..., 3:]
    return np.round(255 * (values[..., 2::-1] * alpha + 1 - alpha)).astype(np.uint8)


def fit(picture, size):
    """A uint8 RGB picture (h, w, 3), squeezed to (size, size, 3): shrunk by means of areas, enlarged bilinearly."""
    height, width = picture.shape[:2]
    smaller = min(width, size), min(height, size)
    if smaller != (width, height):
        picture = cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (size, size):
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)
    return picture
