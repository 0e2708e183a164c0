"""The explorers' figures: data to a matplotlib Figure, on a page measured in pixels.

Drawn at every step of a slider, and so made to be fast: no axes, places set by hand, shapes of a kind in one artist, a
line of words in one more, and each letter read from the font once.
"""

import textwrap
from functools import cache

import cv2
import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.image import BboxImage
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Bbox, TransformedBbox

from mbv2_lib.architecture import ROWS
from mbv2_lib.costs import PUBLISHED_RESULTS
from mbv2_lib.plots import BLUE, GREEN, ORANGE, PINK, spaced
from mbv2_lib.trade_offs import pareto_front

INK, GREY, LIGHT, PALE = "#222222", "#666666", "#a9a9a9", "#e4e4e4"
DPI = 100
ABOVE, BELOW, APART = 0.76, 0.24, 1.2  # tallest plain letter, deepest one, line to line; in sizes of the font


@cache
def glyph(character, weight, style):
    """The outline of a character of size 1, as (vertices, codes), and where the next character begins.

    One that the font does not have is drawn as the font's empty box.
    """
    font = get_font(findfont(FontProperties(weight=weight, style=style)))
    font.set_size(1000, 72)
    index = font.get_char_index(ord(character))
    advance = font.load_glyph(index, LoadFlags.NO_HINTING).linearHoriAdvance / 2**16
    vertices, codes = font.get_path()
    return vertices / 1000, codes, advance / 1000


def outline(line, weight="normal", style="normal"):
    """The outline of a line of text of size 1 from (0, 0) to the right, as (vertices, codes), and its width.

    Without kerning: no pair of letters stands closer than others.
    """
    vertices, codes, width = [np.empty((0, 2))], [np.empty(0, np.uint8)], 0
    for character in line:
        shape, kinds, advance = glyph(character, weight, style)
        vertices.append(shape + (width, 0))
        codes.append(kinds)
        width += advance
    return np.concatenate(vertices), np.concatenate(codes), width


