"""Shapes-100: a drawn data set in CIFAR-100's form (100 classes, 20 superclasses, 32 px), for work offline.

A class is a figure to be told apart by its form, count, texture, colour or arrangement; an image shows it moved,
turned, resized, mirrored and recoloured, on a ground with a gradient, clutter and noise. Mirroring never changes the
class. The same seed gives the same bytes on every machine: all arithmetic is on integers, and OpenCV fills polygons.
"""

import math
from functools import partial

import cv2
import numpy as np

SIZE, FINE = 32, 4  # pixels a side; canvas pixels along each of them, averaged for smooth edges
TURN = 256  # steps of a full turn
COSINE = [round(4096 * math.cos(2 * math.pi * step / TURN)) for step in range(TURN)]

# Forms: polygons, (corners, 2) integers. A figure fills about -60..60 both ways, y pointing down.


def star(points, outer, inner, x=0, y=0):
    """A star around (x, y), its first point up."""
    steps = [TURN * k // (2 * points) for k in range(2 * points)]
    circle = [(COSINE[step - 64], -COSINE[step]) for step in steps]
    return np.array(circle) * np.resize([outer, inner], (2 * points, 1)) // 4096 + (x, y)


def regular(corners, radius, x=0, y=0):
    """A regular polygon around (x, y), its first corner up."""
    return star(corners, radius, radius, x, y)[::2]


def disc(radius, x=0, y=0):
    """A disc around (x, y), as a polygon of 32 corners."""
    return regular(32, radius, x, y)


def box(width, height, x=0, y=0):
    """A rectangle around (x, y)."""
    return np.array([(-width, -height), (width, -height), (width, height), (-width, height)]) // 2 + (x, y)


def mirrored(*corners):
    """The polygon whose right half is given, from top to bottom."""
    return np.array([*corners, *((-x, y) for x, y in reversed(corners))])


def turned(form, steps=64):
    """A form turned about the middle; a quarter unless told otherwise."""
    cosine, sine = COSINE[steps % TURN], COSINE[(steps - 64) % TURN]
    return form @ np.array([(cosine, sine), (-sine, cosine)]) // 4096


# Figures: layers (ink, form, form, ...), painted in order. Ink 0 is the ground, 1 the figure, 2 its details, which
# show on the figure alone. A figure that is random in itself is a function of the generator.
INK_DIGITS = np.array([0, 5, 10, 15])  # where each ink is counted in one number: five binary digits hold up to 31
HUES = {"red": 0, "yellow": 230, "green": 500, "blue": 960, "purple": 1230}  # of 1536 around the colour wheel
COUNT = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
CELLS = [(x, y) for y in (-40, 0, 40) for x in (-40, 0, 40)]  # the places 0 to 8 on a board of three by three
DICE = {"two": (0, 8), "three": (0, 4, 8), "four": (0, 2, 6, 8), "five": (0, 2, 4, 6, 8), "six": (0, 2, 3, 5, 6, 8)}
PIECES = {"i": (0, 1, 2, 3), "o": (1, 2, 5, 6), "t": (1, 2, 3, 6), "s": (1, 2, 4, 5), "l": (1, 2, 3, 5)}  # of 2 x 4
STRIPES = [box(220, 13, 0, y) for y in range(-104, 105, 26)]
CHECKS = [box(24, 24, x, y) for x in range(-108, 109, 24) for y in range(-108, 109, 24) if (x + y) % 48 == 0]
DOTS = [disc(9, x, y) for x in range(-90, 91, 30) for y in range(-90, 91, 30)]
CROSS, LOWER = [box(24, 240), box(240, 24)], box(120, 60, 0, 30)
PATTERNS = {"striped": STRIPES, "chequered": CHECKS, "dotted": DOTS, "crossed": CROSS, "halved": [LOWER]}
ARROW = mirrored((0, -60), (46, -8), (18, -8), (18, 60))
DOUBLE_ARROW = mirrored((0, -60), (40, -18), (14, -18), (14, 18), (40, 18), (0, 60))
BALLOON = (1, box(5, 50, 0, 42), disc(42, 0, -18), regular(3, 12, 0, 28))
DIE, FACE, EYES = (1, box(116, 116)), (1, disc(58)), (2, disc(9, -22, -18), disc(9, 22, -18))
SMILE = mirrored((0, 42), (20, 36), (36, 14), (22, 14), (12, 24), (0, 28))


def _rings(*cells):
    return [(1, *(disc(19, *CELLS[k]) for k in cells)), (0, *(disc(10, *CELLS[k]) for k in cells))]


def _scattered_discs(count, rng):
    return [(1, *(disc(17, *(CELLS[k] + rng.integers(-3, 4, 2))) for k in rng.permutation(9)[:count]))]


FIGURES = {
    "arrows": {
        "arrow_up": [(1, ARROW)],
        "arrow_down": [(1, turned(ARROW, 128))],
        "arrow_sideways": [(1, turned(ARROW))],
        "double_arrow_upright": [(1, DOUBLE_ARROW)],
        "double_arrow_sideways": [(1, turned(DOUBLE_ARROW))],
    },
    "balloons": {f"{colour}_balloon": [BALLOON] for colour in HUES},
    "bars": {f"{word}_bars": [(1, *(box(99, 11, 0, 11 * k) for k in range(1 - n, n, 2)))] for word, n in COUNT.items()},
    "buildings": {
        "house": [(1, box(84, 64, 0, 28), mirrored((0, -58), (60, -2))), (2, box(22, 36, 0, 42))],
        "lighthouse": [(1, mirrored((14, -34), (28, 60)), box(22, 22, 0, -50)), (2, *STRIPES[::2])],
        "tent": [(1, mirrored((0, -46), (64, 46))), (2, mirrored((0, -4), (20, 46)))],
        "castle": [(1, box(112, 60, 0, 26), *(box(22, 34, x, -16) for x in (-45, 0, 45)))],
        "temple": [(1, mirrored((0, -58), (62, -22)), *(box(15, 80, x, 17) for x in (-42, -14, 14, 42)))],
    },
    "dice": {f"die_{word}": [DIE, (2, *(disc(14, *CELLS[k]) for k in cells))] for word, cells in DICE.items()},
    "discs": {f"{word}_discs": partial(_scattered_discs, count) for word, count in COUNT.items()},
    "faces": {
        "happy_face": [FACE, EYES, (2, SMILE)],
        "sad_face": [FACE, EYES, (2, (0, 50) - SMILE)],
        "calm_face": [FACE, EYES, (2, box(52, 11, 0, 24))],
        "surprised_face": [FACE, EYES, (2, disc(17, 0, 26))],
        "one_eyed_face": [FACE, (2, disc(15, 0, -18), SMILE)],
    },
    "fields": {
        "horizontal_stripes": [(1, *STRIPES)],
        "vertical_stripes": [(1, *(turned(form) for form in STRIPES))],
        "diagonal_stripes": [(1, *(turned(form, 32) for form in STRIPES))],
        "chequers": [(1, *CHECKS)],
        "polka_dots": [(1, *DOTS)],
    },
    "letters": {
        "letter_h": [(1, box(24, 110, -38, 0), box(24, 110, 38, 0), box(80, 24))],
        "letter_t": [(1, box(104, 24, 0, -43), box(24, 110))],
        "letter_u": [(1, box(24, 110, -38, 0), box(24, 110, 38, 0), box(100, 24, 0, 43))],
        "letter_x": [(1, turned(box(24, 130), 26), turned(box(24, 130), -26))],
        "letter_y": [(1, box(24, 60, 0, 30), mirrored((0, 0), (26, -55), (54, -55), (12, 20)))],
    },
    "nested": {
        "disc_in_square": [(1, box(104, 104)), (2, disc(32))],
        "square_in_disc": [(1, disc(60)), (2, box(54, 54))],
        "triangle_in_disc": [(1, disc(60)), (2, regular(3, 40))],
        "disc_in_triangle": [(1, regular(3, 72)), (2, disc(24))],
        "square_in_square": [(1, box(104, 104)), (2, box(54, 54))],
    },
    "pairs": {
        "disc_over_square": [(1, disc(27, 0, -30), box(50, 50, 0, 32))],
        "square_over_disc": [(1, box(50, 50, 0, -32), disc(27, 0, 30))],
        "disc_beside_square": [(1, disc(27, -30, 0), box(50, 50, 32, 0))],
        "disc_over_triangle": [(1, disc(27, 0, -32), regular(3, 36, 0, 38))],
        "disc_beside_triangle": [(1, disc(27, -32, 0), regular(3, 36, 34, 6))],
    },
    "patterned_discs": {f"{word}_disc": [(1, disc(58)), (2, *forms)] for word, forms in PATTERNS.items()},
    "patterned_squares": {f"{word}_square": [(1, box(96, 96)), (2, *forms)] for word, forms in PATTERNS.items()},
    "plants": {
        "pine": [(1, regular(3, 32, 0, -28), regular(3, 42), regular(3, 52, 0, 26), box(14, 20, 0, 58))],
        "round_tree": [(1, disc(40, 0, -20), box(16, 50, 0, 40))],
        "flower": [(1, disc(30), *(turned(disc(21, 0, -36), TURN * k // 6) for k in range(6))), (2, disc(20))],
        "mushroom": [(1, mirrored((0, -50), (34, -40), (56, 2)), box(34, 60, 0, 28)), (2, *DOTS[2::7])],
        "cactus": [(1, box(24, 116), box(100, 16), box(16, 46, -42, -14), box(16, 46, 42, -24))],
    },
    "polygons": {
        "triangle": [(1, regular(3, 64))],
        "square": [(1, box(92, 92))],
        "pentagon": [(1, regular(5, 60))],
        "hexagon": [(1, regular(6, 60))],
        "oblong": [(1, box(120, 46))],
    },
    "rings": {
        "three_rings_row": _rings(3, 4, 5),
        "three_rings_column": _rings(1, 4, 7),
        "three_rings_slope": _rings(0, 4, 8),
        "three_rings_triangle": _rings(1, 6, 8),
        "four_rings_square": _rings(0, 2, 6, 8),
    },
    "rounds": {
        "disc": [(1, disc(58))],
        "ring": [(1, disc(60)), (0, disc(33))],
        "half_disc": [(1, disc(64)[:17] - (26, 0))],
        "crescent": [(1, disc(60)), (0, disc(50, 26, 0))],
        "cut_cake": [(1, disc(60)), (0, np.array([(0, 0), (70, -40), (70, 40)]))],
    },
    "stars": {f"star_of_{n}": [(1, star(n, 64, size))] for n, size in ((4, 20), (5, 26), (6, 32), (8, 38), (12, 44))},
    "suits": {
        "heart": [(1, mirrored((0, -22), (14, -44), (34, -50), (52, -38), (56, -14), (40, 14), (0, 56)))],
        "diamond": [(1, mirrored((0, -62), (42, 0), (0, 62)))],
        "club": [(1, disc(25, 0, -30), disc(25, -30, 10), disc(25, 30, 10), regular(3, 34, 0, 38))],
        "spade": [(1, mirrored((0, -60), (54, 14), (40, 32), (18, 28), (0, 10)), regular(3, 34, 0, 38))],
        "drop": [(1, mirrored((0, -64), (16, -26), (34, 4), (36, 28), (22, 50), (0, 58)))],
    },
    "tetrominoes": {
        f"piece_{letter}": [(1, *(box(30, 30, 34 * (k % 4) - 51, 34 * (k // 4) - 17) for k in cells))]
        for letter, cells in PIECES.items()
    },
}
ANY_TURN = {"bars", "discs", "nested", "patterned_discs", "patterned_squares", "polygons", "rounds", "stars"}
SUPERCLASSES = {group: tuple(sorted(figures)) for group, figures in FIGURES.items()}
GROUP_OF = {name: group for group, names in SUPERCLASSES.items() for name in names}
CLASSES = tuple(sorted(GROUP_OF))
SUPERCLASS_OF = np.array([list(SUPERCLASSES).index(GROUP_OF[name]) for name in CLASSES], np.uint8)


def _inks(name, rng):
    """RGB of ground, figure, details and clutter: (4, 3) integers. Figure and ground differ in lightness."""
    ground, contrast = rng.integers(40, 216), rng.integers(80, 140)
    figure = ground + contrast if ground < 128 else ground - contrast
    levels = np.array([ground, figure, (2 * ground + 128) // 3, (3 * ground + figure) // 4])
    hues, strengths = rng.integers(0, 1536, 4), rng.integers(0, 200, 4)
    if GROUP_OF[name] == "balloons":
        hues[1], strengths[1] = HUES[name.split("_")[0]] + rng.integers(-35, 36), rng.integers(180, 256)
    wheel = np.clip(abs((hues[:, None] + (0, 1024, 512)) % 1536 - 768) - 256, 0, 255)
    return levels[:, None] + (wheel - wheel.sum(1, keepdims=True) // 3) * strengths[:, None] // 256


def _painted(name, rng):
    """The canvas: (128, 128) uint8, the ink of every fine pixel. Clutter (ink 3) lies below the figure."""
    turn = rng.integers(0, TURN) if GROUP_OF[name] in ANY_TURN else rng.integers(-12, 13)
    stretch = (rng.integers(36, 56) + rng.integers(-4, 5, 2)) * (rng.choice((-1, 1)), 1)
    centre = SIZE * FINE // 2 + rng.integers(-12, 13, 2)
    canvas = np.zeros((SIZE * FINE, SIZE * FINE), np.uint8)
    for _ in range(rng.integers(0, 5)):
        corners = rng.integers(0, SIZE * FINE, 2) + rng.integers(-20, 21, (3, 2))
        cv2.fillPoly(canvas, [corners.astype(np.int32)], 3)
    figure = FIGURES[GROUP_OF[name]][name]
    for ink, *forms in figure(rng) if callable(figure) else figure:
        below = canvas.copy()
        for form in forms:
            cv2.fillPoly(canvas, [(turned(form * stretch, turn) // 60 + centre).astype(np.int32)], ink)
        if ink == 2:
            canvas[below != 1] = below[below != 1]
    return canvas


def _image(name, rng):
    """One image of a class: (32, 32, 3) uint8 RGB."""
    inks = _inks(name, rng)
    fine = (1 << INK_DIGITS).take(_painted(name, rng))
    rows = sum(fine[i::FINE] for i in range(FINE))
    blocks = sum(rows[:, i::FINE] for i in range(FINE))  # of FINE x FINE pixels
    counts = blocks[..., None] >> INK_DIGITS & 31  # how many of the block's pixels have each ink
    picture = counts @ inks // FINE**2  # their mean
    ramp = np.arange(SIZE)[:, None] - SIZE // 2
    down, across = rng.integers(-24, 25, (2, 3))
    shade = ((ramp * down)[:, None] + ramp * across) // (SIZE // 2)
    strength = rng.integers(4, 24)
    noise = rng.integers(-strength, strength + 1, (SIZE, SIZE, 3))
    return np.clip(picture + shade + noise, 0, 255).astype(np.uint8)


def draw(per_class, seed=0, split="train"):
    """Draw Shapes-100: images (100 * per_class, 32, 32, 3) uint8 RGB and labels (100 * per_class,) uint8.

    The labels run 0, 1, ..., 99, 0, 1, ...; image i of a class depends on the seed, the split, the class and i alone,
    so that a smaller data set is the beginning of a larger one.

    per_class: images of each class.
    seed: a whole number from 0 up; another seed draws other images of the same classes.
    split: "train" or "test", else ValueError; they share no stream of random numbers.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split: expected "train" or "test", found {split!r}')
    stream = ("train", "test").index(split)
    labels = np.tile(np.arange(100, dtype=np.uint8), per_class)
    images = np.empty((len(labels), SIZE, SIZE, 3), np.uint8)
    for i, label in enumerate(labels):
        rng = np.random.Generator(np.random.PCG64([seed, stream, int(label), i // 100]))
        images[i] = _image(CLASSES[label], rng)
    return images, labels


def load(per_class_train=500, per_class_test=100):
    """Draw (x_train, y_train), (x_test, y_test), as `cifar100.load` returns them; see `draw`."""
    return draw(per_class_train, split="train"), draw(per_class_test, split="test")
