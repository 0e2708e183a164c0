"""The figures of the series, but for those under the sliders (`drawings.py`): data to a matplotlib Figure."""

import io
import itertools
import sys
import textwrap

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator
from PIL import Image  # matplotlib brings it

from mbv2_lib.evaluation import interval
from mbv2_lib.files import whole_file

# Okabe and Ito's colours, told apart also by readers who see few of them.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
HEAVY = 150_000  # bytes; of a picture beyond that a notebook carries six bits a colour in place of eight


def as_png(figure):
    """The figure as PNG bytes. IPython's own way shows nothing of a figure without axes, such as `drawings.Page`."""
    file, light = io.BytesIO(), io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight" if figure.axes else None)
    if len(file.getvalue()) <= HEAVY:
        return file.getvalue()
    fewer = Image.open(file).convert("RGB").point(lambda level: round(round(level * 63 / 255) * 255 / 63))
    fewer.save(light, "PNG", optimize=True)
    return light.getvalue()


if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):  # of itself it shows only pyplot's
    shell.display_formatter.formatters["image/png"].for_type(Figure, as_png)


def _panels(size, *shape, grid=None, **settings):
    """A Figure of `size` in inches and its axes, as `Figure.subplots` makes them of the other arguments.

    grid: pale lines across the axis "x" or "y", or across "both".
    """
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(*shape, **settings)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        if grid:
            axes.grid(axis=grid, alpha=0.3)
    return figure, panels


def _in_percent(axis):
    """Shares written as percent, with no more decimals than they need."""
    axis.set_major_formatter(lambda share, place: f"{100 * share:.6g}%")


def save(figure, path):
    """Write the figure to `path`, whole or not at all. Raises UserError where the disk is full."""
    with whole_file(path) as aside:
        figure.savefig(aside, dpi=120)


def curves(history):
    """Loss and top-1 of training and held-out pictures over the epochs of a run (rows of `runs.read_history`)."""
    figure, panels = _panels((9, 3.4), 1, 2, grid="both")
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(epochs) < 30 else None
    for axes, name, title in zip(panels, ("loss", "top1"), ("Loss", "Top-1 accuracy"), strict=True):
        for key, label, colour in ((name, "training", BLUE), (f"val_{name}", "held out", ORANGE)):
            axes.plot(epochs, [row[key] for row in history], marker=marker, ms=3, color=colour, label=label)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    _cut_off(panels[0], history)
    _in_percent(panels[1].yaxis)
    panels[1].legend(frameon=False)
    return figure


def _cut_off(axes, history, most=3):
    """Let up to `most` high held-out losses pass the upper edge, where they are written, or they flatten the rest."""
    if not history:
        return
    top = 1.5 * max(*(row["loss"] for row in history), np.median([row["val_loss"] for row in history]))
    beyond = [(row["epoch"], row["val_loss"]) for row in history if row["val_loss"] > top]
    if not 0 < len(beyond) <= min(most, len(history) - 1):
        return
    axes.set_ylim(0, top)
    looks = {"ha": "center", "va": "top", "fontsize": 8, "color": ORANGE}
    for epoch, loss in beyond:
        axes.annotate(f"▲ {loss:.1f}", (epoch, top), (0, -4), textcoords="offset points", **looks)


def progress(history, steps, epochs):
    """`curves` of a run of `epochs` epochs while it trains; its axes keep their place.

    steps: dicts with "epoch" (a fraction), "loss" and "top1" of the epoch under way.
    """
    figure = curves(history)
    figure.set_layout_engine("none")
    for axes, name, left in zip(figure.axes, ("loss", "top1"), (0.06, 0.56), strict=True):
        axes.set_position((left, 0.15, 0.42, 0.75))
        axes.plot([row["epoch"] for row in steps], [row[name] for row in steps], color=BLUE, ls=":")
        highest = max((row[name] for row in steps), default=0)  # beyond it, where the loss was cut off
        axes.set(xlim=(0, 1.03 * epochs), ylim=(0, max(axes.get_ylim()[1], 1.05 * highest)))
    return figure


# -- the recipe, and runs beside each other --------------------------------------------------------------------------


