"""Training pictures varied: flipped, warped, recoloured, erased and mixed.

The work is cut in two. `draw` throws the dice, in NumPy and from a seed, so that a run that was killed goes on with
the dice that it would have thrown. `vary` does the work on the pixels, on the device, inside the training step; it
holds no chance of its own. One die may be taken out and done on the host before: `warped` warps a picture there, in
the thread that has just decoded it.
"""

from typing import NamedTuple

import cv2
import numpy as np

from mbv2_lib.backend import keras

ops = keras.ops
GREY = 127.5  # what the network sees as 0
LUMA = 0.299, 0.587, 0.114  # how bright red, green and blue look (ITU-R BT.601), as in OpenCV's and Pillow's grey


class Augmentation(NamedTuple):
    """How much a training picture may vary; the zeros leave it as it is.

    flip: mirror left and right half of the time. rotation: at most so many degrees either way. shear: at most so many
    degrees. zoom, shift: at most so large a share of the side. erase: probability that a box is greyed out. mixup,
    cutmix: parameter of the Beta distribution that the share of a second picture is drawn from, usually 0.2 to 1;
    where both are set, each batch takes one of them. colour: brightness, contrast and saturation each grow or shrink by
    at most so large a share.
    """

    flip: bool = False
    rotation: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    colour: float = 0.0


def draw(augmentation, generator, count, size):
    """The dice for a batch of `count` pictures of size x size pixels.

    generator: a numpy.random.Generator. Returns a dict of arrays, the input of `vary`:
        "warp" (count, 8) float32, see `warps`; "colour" (count, 3) float32, see `recoloured`; "erase" (count, 4)
        float32, boxes as top, left, bottom, right in shares of the side; "partner" (count,) int32, the picture that
        each is mixed with; "mix" (count, 4), the box where the two are mixed; "share" (count,) float32, how much of the
        first picture stays inside that box.
    Sources: mixup arXiv 1710.09412, CutMix arXiv 1905.04899, random erasing arXiv 1708.04896.
    """
    dice = {}
    if any(augmentation[:5]):  # flip, rotation, shear, zoom, shift
        dice["warp"] = warps(augmentation, generator, count, size)
    if augmentation.erase:
        erased = generator.random((count, 1)) < augmentation.erase
        area = generator.uniform(0.02, 0.33, count)  # squares, in grey; the paper's boxes are of any shape, in noise
        dice["erase"] = (boxes(generator, area) * erased).astype("float32")
    if augmentation.mixup or augmentation.cutmix:
        dice["partner"] = generator.permutation(count).astype("int32")
        cut = augmentation.cutmix and (not augmentation.mixup or generator.random() < 0.5)
        concentration = augmentation.cutmix if cut else augmentation.mixup
        stays = generator.beta(concentration, concentration, count)
        everywhere = np.tile([0.0, 0.0, 1.0, 1.0], (count, 1))
        dice["mix"] = (boxes(generator, 1 - stays) if cut else everywhere).astype("float32")
        dice["share"] = (np.zeros(count) if cut else stays).astype("float32")
    if augmentation.colour:  # after all others: so were the dice of data/reference_runs/cifar100-128px thrown
        dice["colour"] = (1 + augmentation.colour * generator.uniform(-1, 1, (count, 3))).astype("float32")
    return dice


def warps(augmentation, generator, count, size):
    """One affine warp a picture that flips, turns, shears, zooms and shifts it about its centre at once.

    Returns (count, 8) float32 in the form of `keras.ops.image.affine_transform`: the pixel (x, y) of the result is
    read at (a0 x + a1 y + a2, b0 x + b1 y + b2). A picture that is not turned, sheared or zoomed is shifted by whole
    pixels, which does not blur it.
    """

    def spread(limit):
        return generator.uniform(-limit, limit, count) if limit else np.zeros(count)

    angle, shear = np.radians(spread(augmentation.rotation)), np.radians(spread(augmentation.shear))
    mirrored = np.where(generator.random(count) < 0.5, -1, 1) if augmentation.flip else np.ones(count)
    zoom_x, zoom_y = 1 + spread(augmentation.zoom), 1 + spread(augmentation.zoom)
    shift_x, shift_y = spread(augmentation.shift) * size, spread(augmentation.shift) * size
    if not (augmentation.rotation or augmentation.shear or augmentation.zoom):
        shift_x, shift_y = np.round(shift_x), np.round(shift_y)

    a0, a1 = zoom_x * mirrored * np.cos(angle), -zoom_y * np.sin(angle + shear)
    b0, b1 = zoom_x * mirrored * np.sin(angle), zoom_y * np.cos(angle + shear)
    centre = (size - 1) / 2
    a2 = centre - (a0 + a1) * centre + shift_x
    b2 = centre - (b0 + b1) * centre + shift_y
    nothing = np.zeros(count)
    return np.stack([a0, a1, a2, b0, b1, b2, nothing, nothing], axis=1).astype("float32")