class Page(Figure):
    """A Figure of so many pixels; all places are in pixels from its lower left corner."""

    def __init__(self, width, height):
        super().__init__(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        self.pixels = Affine2D().scale(1 / DPI) + self.dpi_scale_trans
        self.labels = []  # each line of words with its outline, for tests

    def write(self, x, y, words, size=9, colour=INK, ha="center", va="center", **looks):
        """Text whose middle (both ways, unless told otherwise: ha left or right, va top) is at (x, y)."""
        size, lines = size * DPI / 72, words.split("\n")
        tall = ABOVE + BELOW + APART * (len(lines) - 1)
        top = y + size * tall * {"top": 0, "center": 0.5}[va]
        for place, line in enumerate(lines):
            vertices, codes, width = outline(line, **looks)
            left = x - size * width * {"left": 0, "center": 0.5, "right": 1}[ha]
            base = round(top - size * (ABOVE + APART * place))  # between two rows of pixels, letters blur
            path = Path(size * vertices + (left, base), codes)
            self.add_artist(PathPatch(path, fc=colour, lw=0, transform=self.pixels, zorder=3))
            self.labels.append((line, path))

    def fill(self, polygons, colours, **looks):
        """Polygons, each a list of corners (x, y)."""
        self.add_artist(PolyCollection(polygons, facecolors=colours, lw=0, transform=self.pixels, **looks))

    def boxes(self, boxes, colours, **looks):
        """Boxes, each (left, bottom, width, height)."""
        self.fill([[(x, y), (x + w, y), (x + w, y + h), (x, y + h)] for x, y, w, h in boxes], colours, **looks)

    def line(self, points, colour, width=1, **looks):
        """A line through points (x, y)."""
        x, y = zip(*points, strict=True)
        self.add_artist(Line2D(x, y, color=colour, lw=width, transform=self.pixels, **looks))

    def strokes(self, lines, colours, width=1, **looks):
        """Many lines at once, each a list of points (x, y)."""
        looks = {"capstyle": "round", **looks}
        self.add_artist(LineCollection(lines, colors=colours, lw=width, transform=self.pixels, **looks))

    def dots(self, dots, radius=3, **looks):
        """Small discs, each a place (x, y) and its colour."""
        angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        rim = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.fill([rim + place for place, _ in dots], [colour for _, colour in dots], **looks)

    def photograph(self, picture, left, bottom, side):
        """A picture in a square, its own pixels as they are."""
        place = TransformedBbox(Bbox.from_bounds(left, bottom, side, side), self.pixels)
        image = BboxImage(place, interpolation="nearest", interpolation_stage="data")
        image.set_data(picture)
        self.add_artist(image)


def fitting(words, room, size=9):
    """The words, cut at their end where written in this size they would be wider than `room` pixels."""
    cuts = [words, *(f"{words[:end].rstrip()}..." for end in reversed(range(len(words))))]
    return next(cut for cut in cuts if size * DPI / 72 * outline(cut)[-1] <= room)


def png(figure):
    """The figure as PNG bytes, of its size in pixels exactly."""
    canvas = FigureCanvasAgg(figure)
    with rc_context({"text.hinting": "none"}):  # matplotlib's own words come a third faster, and look the same
        canvas.draw()
    picture = cv2.cvtColor(np.asarray(canvas.buffer_rgba()), cv2.COLOR_RGBA2BGR)
    return cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


def short(count, unit=""):
    """A count in three digits: 950, 8.21 k, 301 M, 1.52 G."""
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:
            scaled = count / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {name}{unit}"
    return f"{count} {unit}".strip()


# -- one block -------------------------------------------------------------------------------------------------------

PLACES = {True: (70, 190, 310, 430), False: (100, 250, 400)}  # where the tensors stand, with expansion and without
MIDDLE, TALLEST, THICKEST = 176, 190, 34
MEASURES = (
    ("Parameters", "parameters", ""),
    ("Multiply-adds", "madds", ""),
    ("Peak memory", "peak_activation_bytes", "B"),
)


def block(comparison):
    """An inverted residual whose heights are its channels, and its cost beside that of two other blocks.

    comparison: `explorers.BlockComparison`.
    """
    page = Page(860, 360)
    shown = comparison.block
    widths = [shown.channels, shown.expanded, shown.expanded, shown.filters]
    sides = [comparison.resolution] * 2 + [comparison.resolution_out] * 2
    layers = [("1×1 expand", "ReLU6", BLUE), ("3×3 depthwise", "ReLU6", ORANGE), ("1×1 project", "linear", GREEN)]
    if shown.expansion == 1:
        widths, sides, layers = widths[1:], sides[1:], layers[1:]
    places = PLACES[shown.expansion > 1]
    heights = [max(TALLEST * width / max(widths), 2) for width in widths]
    halves = [THICKEST * side / comparison.resolution / 2 for side in sides]

    funnels = []
    for place, (name, rule, colour) in enumerate(layers):
        left, right = places[place] + halves[place], places[place + 1] - halves[place + 1]
        start, end = heights[place] / 2, heights[place + 1] / 2  # above and below the middle
        funnels.append([(left, MIDDLE - start), (right, MIDDLE - end), (right, MIDDLE + end), (left, MIDDLE + start)])
        page.write((left + right) / 2, 36, name, colour=colour, weight="bold")
        page.write((left + right) / 2, 20, rule, colour=GREY)
    page.fill(funnels, [colour for _, _, colour in layers], alpha=0.25)
    tensors = zip(places, heights, halves, strict=True)
    page.boxes([(x - half, MIDDLE - height / 2, 2 * half, height) for x, height, half in tensors], INK)
    for x, width, side, height in zip(places, widths, sides, heights, strict=True):
        page.write(x, MIDDLE + height / 2 + 10, f"{width}", 11, weight="bold")
        page.write(x, MIDDLE - height / 2 - 10, f"{side}×{side}", colour=GREY)
    _shortcut(page, shown, places[0], places[-1], heights)
    _three_costs(page, comparison.costs)
    return page


def _shortcut(page, shown, start, end, heights):
    """The arrow from the thin input to the thin output, or the reason why there is none."""
    if not shown.shortcut:
        reason = "stride 2" if shown.strides > 1 else f"{shown.channels} channels in, {shown.filters} out"
        page.write((start + end) / 2, 338, f"no shortcut: {reason}", 10, GREY, style="italic")
        return
    top = 318
    page.line([(start, MIDDLE + heights[0] / 2 + 20), (start, top), (end, top)], PINK, 2)
    ends = (end, top), (end, MIDDLE + heights[-1] / 2 + 18)
    looks = {"arrowstyle": "-|>", "mutation_scale": 13, "color": PINK, "lw": 2, "shrinkA": 0}
    page.add_artist(FancyArrowPatch(*ends, transform=page.pixels, **looks))
    page.write((start + end) / 2, 338, "shortcut: the input is added", 10)


def _three_costs(page, costs):
    """Bars of three measures of three blocks; in each measure the longest bar is the costliest block."""
    bars, colours = [], (BLUE, GREY, GREY)
    for row, (title, key, unit) in enumerate(MEASURES):
        top = 338 - 112 * row
        page.write(622, top, title, 10, ha="left", weight="bold")
        values = [getattr(cost, key) for cost in costs.values()]
        for line, (name, value, colour) in enumerate(zip(costs, values, colours, strict=True)):
            y, length = top - 22 - 23 * line, 160 * value / max(values)
            bars.append((622, y - 8, max(length, 1), 16))
            page.write(614, y, name, colour=colour, ha="right", weight="bold" if colour == BLUE else "normal")
            page.write(628 + length, y, short(value, unit), ha="left")
    page.boxes(bars, colours * len(MEASURES))


# -- the network -----------------------------------------------------------------------------------------------------

KIND_COLOURS = {"expand": BLUE, "depthwise": ORANGE, "project": GREEN, "stem, head, classifier": GREY}
SHADES = {0.35: "#b3d4e8", 0.5: "#80b8d9", 0.75: "#4d9cca", 1.0: BLUE, 1.3: "#00507d", 1.4: "#002e47"}
FLOOR, CEILING = 60, 330  # of both plots


def network(view):
    """The share of each stage in a network's multiply-adds, and the network's place among the published ones.

    view: `explorers.NetworkView`.
    """
    page = Page(860, 390)
    cost = view.cost
    totals = f"{cost.madds:,} multiply-adds     {cost.parameters:,} parameters     {cost.peak_activation_bytes:,} bytes"
    page.write(430, 374, f"{totals} of memory at the peak", 10, weight="bold")
    page.write(45, 347, "Where the multiply-adds are spent", 10, ha="left")
    page.write(572, 347, "Published networks: top-1 on ImageNet", 10, ha="left")
    _stages(page, view)
    _published(page, view)
    return page


def _ruled(page, left, right, rungs):
    """Pale lines with their labels, {y: label}; the first of them, the floor, is darker."""
    colours = [LIGHT] + [PALE] * (len(rungs) - 1)
    page.strokes([[(left, y), (right, y)] for y in rungs], colours, 0.8, zorder=0)
    for y, label in rungs.items():
        page.write(left - 6, y, label, 8, GREY, ha="right")


def _stages(page, view):
    """A bar a stage, from the stem to the classifier, stacked of the kinds of layers."""
    shares = view.madds / view.cost.madds
    full = 0.4 if shares.sum(axis=1).max() < 0.4 else 0.8
    tall = (CEILING - 20 - FLOOR) / full
    _ruled(page, 45, 515, {FLOOR + tall * full * step / 4: f"{full * step / 4:.0%}" for step in range(5)})
    names = ["stem", *range(1, len(ROWS) + 1), "head", "class."]
    boxes, colours = [], []
    for stage, (name, filters) in enumerate(zip(names, view.filters, strict=True)):
        x, y = 51 + 46 * stage, FLOOR
        for share, colour in zip(shares[stage], KIND_COLOURS.values(), strict=True):
            boxes.append((x, y, 38, tall * share))
            colours.append(colour)
            y += tall * share
        page.write(x + 19, y + 9, short(view.madds[stage].sum()), 8)
        page.write(x + 19, 40, f"{name}\n{filters}", 8)
    for place, (name, colour) in enumerate(KIND_COLOURS.items()):
        x, y = 130 + 90 * (place % 2), 296 - 18 * (place // 2)
        boxes.append((x, y, 12, 10))
        colours.append(colour)
        page.write(x + 18, y + 5, name, 8, ha="left")
    page.boxes(boxes, colours)
    page.write(280, 12, "stage (1 to 7: the rows of blocks), and the channels that it puts out", 9)


def _published(page, view):
    """Accuracy against multiply-adds of the trained networks, and a line where this one's multiply-adds are."""

    def x(madds):  # from 200 thousand to 2 thousand million: all that the sliders can reach
        return 572 + 272 * np.log10(madds / 2e5) / 4

    def y(top1):
        return FLOOR + (CEILING - FLOOR) * (top1 - 42) / 36

    _ruled(page, 572, 844, {FLOOR: "", **{y(share): f"{share}%" for share in (45, 55, 65, 75)}})
    for madds, label in ((1e6, "1 M"), (1e7, "10 M"), (1e8, "100 M"), (1e9, "1 G")):
        page.write(x(madds), 48, label, 8, GREY)
    here = x(view.cost.madds)
    page.line([(here, FLOOR), (here, CEILING)], ORANGE, 2)
    page.boxes([(578, 212, 62, 122)], "white", zorder=2.2)  # the legend lies over the line
    page.write(582, 316, "width", 8, ha="left")
    curves, colours = [], list(SHADES.values())
    for place, alpha in enumerate(SHADES):
        rows = [row for row in PUBLISHED_RESULTS if row.alpha == alpha]
        curves.append([(x(row.million_madds * 1e6), y(row.top1)) for row in rows])
        curves.append([(584, 299 - 16 * place), (600, 299 - 16 * place)])
        page.write(608, 299 - 16 * place, f"{alpha:.2f}", 8, ha="left")
    shades = np.repeat(colours, 2)
    page.strokes(curves, shades, zorder=2.5)
    page.dots([(point, shade) for curve, shade in zip(curves, shades, strict=True) for point in curve], zorder=2.5)
    if view.published:
        place = x(view.published.million_madds * 1e6), y(view.published.top1)
        page.line([place], ORANGE, marker="o", ms=12, mfc="none", mew=2)
        page.write(place[0] - 14, place[1] + 9, f"{view.published.top1}%", 9, ha="right", weight="bold")
    page.write(708, 25, "multiply-adds; the line is your choice", 9)


# -- why the bottleneck is linear ------------------------------------------------------------------------------------


def _curve(page, points, lost, left, bottom, side, width=2.5):
    """Points along a curve in a frame of -1.4 to 1.4, coloured from beginning to end; the lost ones in grey."""
    page.boxes([(left, bottom, side, side)], "#f7f7f7")
    places = (np.clip(points, -1.4, 1.4) / 2.8 + 0.5) * side + (left, bottom)
    colours = colormaps["viridis"](np.linspace(0, 0.95, len(points)))
    colours[lost] = (0.66, 0.66, 0.66, 1)
    page.strokes(np.stack([places[:-1], places[1:]], axis=1), colours[1:], width)


def spirals(trips):
    """The spiral as it was, and as it came back from each number of dimensions (paper, Figure 1).

    trips: list of `explorers.RoundTrip`.
    """
    page = Page(860, 190)
    side = 860 / (len(trips) + 1)
    nothing = np.zeros(len(trips[0].points), bool)
    _curve(page, trips[0].points, nothing, 4, 26, side - 8, 2)
    page.write(side / 2, 178, "input", 10)
    for place, trip in enumerate(trips, start=1):
        _curve(page, trip.returned, trip.lost, place * side + 4, 26, side - 8, 2)
        page.write((place + 0.5) * side, 178, f"{trip.dimensions} dimensions", 10)
        page.write((place + 0.5) * side, 12, f"error {trip.error:.2f}", 9, GREY)
    return page


def round_trip(trips, place):
    """The spiral, what came back from trips[place], and the errors of all trips.

    trips: list of `explorers.RoundTrip`, in the order of their dimensions; place: the index of the one to show.
    """
    page = Page(860, 310)
    trip = trips[place]
    _curve(page, trip.points, np.zeros(len(trip.points), bool), 10, 10, 270)
    _curve(page, trip.returned, trip.lost, 290, 10, 270)
    page.write(145, 295, "input", 10)
    page.write(425, 295, f"back from ReLU in {trip.dimensions} dimensions", 10)
    page.write(300, 24, "grey: passed in fewer than two dimensions", 8, GREY, ha="left")
    page.write(640, 295, "reconstruction error", 10, ha="left")
    bars = [(640, 232 - 50 * row, 160 * other.error, 30) for row, other in enumerate(trips)]
    page.boxes(bars, [BLUE if row == place else LIGHT for row in range(len(trips))])
    for other, (left, bottom, length, _) in zip(trips, bars, strict=True):
        page.write(
            632, bottom + 15, f"{other.dimensions}", 10, ha="right", weight="bold" if other is trip else "normal"
        )
        page.write(left + length + 6, bottom + 15, f"{other.error:.2f}", 10, ha="left")
    page.write(632, 274, "dimensions", 8, GREY, ha="right")
    page.write(640, 14, "0: the same spiral, 1: nothing of it", 8, GREY, ha="left")
    return page


# -- a network for a budget ------------------------------------------------------------------------------------------


def budget(view):
    """Accuracy against multiply-adds with the networks that fit lit up, and the best one's costs in its limits.

    view: `explorers.BudgetView`.
    """
    page = Page(860, 350)
    place = "ImageNet, as published" if view.networks == "published" else "CIFAR-100, short runs measured here"
    page.write(45, 334, f"top-1 on {place}", 10, ha="left")
    if view.choice.candidates:
        _candidates(page, view.choice)
        _gauges(page, view)
    else:
        page.write(270, 190, "no networks", 10, GREY)
        page.write(650, 190, f"limits: {', '.join(short(limit) for limit in view.choice.budget.values())}", 9, GREY)
    return page


def _candidates(page, choice):
    """The networks of a table, those within the budget in blue; the front; a line at the limit of multiply-adds."""
    left, right, floor, ceiling = 45, 500, 56, 292
    madds, top1 = (np.array([getattr(one, key) for one in choice.candidates]) for key in ("madds", "top1"))
    least, most = np.log10(madds.min() / 1.3), np.log10(madds.max() * 1.3)
    step = 0.1 if np.ptp(top1) > 0.15 else 0.05
    low, high = step * np.floor((top1.min() - 0.01) / step), step * np.ceil((top1.max() + 0.01) / step)

    def at(madds, top1):
        across = (np.log10(madds) - least) / (most - least)
        return left + (right - left) * np.clip(across, 0, 1), floor + (ceiling - floor) * (top1 - low) / (high - low)

    _ruled(page, left, right, {at(1, share)[1]: f"{share:.0%}" for share in np.arange(low, high + 0.01, step)})
    for tick in (1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 2e8, 5e8):
        if least <= np.log10(tick) <= most:
            page.write(at(tick, low)[0], floor - 12, f"{tick / 1e6:.0f} M", 8, GREY)
    page.write(272, 20, "multiply-adds; dark: the front, orange: your limit; grey left of it: another limit", 9, GREY)
    page.strokes([[at(madds[row], top1[row]) for row in pareto_front(madds, top1)]], INK, 1, zorder=1)
    limit = at(choice.budget["madds"], low)[0]
    page.line([(limit, floor), (limit, ceiling)], ORANGE, 2)
    fits = [one in choice.fitting for one in choice.candidates]
    dots = [at(*pair) for pair in zip(madds, top1, strict=True)]
    colours = [BLUE if fit else LIGHT for fit in fits]
    page.dots(sorted(zip(dots, colours, strict=True), key=lambda dot: dot[1] == BLUE), 5, zorder=2.5)  # those on top
    if choice.best:
        page.line([at(choice.best.madds, choice.best.top1)], ORANGE, marker="o", ms=13, mfc="none", mew=2, zorder=3)
    page.dots([((left + 8, 312), BLUE), ((left + 128, 312), LIGHT)], 5)
    page.write(left + 18, 312, f"fit the budget: {sum(fits)}", 8, ha="left")
    page.write(left + 138, 312, f"do not: {len(fits) - sum(fits)}", 8, ha="left")


def _gauges(page, view):
    """The settings and the accuracy of the best network, and how much of each limit it uses."""
    left, wide, found = 560, 270, view.choice.best or view.choice.next_best
    title = "the best that fits" if view.choice.best else "nothing fits; the nearest"
    page.write(left, 334, title, 10, INK if view.choice.best else ORANGE, ha="left", weight="bold")
    settings = f"width {found.alpha:.2f}, {found.resolution} px, expansion {found.expansion}"
    page.write(left, 304, settings, 11, ha="left")
    page.write(left, 278, f"top-1 {found.top1:.1%} ± {found.error:.1%}", 11, ha="left")
    page.write(left, 258, "± is one standard error, of the pictures", 8, GREY, ha="left")
    names = ("multiply-adds", "parameters", "peak memory, int8")
    for row, (name, (key, limit)) in enumerate(zip(names, view.choice.budget.items(), strict=True)):
        unit, y = "B" if key == "peak_bytes" else "", 206 - 70 * row
        used = getattr(found, key)
        page.write(left, y, name, 9, ha="left", weight="bold")
        page.write(left + wide, y, f"{short(used, unit)} of {short(limit, unit)}", 9, ha="right")
        page.boxes([(left, y - 28, wide, 16)], PALE)
        page.boxes([(left, y - 28, wide * min(used / limit, 1), 16)], BLUE if used <= limit else ORANGE)


# -- rounding to a few levels ----------------------------------------------------------------------------------------


def rounded(found):
    """The weights of a kernel before and after rounding, as histograms, and the error of each channel.

    found: `explorers.Rounded`; channels that are not live are grey.
    """
    page = Page(860, 320)
    reach = 1.05 * np.abs(found.kernel).max()
    for bottom, values, colour, title in (
        (186, found.kernel, BLUE, "the weights"),
        (44, found.rounded, ORANGE, f"rounded: {found.bits} bits, {len(np.unique(found.rounded.round(9)))} values"),
    ):
        counts = np.histogram(np.clip(values, -reach, reach), bins=121, range=(-reach, reach))[0]
        tall = 96 * np.sqrt(counts / counts.max())  # roots, so that rare values are seen, too
        page.boxes([(20 + 4 * place, bottom, 3.5, height) for place, height in enumerate(tall)], colour)
        page.line([(20, bottom), (504, bottom)], LIGHT)
        page.write(20, bottom + 110, title, 10, ha="left")
    for share in (-1, 0, 1):
        page.write(262 + 228 * share, 30, f"{share * reach / 1.05:.2f}", 8, GREY)
    page.write(262, 12, "weight; heights are square roots of counts", 9, GREY)
    worst_first = np.argsort(-found.error_by_channel, kind="stable")
    errors = found.error_by_channel[worst_first]
    colours = np.where(found.live[worst_first], ORANGE, LIGHT)
    wide = 270 / len(errors)
    gap = min(1, wide / 4)
    page.write(570, 296, f"error by channel; whole kernel {found.error:.1%}", 10, ha="left")
    _ruled(page, 570, 840, {44 + 230 * share: f"{share:.0%}" for share in (0, 0.5, 1)})
    page.boxes([(570 + wide * n, 44, wide - gap, 230 * min(error, 1)) for n, error in enumerate(errors)], colours)
    page.write(705, 22, "channels, worst first" + ("" if found.live.all() else "; grey: constant output"), 9, GREY)
    return page


# -- pictures --------------------------------------------------------------------------------------------------------


def resized(result):
    """A picture, its resized JPEG, and the difference that the JPEG makes. result: `explorers.Resized`."""
    page = Page(860, 330)
    side, (height, width) = result.decoded.shape[0], result.original.shape[:2]
    # Ten times, around grey: differences of a few levels would be seen by nobody.
    difference = np.clip(128 + 10 * (result.decoded.astype(np.int16) - result.resized), 0, 255).astype(np.uint8)
    quality = f"JPEG quality {result.quality}, {result.size_in_bytes:,} bytes"
    columns = (
        (result.original, f"original, {width}×{height}", "no compression"),
        (result.decoded, f"{result.interpolation}, {side}×{side}", quality),
        (difference, "what the JPEG changed, × 10", f"grey: nothing; on average {result.mean_difference:.2f} of 255"),
    )
    for column, (picture, title, note) in enumerate(columns):
        left = 10 + 286 * column
        page.photograph(picture, left + 6, 38, 256)
        page.write(left + 134, 314, title, 10)
        page.write(left + 134, 14, note, 9, GREY)
    return page


def mistakes(found):
    """What a class was taken for, as bars, and the misjudged pictures with their wrong answers.

    found: `explorers.Mistakes`.
    """
    page = Page(860, 350)
    page.write(10, 334, f"{spaced(found.name)}: {found.count} pictures, taken for", 10, ha="left")
    rows = [(found.name, found.right), *found.taken_for[:8]]
    bars = [(168, 290 - 35 * row, 180 * count / max(found.count, 1), 20) for row, (_, count) in enumerate(rows)]
    page.boxes(bars, [BLUE] + [ORANGE] * (len(rows) - 1))
    for (name, count), (left, bottom, length, _) in zip(rows, bars, strict=True):
        page.write(160, bottom + 10, fitting(spaced(name), 150), ha="right")
        page.write(left + length + 6, bottom + 10, f"{count}", ha="left")
    page.write(385, 334, "the most confident mistakes", 10, ha="left")
    for place, (picture, answer, confidence) in enumerate(found.pictures):
        left, bottom = 385 + 120 * (place % 4), 210 - 162 * (place // 4)
        page.photograph(picture, left, bottom, 106)
        caption = f"{textwrap.fill(spaced(answer), 17)}\n{confidence:.0%} sure"
        page.write(left + 53, bottom - 4, caption, 8, va="top")
    if not found.pictures:
        page.write(385, 300, "none", 10, GREY, ha="left")
    return page


def tried(found):
    """A picture, the square that the models see of it, and their likeliest classes. found: `try_it.Tried`."""
    page = Page(860, 330)
    if found.problem:
        page.write(430, 165, "No picture. The words below say why.", 11, GREY)
        return page
    (height, width), side = found.picture.shape[:2], found.seen.shape[0]
    columns = (
        (in_square(found.picture, 180), f"the picture, {width}×{height}"),
        (found.seen, f"the models see {side}×{side}"),
    )
    for column, (picture, title) in enumerate(columns):
        left = 10 + 215 * column
        page.boxes([(left - 1, 74, 182, 182)], LIGHT, zorder=-1)  # a frame, for pictures with white edges
        page.photograph(picture, left, 75, 180)
        page.write(left + 90, 273, title, 10)
    for row, (answer, colour) in enumerate(zip(found.answers, (BLUE, ORANGE), strict=True)):
        top = 312 - 160 * row
        page.write(582, top, f"{answer.model}: {answer.milliseconds:.2f} ms", 10, ha="left", weight="bold")
        bars = [(582, top - 32 - 24 * line, 200 * share, 16) for line, (_, share) in enumerate(answer.top)]
        page.boxes(bars, colour)
        for (name, share), (left, bottom, length, _) in zip(answer.top, bars, strict=True):
            page.write(left - 8, bottom + 7, fitting(spaced(name), 150), ha="right")
            page.write(left + length + 6, bottom + 7, f"{share:.1%}", ha="left")
    return page


def in_square(picture, side):
    """A uint8 RGB picture (h, w, 3) at its own proportions in a white square (side, side, 3)."""
    height, width = (max(1, round(side * extent / max(picture.shape[:2]))) for extent in picture.shape[:2])
    shrinks = max(picture.shape[:2]) > side
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    top, left = (side - height) // 2, (side - width) // 2
    margins = top, side - height - top, left, side - width - left
    return cv2.copyMakeBorder(small, *margins, cv2.BORDER_CONSTANT, value=(255, 255, 255))