def lines(values, xlabel, ylabel, x=None, percent=False, errors=None, level=None):
    """Up to four lines over a common axis, one a name (dict of name to values), told apart by dashes, too.

    x: places of the values, else 0, 1, 2 ...; errors: dict of name to standard errors, drawn as bands of two; level:
    name and height of a level line to compare with.
    """
    figure, axes = _panels((8, 3.2), grid="both")
    looks = [(BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PINK, ":")][: len(values)]
    for (name, line), (colour, dashes) in zip(values.items(), looks, strict=True):
        places, line = np.asarray(range(len(line)) if x is None else x), np.asarray(line)
        axes.plot(places, line, dashes, color=colour, label=name, marker="o" if len(line) < 30 else None, ms=4)
        if errors and name in errors:
            spread = 2 * np.asarray(errors[name])
            axes.fill_between(places, line - spread, line + spread, color=colour, alpha=0.15, lw=0)
    if level:
        axes.axhline(level[1], color="0.5", lw=1, label=level[0])
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    if x is not None and len(x) < 8:  # a tick for each value
        axes.set_xticks(x)
    if percent:
        _in_percent(axes.yaxis)
    figure.legend(loc="outside upper center", ncols=min(3, len(axes.lines)), frameon=False)
    return figure


# -- the network -----------------------------------------------------------------------------------------------------


def shapes(sides, channels, expanded):
    """What passes through a network, block by block: pixels of a side, and channels in the thin and wide tensors.

    sides, channels: of the tensor that each block puts out; expanded: channels between its expansion and projection.
    """
    figure, (left, right) = _panels((8, 3.2), 1, 2, width_ratios=(1, 1.5))
    places = np.arange(len(sides))
    left.bar(places, sides, color=ORANGE, alpha=0.75)
    left.set(title="Pixels a side", xlabel="block")
    right.bar(places, expanded, color=BLUE, alpha=0.25, label="expanded, inside the block")
    right.bar(places, channels, 0.4, color=BLUE, label="thin, between blocks")  # inside the pale ones, not on them
    right.set(title="Channels", xlabel="block")
    right.legend(frameon=False, loc="upper left")
    for axes in (left, right):
        axes.set_xticks(places[::2])
    return figure


def rounding(widths, rows):
    """Channels given against channels asked, over the width multiplier. rows: {channels at width 1: given (n,)}."""
    figure, axes = _panels((8, 3), grid="y")
    for (channels, given), colour in zip(rows.items(), (BLUE, ORANGE, GREEN, PINK), strict=False):
        axes.plot(widths, channels * np.asarray(widths), color="grey", lw=1, ls="--")
        axes.step(widths, given, where="mid", color=colour, lw=2)
        end = (widths[-1], given[-1])
        axes.annotate(f"{channels} at width 1", end, (6, 0), textcoords="offset points", va="center")
    axes.plot([], [], color="grey", lw=1, ls="--", label="asked for: channels × width")
    axes.plot([], [], color="0.2", lw=2, label="given: a multiple of eight")
    axes.set(xlabel="width multiplier", ylabel="channels", yticks=range(0, int(axes.get_ylim()[1]) + 1, 8))
    axes.set_xlim(widths[0], widths[-1] + 0.16 * (widths[-1] - widths[0]))
    axes.legend(frameon=False, loc="upper left")
    return figure


def scaling(panels):
    """Cost against one setting, relative to the setting's standard, with the square for comparison.

    panels: {name of the setting: (values, standard, cost relative to the standard's)}.
    """
    figure, _ = _panels((8, 3.2), 1, len(panels), grid="both", sharey=True)
    for axes, (name, (values, standard, relative)) in zip(figure.axes, panels.items(), strict=True):
        values = np.asarray(values)
        axes.plot(values, (values / standard) ** 2, color=ORANGE, lw=6, alpha=0.35, label="the square")
        axes.plot(values, relative, color=BLUE, marker="o", ms=4, label="multiply-adds")
        axes.set(xlabel=name)
    figure.axes[0].set(ylabel="multiply-adds, relative to\nwidth 1 at 224 px", ylim=(0, None))
    figure.axes[0].legend(frameon=False, loc="upper left")
    return figure