def warped(picture, warp):
    """One uint8 picture (size, size, 3), warped on the host by the eight numbers of `warps`.

    The same picture as `vary` makes on the device, but for rounding: OpenCV reads at multiples of 1/32 of a pixel and
    gives whole grey levels. On a CPU it is many times faster: it works on bytes, and knows that a picture is warped
    by one rule, where the device looks up every pixel by itself. Beyond the edge stands the edge's pixel.
    """
    return cv2.warpAffine(
        picture,
        warp[:6].reshape(2, 3),
        picture.shape[1::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def boxes(generator, area):
    """Boxes that cover the shares `area` (n,) of a picture, or less where they stick out at its edges.

    Returns (n, 4) float64 in [0, 1]: top, left, bottom, right.
    """
    half = np.sqrt(area)[:, None] / 2
    centre = generator.random((len(area), 2))
    return np.clip(np.concatenate([centre - half, centre + half], axis=1), 0, 1)


def mixed_targets(targets, dice):
    """The targets (n, classes) of mixed pictures: each class by its share of the picture's area, erased or not."""
    if "partner" not in dice:
        return targets
    top, left, bottom, right = dice["mix"].T
    kept = 1 - (bottom - top) * (right - left) * (1 - dice["share"])
    return kept[:, None] * targets + (1 - kept[:, None]) * targets[dice["partner"]]


def vary(pictures, dice):
    """Pictures (n, size, size, 3) in 0..255, of any number type, varied as the dice say; float32, in 0..255 too."""
    pictures = ops.cast(pictures, "float32")
    if "warp" in dice:
        pictures = warped_on_device(pictures, dice["warp"])
    if "colour" in dice:
        pictures = recoloured(pictures, dice["colour"])
    if "partner" in dice:
        weight = inside(dice["mix"], pictures.shape[1]) * (1 - ops.reshape(dice["share"], (-1, 1, 1, 1)))
        partners = ops.take(pictures, dice["partner"], axis=0)
        pictures = pictures * (1 - weight) + partners * weight
    if "erase" in dice:
        erased = inside(dice["erase"], pictures.shape[1])
        pictures = pictures * (1 - erased) + GREY * erased
    return pictures


def warped_on_device(pictures, warps):
    """Pictures (n, h, w, c) float32, each warped by the eight numbers of `warps`; beyond the edge stands its pixel.

    `keras.ops.image.affine_transform`, but on JAX. There Keras reads eight values for each value of the result where
    four would do (it interpolates between channels, too), and finds their places by a product of matrices, which a GPU
    may round to ten bits.
    """
    if keras.config.backend() != "jax":
        return ops.image.affine_transform(pictures, warps, interpolation="bilinear", fill_mode="nearest")
    return bilinear(pictures, warps)


def bilinear(pictures, warps):
    """What `warped_on_device` gives, as the mean of the four pixels around each place, weighted by nearness."""
    count, height, width, channels = pictures.shape
    a0, a1, a2, b0, b1, b2 = (warps[:, number, None, None] for number in range(6))
    x, y = ops.arange(width, dtype="float32"), ops.arange(height, dtype="float32")[:, None]
    column = ops.clip(a0 * x + a1 * y + a2, 0, width - 1)
    row = ops.clip(b0 * x + b1 * y + b2, 0, height - 1)
    left, top = ops.floor(column), ops.floor(row)
    right, bottom = ops.minimum(left + 1, width - 1), ops.minimum(top + 1, height - 1)
    pixels = ops.reshape(pictures, (count, height * width, channels))

    def at(row, column):
        places = ops.reshape(ops.cast(row * width + column, "int32"), (count, height * width, 1))
        return ops.reshape(ops.take_along_axis(pixels, places, axis=1), pictures.shape)

    to_the_right, below = ops.expand_dims(column - left, 3), ops.expand_dims(row - top, 3)
    upper = at(top, left) * (1 - to_the_right) + at(top, right) * to_the_right
    lower = at(bottom, left) * (1 - to_the_right) + at(bottom, right) * to_the_right
    return upper * (1 - below) + lower * below


def recoloured(pictures, factors):
    """Pictures (n, h, w, 3) in 0..255, their brightness, contrast and saturation multiplied by `factors` (n, 3).

    Brightness is a grey level's distance from black, contrast its distance from mid-grey, saturation a colour's
    distance from the grey that is as bright. Saturation comes first and contrast last; only the end is clipped.
    """
    brightness, contrast, saturation = (ops.reshape(factors[:, number], (-1, 1, 1, 1)) for number in range(3))
    grey = ops.sum(pictures * ops.array(LUMA), axis=3, keepdims=True)
    pictures = grey + saturation * (pictures - grey)
    return ops.clip(GREY + contrast * (brightness * pictures - GREY), 0, 255)


def inside(boxes, size):
    """A mask (n, size, size, 1), 1.0 where the centre of a pixel lies inside the picture's box (n, 4)."""
    centres = (ops.arange(size, dtype="float32") + 0.5) / size
    top, left, bottom, right = (ops.expand_dims(boxes[:, edge], 1) for edge in range(4))
    rows = ops.logical_and(centres >= top, centres < bottom)
    columns = ops.logical_and(centres >= left, centres < right)
    mask = ops.logical_and(ops.expand_dims(rows, 2), ops.expand_dims(columns, 1))
    return ops.cast(ops.expand_dims(mask, 3), "float32")


def enlarge(pictures, size):
    """Pictures (n, h, w, 3) at size x size pixels, bilinear; the 32 px of CIFAR-100 travel small and grow here."""
    if tuple(pictures.shape[1:3]) == (size, size):
        return pictures
    return ops.image.resize(ops.cast(pictures, "float32"), (size, size), interpolation="bilinear")