def features(picture, name, maps, most=12):
    """A picture (h, w, 3) uint8 under its name, and the first channels of what layers make of it.

    maps: {title: (h, w, c)}, c even. Each channel is drawn in its own greys, from its lowest value to its highest.
    """
    figure = Figure(figsize=(8, 2.1 * len(maps)), layout="constrained")
    grid = figure.add_gridspec(len(maps), 2, width_ratios=(1, 3.4), hspace=0.1)
    shown = {escaped(name): (grid[:, 0], picture)}
    shown |= {title: (grid[row, 1], _tiles(maps[title][..., :most])) for row, title in enumerate(maps)}
    for title, (place, pixels) in shown.items():
        axes = figure.add_subplot(place)
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.axis("off")
    return figure


def _tiles(values, side=64, gap=6):
    """The channels of (h, w, c) as pictures of `side` pixels in two rows, each from 0 to 1, white between them."""
    low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
    values = (values - low) / np.maximum(high - low, 1e-9)
    rows, columns = (np.arange(side) * extent // side for extent in values.shape[:2])
    tiles = np.moveaxis(values[rows][:, columns], -1, 0)  # every pixel repeated: (c, side, side)
    tiles = np.pad(tiles, [(0, 0), (gap, 0), (gap, 0)], constant_values=1)
    return np.block([list(row) for row in np.array_split(tiles, 2)])


# -- the series, the block, the data set -------------------------------------------------------------------------------


def series(stations):
    """The series as a line with stations, three in a row: {number: (title, what a reader ends with)}."""
    figure, axes = _panels((8, 4.2))
    track = []
    for place, (number, (title, ending)) in enumerate(stations.items()):
        row, column = divmod(place, 3)
        x, colour = 2 - column if row % 2 else column, (BLUE, ORANGE, GREEN)[row]
        if row and not column:  # the line turns beside the page's edge, clear of the words
            track += [(2.5 if x else -0.5, 1 - row), (2.5 if x else -0.5, -row)]
        track.append((x, -row))
        axes.scatter(x, -row, s=560, zorder=2, color=colour, linewidth=2)
        looks = {"ha": "center", "va": "center", "fontsize": 11, "weight": "bold"}
        axes.text(x, -row, number, color="white", **looks)
        axes.text(x, -row - 0.27, title, **looks)
        axes.text(x, -row - 0.38, ending, ha="center", va="top", fontsize=9, color="0.3")
    axes.plot(*zip(*track, strict=True), color="0.82", lw=7, zorder=1, solid_joinstyle="round")
    for edge, height in ((2.5, -0.5), (-0.5, -1.5)):  # the way to go, where the line turns
        axes.plot([edge], [height], "v", color="0.6", ms=15, mew=0, zorder=2)
    axes.set(xlim=(-0.6, 2.6), ylim=(-2.66, 0.2))
    axes.set_axis_off()
    return figure


def answers(pictures, labels, probabilities, classes):
    """Pictures in a row under their true class, and below each the likeliest classes; the true one is blue."""
    figure, top = Figure(figsize=(8, 2.5)), min(3, len(classes))
    axes = figure.subplots(2, len(pictures), height_ratios=(3, 1.7), squeeze=False)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.91, wspace=0.08, hspace=0.05)
    for (above, below), picture, label, row in zip(axes.T, pictures, labels, probabilities, strict=True):
        likeliest = np.argsort(-row, kind="stable")[:top]
        above.imshow(picture)
        above.set_title(escaped(classes[label]), fontsize=9)
        colours = ["#99C7E0" if index == label else "0.85" for index in likeliest]
        below.barh(range(top), row[likeliest], color=colours)
        for line, index in enumerate(likeliest):
            words = f"{escaped(classes[index])} {row[index]:.0%}"
            below.text(0.02, line, words, va="center", fontsize=8)
        below.set(xlim=(0, 1), ylim=(top - 0.5, -0.5))
        above.axis("off")
        below.axis("off")
    return figure


def three_convolutions():
    """Which values of the input one value of the output reads: in a convolution, a depthwise and a pointwise one."""
    figure, panels = _panels((8, 3.3), 1, 3)
    channels, everywhere, middle = 4, range(4), [2]
    kinds = (("convolution", 3, everywhere), ("depthwise", 3, middle), ("pointwise", 1, everywhere))
    for axes, (name, kernel, read) in zip(panels, kinds, strict=True):
        for channel in range(channels):
            _sheet(axes, 0, channel, kernel if channel in read else 0, BLUE)
            _sheet(axes, 11, channel, int(channel in middle), ORANGE)
        for channel in read:
            ends = _on_sheet(0, channel, 2.5, 2.5), _on_sheet(11, middle[0], 2.5, 2.5)
            axes.plot(*zip(*ends, strict=True), color="0.4", lw=0.8)
        axes.set_title(f"{name}: {kernel} × {kernel} × {len(read)}", fontsize=10)
        axes.text(3.6, -0.7, "input", ha="center", va="top", fontsize=9, color=BLUE)
        axes.text(14.6, -0.7, "output", ha="center", va="top", fontsize=9, color=ORANGE)
        axes.set(xlim=(-0.8, 19.3), ylim=(-1.8, 3.1 * channels - 0.4))
        axes.set_axis_off()
    return figure


def _on_sheet(left, channel, row, column):
    """Where a place of one channel lies on the page; channels are sheets above each other, seen aslant."""
    return left + column + 0.45 * row, 3.1 * channel + 0.5 * row


def _sheet(axes, left, channel, size, colour, cells=5):
    """One channel of 5 x 5 values, with the `size` x `size` values in its middle coloured."""
    first = (cells - size) // 2
    for row in range(cells):
        for column in range(cells):
            corners = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
            chosen = first <= row < first + size and first <= column < first + size
            shape = zip(*(_on_sheet(left, channel, *corner) for corner in corners), strict=True)
            axes.fill(*shape, facecolor=colour if chosen else "0.96", edgecolor="0.6", lw=0.5)


def memory(megabytes):
    """What stands in memory while a block works: {name: (megabytes of its ends, megabytes of its middle)}."""
    figure, axes = _panels((8, 2.6))
    ends, middle = (list(part) for part in zip(*megabytes.values(), strict=True))
    axes.barh(list(megabytes), ends, color=BLUE, label="held at the ends")
    bars = axes.barh(list(megabytes), middle, left=ends, color=ORANGE, label="between them")
    axes.bar_label(bars, [f"{sum(pair):.2f}" for pair in megabytes.values()], padding=4, fontsize=9)
    axes.set(xlabel="megabytes at the worst moment", xlim=(0, 1.12 * max(map(sum, megabytes.values()))))
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def gallery(pictures, titles, columns=8, rows=()):
    """Small pictures (n, h, w, 3) uint8 in rows of `columns`, each under its title of one or two lines.

    rows: a name for each row, written beside it.
    """
    count, letters = -(-len(titles) // columns), 104 // columns  # of rows; of a line above a picture
    titled = sum(any(titles[row * columns :][:columns]) for row in range(count))
    titles = ["\n".join(textwrap.fill(escaped(line), letters) for line in title.split("\n")) for title in titles]
    figure = Figure(figsize=(9, count * 9 / columns + titled * 0.42), layout="constrained")
    for axes in figure.subplots(count, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, picture, title in zip(figure.axes, pictures, titles, strict=False):
        axes.imshow(picture, interpolation="nearest" if len(picture) <= 64 else None)
        axes.set_title(title, fontsize=9)
    for axes, name in zip(figure.axes[::columns], rows, strict=False):
        looks = {"rotation": 90, "ha": "right", "va": "center", "weight": "bold", "fontsize": 9}
        axes.text(-0.05, 0.5, escaped(name), transform=axes.transAxes, **looks)
    return figure


def class_maps(pictures, maps, titles):
    """Pictures (n, h, w, 3) uint8 under their titles, and below each what its places give to classes.

    maps: dict of a row's name to (n, rows, columns). White is nothing or less; the deepest orange, the most in any map
    of that picture.
    """
    pale = np.repeat(150 + 0.4 * pictures.mean(axis=-1, keepdims=True), 3, axis=-1).astype("uint8")
    tiles, names = np.concatenate([pictures, *[pale] * len(maps)]), [*titles, *[""] * len(titles) * len(maps)]
    figure = gallery(tiles, names, columns=len(pictures), rows=["", *maps])
    layers, shades = np.stack(list(maps.values())), LinearSegmentedColormap.from_list("", ["white", ORANGE])
    most = np.tile(layers.max(axis=(0, 2, 3)), len(maps))
    for axes, one, top in zip(figure.axes[len(pictures) :], np.concatenate(layers), most, strict=True):
        axes.imshow(one, cmap=shades, vmin=0, vmax=top, alpha=0.7, extent=axes.images[0].get_extent())
    return figure


def superclasses(pictures, classes, members):
    """One picture a class, five in a row under the name of their superclass, and two superclasses side by side.

    pictures: one a class, uint8 RGB, in the order of `classes`; members: dict of superclass to the names in it.
    """
    figure = Figure(figsize=(8.4, 12.4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for number, (superclass, names) in enumerate(members.items()):
        left, top = 8 + 424 * (number % 2), 124 * (number // 2)
        axes.text(left, top + 14, escaped(superclass), fontsize=10, weight="bold", color=BLUE)
        for place, name in enumerate(names):
            x = left + 82 * place
            picture = pictures[list(classes).index(name)]
            axes.imshow(picture, extent=(x, x + 64, top + 84, top + 20), interpolation="nearest")
            for line, words in enumerate(name.split("_", 1)):
                axes.text(x + 32, top + 95 + 11 * line, escaped(words), fontsize=8, ha="center", va="baseline")
    axes.set(xlim=(0, 840), ylim=(1240, 0), aspect="auto")  # hundredths of an inch, from the top left corner
    return figure


# -- how good the answers are ----------------------------------------------------------------------------------------


def exams(results, truth):
    """Simulated results of many exams, one panel a size: {pictures: shares (n,)}, all on one axis; truth: a share."""
    figure, panels = _panels((8, 2.4), 1, len(results), sharex=True)
    every = np.concatenate(list(results.values()))
    low, high = every.min(), every.max()
    for axes, (count, shares) in zip(panels, results.items(), strict=True):
        step = max(0.005, 1 / count)  # no finer than a picture, or the bars would show a comb
        axes.hist(shares, bins=np.arange(low - step / 2, high + step, step), color=BLUE, alpha=0.75)
        axes.axvline(truth, color=ORANGE, ls="--", label="the truth")
        axes.set(title=f"{count:,} pictures", xlabel="result of an exam", yticks=[])
        _in_percent(axes.xaxis)
        axes.spines["left"].set_visible(False)
    axes.legend(frameon=False, loc="upper right", fontsize=9)  # in the last panel, where the bars are few
    return figure


def best_of(counts, best, truth):
    """The best of so many measurements (a list of arrays of simulated ones) against what is true."""
    figure, axes = _panels((8, 3))
    low, high = np.transpose([np.quantile(shares, (0.05, 0.95)) for shares in best])
    axes.fill_between(counts, low, high, color=BLUE, alpha=0.2, lw=0, label="nine of ten simulations")
    mean = [shares.mean() for shares in best]
    axes.plot(counts, mean, color=BLUE, marker="o", ms=4, label="best measurement, on average")
    axes.axhline(truth, color=ORANGE, ls="--", label="the truth")
    axes.set(xscale="log", xticks=counts, xticklabels=counts, ylabel="top-1")
    axes.set_xlabel("measurements to choose from, logarithmic")
    axes.minorticks_off()
    _in_percent(axes.yaxis)
    axes.legend(frameon=False, loc="upper left")
    return figure


def confusions(confusion, names):
    """A confusion matrix of counts as a heat map, each row in percent of its pictures; mistakes set the colours."""
    import seaborn  # takes a second: only when asked for

    percent = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)  # of none, none
    mistakes = percent[~np.eye(len(percent), dtype=bool)]
    figure, axes = _panels((8.2, 6.8))
    labels = np.where(percent >= 0.5, np.char.mod("%.0f", percent), "")
    names = [escaped(name) for name in names]
    most = mistakes.max(initial=1)  # of the diagonal it would be too much, and wash out what is asked for
    bar = {"label": "% of the row's pictures", "shrink": 0.6}
    looks = {"annot_kws": {"size": 7.5}, "square": True, "linewidths": 0.5, "cbar_kws": bar, "cmap": "Blues"}
    seaborn.heatmap(
        percent, ax=axes, annot=labels, fmt="", xticklabels=False, yticklabels=names, vmin=0, vmax=most, **looks
    )
    for place in range(len(percent)):
        axes.add_patch(Rectangle((place, place), 1, 1, color="0.45", lw=0))  # no mistake, whatever its number
    axes.set(xlabel="taken for", ylabel="truth")
    axes.tick_params(labelsize=8, length=0)
    axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=45, ha="right", rotation_mode="anchor")
    return figure


def class_bars(accuracy, counts, names, most=10):
    """The classes with the lowest and the highest accuracy, `most` of each, with `evaluation.interval`.

    counts: pictures of each class. A class without pictures, whose accuracy is nan, is neither.
    """
    figure, panels = _panels((8, 0.27 * most + 0.7), 1, 2, sharex=True)
    order = np.argsort(accuracy, kind="stable")[: np.isfinite(accuracy).sum()]  # nan stands last
    parts = (("the hardest", order[:most][::-1], ORANGE), ("the easiest", order[-most:], BLUE))
    for axes, (title, rows, colour) in zip(panels, parts, strict=True):
        axes.barh([escaped(names[row]) for row in rows], accuracy[rows], color=colour, alpha=0.75)
        low, high = interval(accuracy[rows], counts[rows])
        reach = accuracy[rows] - low, high - accuracy[rows]
        axes.errorbar(accuracy[rows], range(len(rows)), xerr=reach, fmt="none", color="black", lw=1)
        axes.set(title=title, xlim=(0, 1.02), xlabel="accuracy")
        _in_percent(axes.xaxis)
    return figure


def reliability(confidence, accuracy, count):
    """What `evaluation.calibration` returns: accuracy against confidence, and how many pictures each bin holds."""
    figure, (left, right) = _panels((8, 3.4), 1, 2, width_ratios=(1.2, 1))
    low, high = interval(accuracy, count)
    left.plot([0, 1], [0, 1], color="grey", ls="--", label="perfectly calibrated")
    reach = accuracy - low, high - accuracy
    left.errorbar(confidence, accuracy, yerr=reach, color=BLUE, marker="o", ms=4, capsize=2, label="the network")
    left.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.03))
    left.legend(frameon=False, loc="lower right")
    edges = np.linspace(0, 1, len(count) + 1)
    right.bar(edges[:-1], count, width=edges[1] * 0.9, align="edge", color=BLUE, alpha=0.75)
    right.set(xlabel="confidence", ylabel="pictures", xlim=(0, 1))
    for axes in (left, right):
        _in_percent(axes.xaxis)
    _in_percent(left.yaxis)
    return figure


def claims(figures, suspect):
    """Top-1 accuracies by name as dots on a line; the one named `suspect` stands out."""
    figure, axes = _panels((8, 0.3 * len(figures) + 0.8), grid="both")
    for name, top1 in figures.items():
        colour, marker = (ORANGE, "D") if name == suspect else (BLUE, "o")
        axes.plot([top1], [name], color=colour, marker=marker, ms=8)
        axes.annotate(f"{top1:.2%}", (top1, name), (9, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set(xlabel="top-1 on CIFAR-100, as reported", xlim=(0.6, 1), ylim=(-0.6, len(figures) - 0.4))
    _in_percent(axes.xaxis)
    return figure


# -- what a network gives for what it takes --------------------------------------------------------------------------

LOOKS = list(zip((BLUE, ORANGE, "0.25", GREEN, PINK, "#56b4e9", "#949494"), "vosD^PX", strict=True))


def against(panels, xlabel, ylabel, percent=True):
    """Points joined by lines over a logarithmic cost, named so, a line a name, in panels side by side.

    panels: {title: {name: rows of (cost, value) or of (cost, value, error)}}; errors are drawn doubled; percent: values
    are shares, else their axis begins at zero.
    """
    figure, _ = _panels((8, 3.6), 1, len(panels), grid="both")
    names = dict.fromkeys(name for rows_of in panels.values() for name in rows_of)
    looks = dict(zip(names, LOOKS, strict=False))  # a name looks the same in every panel
    for axes, (title, rows_of) in zip(figure.axes, panels.items(), strict=True):
        for name, rows in rows_of.items():
            colour, marker = looks[name]
            cost, value, *error = np.transpose(sorted(rows))
            error = 2 * error[0] if error else None
            axes.errorbar(cost, value, error, color=colour, marker=marker, ms=5, lw=1.3, elinewidth=1, label=name)
        axes.set(title=title, xlabel=f"{xlabel}, logarithmic", xscale="log")
        axes.margins(x=0.08, y=0.12)
        _plain_ticks(axes.xaxis)
        if percent:
            _in_percent(axes.yaxis)
        else:
            axes.set_ylim(0, None)
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel(ylabel)
    return figure


def _plain_ticks(axis):
    """1, 2, 5, 10 ... on a logarithmic axis, written out."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def fronts(panels, names, accuracies, errors):
    """Accuracy against several costs: those on each front filled, joined and named, the others hollow.

    panels, four: {cost: (values (n,), rows on the front)}; names, accuracies, errors: (n,); errors are drawn doubled.
    """
    figure, _ = _panels((8.4, 6.4), 2, 2, grid="both", sharey=True)
    accuracies, errors = np.asarray(accuracies), np.asarray(errors)
    for axes, (cost, (values, front)) in zip(figure.axes, panels.items(), strict=True):
        values = np.asarray(values)
        axes.errorbar(values, accuracies, 2 * errors, fmt="none", ecolor="0.7", elinewidth=1, zorder=0)
        beaten = np.setdiff1d(np.arange(len(values)), front)
        axes.plot(values[beaten], accuracies[beaten], "o", ms=8, color="white", mec="0.5")  # a ring around one above it
        axes.plot(values[front], accuracies[front], "o-", ms=6, color=BLUE)
        crowded = [one for one, other in itertools.pairwise(front) if values[other] < 1.08 * values[one]]
        for row in front:  # to the upper left of a point on the front no other can be
            ha, va, offset = ("left", "top", (4, -3)) if row in crowded else ("right", "bottom", (-4, 3))
            looks = {"rotation": -40, "ha": ha, "va": va, "rotation_mode": "anchor", "fontsize": 8}
            where = {"xytext": offset, "textcoords": "offset points"}
            words = axes.annotate(names[row], (values[row], accuracies[row]), **where, **looks)
            words.set_path_effects([withStroke(linewidth=2, foreground="white")])
        axes.set(xlabel=f"{cost}, logarithmic", xscale="log")
        axes.set_xlim(values.min() / 1.8, values.max() * 1.2)
        _plain_ticks(axes.xaxis)
        _in_percent(axes.yaxis)
    for axes in figure.axes[::2]:
        axes.set_ylabel("top-1")
    looks = ((BLUE, BLUE, "on the front"), ("white", "0.5", "another costs no more and is no worse"))
    handles = [Line2D([], [], marker="o", ls="", color=fill, mec=edge, label=label) for fill, edge, label in looks]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def seeds(groups, errors, xlabel):
    """A line a group: a dot for each seed's result, and the mean with two standard errors either way.

    groups: {name: results}; errors: {name: standard error of the mean}.
    """
    figure, axes = _panels((8, 0.46 * len(groups) + 1.0), grid="x")
    for row, (name, results) in enumerate(groups.items()):
        axes.plot(results, [row - 0.15] * len(results), "o", ms=7, color=BLUE, alpha=0.6, mew=0, label="a seed")
        looks = {"fmt": "|", "ms": 14, "mew": 2, "color": ORANGE, "lw": 1.5, "label": "their mean and two errors"}
        axes.errorbar([np.mean(results)], [row + 0.15], xerr=2 * errors[name], **looks)
    told = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))  # each once
    figure.legend(told.values(), told, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    axes.set(xlabel=xlabel, ylim=(len(groups) - 0.5, -0.5))
    axes.set_yticks(range(len(groups)), list(groups))
    _in_percent(axes.xaxis)
    return figure


def shares(rows, columns):
    """How several wholes are shared out among the same parts: a stacked bar a whole.

    rows: {whole: shares that sum to 1}; columns: the names of the parts, keys of `LAYER_KINDS` or "other".
    """
    figure, axes = _panels((8, 0.5 * len(rows) + 0.7))
    values = np.array(list(rows.values()))
    for place, name in enumerate(columns):
        left = values[:, :place].sum(axis=1)
        bars = axes.barh(list(rows), values[:, place], left=left, color=LAYER_KINDS.get(name, "0.3"), label=name)
        told = [f"{share:.0%}" if share > 0.035 else "" for share in values[:, place]]
        ink = "black" if name == "add" else "white"
        axes.bar_label(bars, told, label_type="center", color=ink, fontsize=9)
    axes.set(xlim=(0, 1))
    axes.invert_yaxis()
    _in_percent(axes.xaxis)
    figure.legend(loc="outside upper center", ncols=len(columns), frameon=False, fontsize=9)
    return figure


def roofline(points, peak, bandwidths):
    """Speed against multiply-adds per byte, under what a machine can do at most.

    points: {kind: (multiply-adds per byte (n,), multiply-adds a second (n,))}, kinds as in `shares`; peak:
    multiply-adds a second; bandwidths: {how much is copied: bytes a second}.
    """
    figure, axes = _panels((8, 4.4), grid="both")
    every = np.concatenate([work for work, _ in points.values()])
    low, high = every.min() / 1.6, every.max() * 2
    for (name, bandwidth), dashes in zip(bandwidths.items(), ("-", "--", ":"), strict=False):
        ridge = np.clip(peak / bandwidth, low, high)
        label = f"a copy of {name}: {bandwidth / 1e9:.0f} GB a second"
        axes.plot([low, ridge, high], np.minimum(peak, np.array([low, ridge, high]) * bandwidth) / 1e9, dashes)
        axes.lines[-1].set(color="0.45", label=label, lw=1.5)
    axes.axhline(peak / 1e9, color="black", lw=1.5, label=f"matrix product: {peak / 1e9:.0f} G multiply-adds a second")
    for kind, (work, speed) in points.items():
        looks = {"marker": MARKERS.get(kind, "D"), "color": LAYER_KINDS.get(kind, "0.3")}
        axes.plot(work, speed / 1e9, ls="", ms=6, alpha=0.8, mew=0, label=kind, **looks)
    axes.set(xscale="log", yscale="log", xlabel="multiply-adds per byte moved", ylabel="G multiply-adds a second")
    axes.set_xlim(low, high)
    for axis in (axes.xaxis, axes.yaxis):
        _plain_ticks(axis)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


# -- a file for small machines ---------------------------------------------------------------------------------------

OTHERS = "stem, head, pool, classifier"
LAYER_KINDS = {"expand": BLUE, "depthwise": ORANGE, "project": GREEN, "add": PINK, OTHERS: "0.3"}
MARKERS = dict(zip(LAYER_KINDS, "os^PD", strict=True))


def layer_errors(errors):
    """The relative error of each layer of a network, in order, coloured by kind. errors: {layer: error}."""
    figure, axes = _panels((8, 3.4), grid="y")
    names, values = list(errors), np.array(list(errors.values()))
    axes.plot(values, color="0.8", lw=1, zorder=0)
    for kind, colour in LAYER_KINDS.items():
        rows = [row for row, name in enumerate(names) if kind == (name.rpartition("_")[2] if "_" in name else OTHERS)]
        axes.plot(rows, values[rows], MARKERS[kind], ms=6, mew=0, color=colour, label=kind)
    last = {name.split("_")[1]: row for row, name in enumerate(names) if name.startswith("block")}
    axes.set_xticks(list(last.values()), list(last))
    axes.set(xlabel="layer; the ticks are the ends of the blocks", ylabel="relative error", ylim=(0, None))
    _in_percent(axes.yaxis)
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    return figure


def latencies(milliseconds):
    """How long one picture takes, a dot a way of asking, on a logarithmic axis: {name: milliseconds}."""
    figure, axes = _panels((8, 0.36 * len(milliseconds) + 0.7), grid="both")
    for name, value in milliseconds.items():
        colour = ORANGE if name.startswith("int8") else BLUE if name.startswith("float32") else "0.4"
        axes.plot([value], [name], "o", color=colour, ms=8)
        told = f"{value:.{int(value < 10)}f} ms"
        axes.annotate(told, (value, name), (9, 0), textcoords="offset points", va="center", fontsize=9)
    low, high = min(milliseconds.values()), max(milliseconds.values())
    axes.set(xscale="log", xlabel="milliseconds for one picture, logarithmic", xlim=(low / 2, 3 * high))
    axes.set_ylim(len(milliseconds) - 0.4, -0.6)
    _plain_ticks(axes.xaxis)
    return figure


def spaced(name):
    """A class name as words."""
    return name.replace("_", " ")


def escaped(name):
    """A class name as words of a figure with axes, where a plain $ would begin a formula."""
    return spaced(name).replace("$", r"\$")
