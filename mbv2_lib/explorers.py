"""Sliders over the arithmetic of the network and over pictures, for notebooks.

Each explorer is three pure functions under one set of controls: values to data, data to a figure (`drawings.py`), data
to words. They can be called without a widget, too: `drawings.block(compare_blocks(expansion=6))` is the still picture.
"""

from collections import Counter
from functools import partial
from html import escape
from typing import NamedTuple

import cv2
import numpy as np
from ipywidgets import (
    HTML,
    Box,
    Button,
    Dropdown,
    FloatSlider,
    Image,
    IntSlider,
    Layout,
    SelectionSlider,
    Textarea,
    VBox,
)
from traitlets import Unicode

from mbv2_lib import drawings, folders, quantization, trade_offs
from mbv2_lib.architecture import ROWS, Block
from mbv2_lib.costs import PUBLISHED_RESULTS, convolution_cost, inverted_residual_cost, network_cost, residual_cost


class Picture(Image):
    """An Image with a name for screen readers: ipywidgets shows a tooltip only where there is a description, too."""

    description = Unicode("").tag(sync=True)


# ipywidgets tells a screen reader neither what a slider is called nor, where its stops are no row of numbers, what it
# stands at. This page element does, as soon as the browser has it: it copies both from the label and the readout. It
# also keeps JupyterLab, which moves between headings with the arrow keys, from taking them away from the sliders.
NAMES = """<img hidden alt="" src="data:," onerror="(function begin(mark) {
    const box = mark.closest('.mbv2-explorer');
    if (!box) return setTimeout(begin, 50, mark);
    const tell = () => {
        for (const handle of box.querySelectorAll('[role=slider]')) {
            const control = handle.closest('.widget-slider'), readout = control.querySelector('.widget-readout');
            handle.setAttribute('aria-label', control.querySelector('.widget-label').textContent);
            handle.setAttribute('aria-valuetext', readout.textContent);
            handle.dataset.lmSuppressShortcuts = 'true';
            readout.setAttribute('role', 'textbox');
            readout.setAttribute('aria-label', handle.getAttribute('aria-label'));
        }
        box.querySelector('.mbv2-words')?.setAttribute('role', 'status');
    };
    const changes = {childList: true, subtree: true, attributes: true, attributeFilter: ['aria-valuenow']};
    new MutationObserver(tell).observe(box, changes);
    tell();
})(this)">"""


class Explorer(VBox):
    """Controls, the picture of what they ask for, and the same in words; moving a control renews both.

    controls: dict of name to widget; the names are the arguments of `compute`.
    compute: values to data; draw: data to a Figure; describe: data to a text, which a screen reader is told.
    words_lines: lines that the longest text needs; the room is kept, so that the page never jumps.
    """

    def __init__(self, controls, compute, draw, describe, words_lines=3):
        self.controls, self.compute, self.draw, self.describe = controls, compute, draw, describe
        self.picture = Picture(format="png", tooltip="A picture; the text below says what it shows")
        self.words = HTML(
            _dom_classes=["mbv2-words"], layout=Layout(min_height=f"{1.6 * words_lines}em", margin="0 0 0 0.5em")
        )
        knobs = Box(list(controls.values()), layout=Layout(flex_flow="row wrap"))
        names = HTML(NAMES, layout=Layout(display="none"))
        super().__init__([knobs, self.picture, self.words, names], _dom_classes=["mbv2-explorer"])
        for control in controls.values():
            control.observe(self.renew, names="value")
        self.renew()
        height, width = cv2.imdecode(np.frombuffer(self.picture.value, np.uint8), cv2.IMREAD_COLOR).shape[:2]
        self.picture.layout = Layout(width=f"{width}px", height=f"{height}px", max_width="100%", object_fit="contain")

    def values(self):
        """What the controls stand at, by name. A browser sends 0.15000000000000002 for 0.15: rounded here."""
        values = {name: control.value for name, control in self.controls.items()}
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in values.items()}

    def renew(self, change=None):
        """Compute, draw and tell what the controls ask for."""
        data = self.compute(**self.values())
        self.words.value = f'<div style="line-height: 1.5">{self.describe(data)}</div>'
        self.picture.value = drawings.png(self.draw(data))


def whole(description, tooltip, value, least, most, step=1):
    """A slider over whole numbers."""
    return IntSlider(value, least, most, step, description=description, tooltip=tooltip, **LOOKS)


def fraction(description, tooltip, value, least, most, step):
    """A slider over numbers with two decimals."""
    return FloatSlider(value, min=least, max=most, step=step, description=description, tooltip=tooltip, **LOOKS)


def choice(description, tooltip, value, options):
    """A slider over a few values."""
    return SelectionSlider(options=options, value=value, description=description, tooltip=tooltip, **LOOKS)


LOOKS = {"style": {"description_width": "9em"}, "layout": Layout(width="27em")}


# -- one block -------------------------------------------------------------------------------------------------------


class BlockComparison(NamedTuple):
    """An inverted residual and its costs (NetworkCost) beside those of other blocks with the same input and output."""

    block: Block
    resolution: int  # pixels of a side
    resolution_out: int  # the same of the output
    costs: dict


def compare_blocks(channels=24, filters=24, expansion=6, strides=1, resolution=56):
    """The costs of an inverted residual, a standard residual block and a plain 3 x 3 convolution, same ends."""
    costs = {
        "inverted residual": inverted_residual_cost(channels, filters, strides, expansion, resolution),
        "standard residual": residual_cost(channels, filters, strides, resolution),
        "plain convolution": convolution_cost(channels, filters, strides, resolution),
    }
    block = Block("block", channels, filters, strides, expansion)
    return BlockComparison(block, resolution, -(-resolution // strides), costs)


def block_words(comparison):
    """What `drawings.block` shows."""
    block = comparison.block
    lines = [
        f"{name}: {cost.parameters:,} parameters, {cost.madds:,} multiply-adds, {cost.peak_activation_bytes:,} bytes"
        for name, cost in comparison.costs.items()
    ]
    widths = [block.channels, block.expanded, block.filters]
    if block.expansion == 1:
        widths.remove(block.expanded)
    path = " to ".join(f"{width}" for width in widths)
    end = "with a shortcut" if block.shortcut else "without a shortcut"
    size = f"{comparison.resolution} to {comparison.resolution_out} pixels a side"
    return f"{path} channels, {size}, {end}.<br>" + ";<br>".join(lines).capitalize() + " of memory at the peak."


def block_explorer():
    """Sliders over one inverted residual: its shape and its cost, beside a residual block and a convolution."""
    controls = {
        "channels": whole("Input channels", "Channels of the tensor that the block reads", 24, 8, 320, 8),
        "filters": whole("Output channels", "Channels of the tensor that the block leaves", 24, 8, 320, 8),
        "expansion": whole("Expansion", "How many times the block widens its input", 6, 1, 10),
        "strides": whole("Stride", "2 halves height and width", 1, 1, 2),
        "resolution": choice("Resolution", "Height and width of the input, in pixels", 56, (7, 14, 28, 56, 112)),
    }
    return Explorer(controls, compare_blocks, drawings.block, block_words, 4)


# -- the network -----------------------------------------------------------------------------------------------------

STAGES = ("stem", *(f"row {row}" for row in range(1, 8)), "head", "classifier")
KINDS = ("expand", "depthwise", "project", "other")


class NetworkView(NamedTuple):
    """A network's settings, its cost, and its multiply-adds by stage and by kind: (10, 4), STAGES by KINDS."""

    alpha: float
    expansion: int
    resolution: int
    classes: int
    cost: object
    madds: np.ndarray
    filters: tuple  # channels that each stage puts out

    @property
    def published(self):
        """The published network with just these settings, or None: measured with 1000 classes and expansion 6."""
        same = [row for row in PUBLISHED_RESULTS if (row.alpha, row.resolution) == (self.alpha, self.resolution)]
        return same[0] if same and (self.expansion, self.classes) == (6, 1000) else None


def view_network(alpha=1.0, expansion=6, resolution=224, classes=1000):
    """The cost of a MobileNetV2, sorted by stage (stem, the seven rows of Table 2, head, classifier) and kind."""
    cost = network_cost(alpha, expansion, resolution, classes)
    row_of = [row for row, (_, _, repeats, _) in enumerate(ROWS, start=1) for _ in range(repeats)]  # of each block
    stage_of = {"stem": 0, "head": 8, "pool": 8, "classifier": 9}
    madds, filters = np.zeros((len(STAGES), len(KINDS)), np.int64), [0] * len(STAGES)
    for layer in cost.layers:  # called block_3_expand, or head
        part, number = f"{layer.name}_".split("_")[:2]
        stage = row_of[int(number)] if part == "block" else stage_of[part]
        kind = layer.name.rpartition("_")[2]
        madds[stage, KINDS.index(kind if kind in KINDS else "other")] += layer.madds
        filters[stage] = layer.output_shape[-1]
    return NetworkView(alpha, expansion, resolution, classes, cost, madds, tuple(filters))


def network_words(view):
    """What `drawings.network` shows."""
    cost, stages = view.cost, view.madds.sum(axis=1)
    most = int(stages.argmax())
    nearest = min(PUBLISHED_RESULTS, key=lambda row: abs(np.log(row.million_madds * 1e6 / cost.madds)))
    if view.published:
        place = f"Published with just these settings: {view.published.top1}% top-1 on ImageNet"
    else:
        place = (
            f"Published and nearest in cost: width {nearest.alpha}, {nearest.resolution} pixels, "
            f"{nearest.million_madds} M multiply-adds, {nearest.top1}% top-1 on ImageNet"
        )
    return (
        f"Width {view.alpha:.2f}, expansion {view.expansion}, {view.resolution} pixels, {view.classes} classes: "
        f"{cost.madds:,} multiply-adds, {cost.parameters:,} parameters, {cost.peak_activation_bytes:,} bytes of memory "
        f"at the peak.<br>The largest share of the work, {stages[most] / cost.madds:.0%}: {STAGES[most]}.<br>{place}."
    )


def network_explorer():
    """Sliders over the whole network: where its cost lies, and where it stands among the published ones."""
    controls = {
        "alpha": fraction("Width", "Width multiplier: scales the channels", 1.0, 0.35, 1.4, 0.05),
        "expansion": whole("Expansion", "How many times a block widens its input", 6, 1, 10),
        "resolution": whole("Resolution", "Height and width of the picture, in pixels", 224, 32, 288, 32),
        "classes": choice("Classes", "Outputs of the last layer", 1000, (10, 20, 100, 1000)),
    }
    return Explorer(controls, view_network, drawings.network, network_words, 4)


# -- why the bottleneck is linear ------------------------------------------------------------------------------------


class RoundTrip(NamedTuple):
    """Points (n, 2) that went through ReLU in `dimensions` dimensions, and what came back of them."""

    dimensions: int
    points: np.ndarray
    returned: np.ndarray  # (n, 2), scaled by the one factor that fits `points` best
    lost: np.ndarray  # (n,) bool: fewer than two dimensions let the point pass, so two numbers cannot be told from it
    error: float  # length of (returned - points) over length of points; 0 is perfect, 1 says that nothing came back


def spiral(points=400, turns=2.5):
    """Points (points, 2) on a spiral from the middle to radius 1, evenly spaced."""
    radius = np.sqrt(np.linspace(0, 1, points))
    angle = 2 * np.pi * turns * radius
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def relu_round_trip(points, dimensions, seed=0):
    """Send points (n, 2) through a random matrix, ReLU, and back by the matrix's pseudo-inverse (paper, Figure 1)."""
    matrix = np.random.default_rng(seed).standard_normal((2, dimensions))
    passed = np.maximum(points @ matrix, 0)  # (n, 2) -> (n, dimensions)
    returned = passed @ np.linalg.pinv(matrix)  # (n, dimensions) -> (n, 2)
    returned *= (returned * points).sum() / (returned**2).sum()  # ReLU shrinks: compare shapes, not sizes
    lost = (passed > 0).sum(axis=1) < 2
    error = np.linalg.norm(returned - points) / np.linalg.norm(points)
    return RoundTrip(dimensions, points, returned, lost, float(error))


DIMENSIONS = (2, 3, 5, 15, 30)


def round_trips(seed=8):
    """The spiral through 2, 3, 5, 15 and 30 dimensions: a list of RoundTrip."""
    return [relu_round_trip(spiral(), dimensions, seed) for dimensions in DIMENSIONS]


def relu_words(trips_and_place):
    """What `drawings.round_trip` shows."""
    trips, place = trips_and_place
    trip = trips[place]
    errors = ", ".join(f"{trip.error:.2f} in {trip.dimensions}" for trip in trips)
    return (
        f"Through ReLU in {trip.dimensions} dimensions and back: reconstruction error {trip.error:.2f} of 1; "
        f"{trip.lost.mean():.0%} of the points pass in fewer than two dimensions and are lost for good.<br>"
        f"With this seed the error is {errors} dimensions."
    )


def relu_explorer():
    """The paper's Figure 1 live: what is left of a spiral after ReLU in few and in many dimensions."""
    controls = {
        "dimensions": choice("Dimensions", "How many ReLUs the two numbers of a point pass", 2, DIMENSIONS),
        "seed": whole("Seed", "Another seed, another random matrix", 8, 0, 20),
    }
    return Explorer(
        controls,
        lambda dimensions, seed: (round_trips(seed), DIMENSIONS.index(dimensions)),
        lambda data: drawings.round_trip(*data),
        relu_words,
    )


# -- pictures: resizing, and mistakes --------------------------------------------------------------------------------


class Resized(NamedTuple):
    """A picture, resized, and what is left of that after JPEG; `size_in_bytes` is the length of the file."""

    original: np.ndarray
    resized: np.ndarray
    decoded: np.ndarray
    interpolation: str
    quality: int
    size_in_bytes: int

    @property
    def mean_difference(self):
        """Mean absolute difference that the JPEG makes, in grey levels of 256."""
        return float(cv2.absdiff(self.resized, self.decoded).mean())


def resize(picture, size=224, interpolation="cubic", quality=95):
    """What `folders.write_picture` makes of a uint8 RGB picture (h, w, 3), read back."""
    resized = cv2.resize(picture, (size, size), interpolation=folders.INTERPOLATIONS[interpolation])
    blue_green_red = cv2.cvtColor(resized, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", blue_green_red, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)
    return Resized(picture, resized, decoded, interpolation, quality, len(jpeg))


def resize_words(resized):
    """What `drawings.resized` shows."""
    return (
        f"{resized.original.shape[0]} to {resized.decoded.shape[0]} pixels a side, {resized.interpolation} "
        f"interpolation, JPEG quality {resized.quality}: a file of {resized.size_in_bytes:,} bytes.<br>"
        f"The JPEG moves a value by {resized.mean_difference:.2f} of 255 on average."
    )


def resize_explorer(picture):
    """Sliders over what becomes of one small uint8 RGB picture (h, w, 3) on its way into a JPEG file."""
    controls = {
        "size": choice("Size", "Height and width of the file's picture", 224, (16, 32, 64, 96, 128, 160, 192, 224)),
        "interpolation": choice("Interpolation", "How new pixels are made", "cubic", tuple(folders.INTERPOLATIONS)),
        "quality": whole("JPEG quality", "More is closer to the picture, and a larger file", 95, 5, 100, 5),
    }
    return Explorer(controls, lambda **values: resize(picture, **values), drawings.resized, resize_words)


class Mistakes(NamedTuple):
    """What the pictures of one class were taken for, likeliest first, and its most confident misjudgements."""

    name: str
    count: int
    right: int
    taken_for: list  # (class name, count), wrong answers only, most frequent first
    pictures: list  # (picture, wrong answer, confidence), most confident first


def mistakes_of(name, pictures, labels, probabilities, classes):
    """Gather the misjudged pictures (uint8 RGB) of class `name`; probabilities: (n, classes). Returns Mistakes."""
    of_class = np.flatnonzero(np.asarray(labels) == list(classes).index(name))
    answers, sure = probabilities[of_class].argmax(axis=1), probabilities[of_class].max(axis=1)
    wrong = np.flatnonzero(answers != list(classes).index(name))
    taken_for = Counter(classes[answer] for answer in sorted(answers[wrong])).most_common()  # ties in class order
    gallery = wrong[np.argsort(-sure[wrong], kind="stable")][:8]
    shown = [(pictures[of_class[row]], classes[answers[row]], float(sure[row])) for row in gallery]
    return Mistakes(name, len(of_class), len(of_class) - len(wrong), taken_for, shown)


def mistake_words(mistakes):
    """What `drawings.mistakes` shows."""
    told = f"{mistakes.right} of the {mistakes.count} pictures of {escape(mistakes.name)} are recognized."
    if not mistakes.taken_for:
        return f"{told}<br>None is taken for anything else."
    others = ", ".join(f"{escape(name)} ({count})" for name, count in mistakes.taken_for[:8])
    most = mistakes.pictures[0]
    return f"{told}<br>Taken for: {others}.<br>The most confident mistake: {escape(most[1])}, {most[2]:.0%} sure."


def mistake_explorer(pictures, labels, probabilities, classes, start=None):
    """Pick a class; see what it is taken for, and the pictures.

    pictures: (n, h, w, 3) uint8 RGB; labels: (n,); probabilities: (n, classes); classes: their names, in order;
    start: the class that is shown first, else the first of them.
    """
    start = classes[0] if start is None else start
    control = Dropdown(options=list(classes), value=start, description="Class", tooltip="The true class", **LOOKS)
    compute = partial(mistakes_of, pictures=pictures, labels=labels, probabilities=probabilities, classes=classes)
    return Explorer({"name": control}, compute, drawings.mistakes, mistake_words, 4)


# -- a network for a budget ------------------------------------------------------------------------------------------

MADDS = {f"{count} M": count * 10**6 for count in (1, 2, 5, 10, 20, 50, 100, 200, 300, 600)}
PARAMETERS = {f"{count} M": round(count * 1e6) for count in (0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7)}
MEMORY = {f"{count} kB": count * 1000 for count in (16, 32, 64, 128, 256, 512)}
MEMORY |= {f"{count} MB": count * 10**6 for count in (1, 2, 4, 8)}
NETWORKS = {"published": trade_offs.published, "measured": trade_offs.measured}
COSTS = {"madds": "multiply-adds", "parameters": "parameters", "peak_bytes": "bytes of int8 memory at the peak"}


class BudgetView(NamedTuple):
    """Which of the two tables of networks, and what a budget leaves of it (`trade_offs.Choice`)."""

    networks: str
    choice: object


def view_budget(madds="100 M", parameters="3 M", memory="1 MB", networks="published"):
    """Look for the best network within three limits, each written as on its slider.

    networks: "published" (ImageNet) or "measured" (CIFAR-100). Memory is that of activations in int8.
    """
    limits = MADDS[madds], PARAMETERS[parameters], MEMORY[memory]
    return BudgetView(networks, trade_offs.choose(NETWORKS[networks](), **dict(zip(COSTS, limits, strict=True))))


def named(network):
    """A Candidate's settings in words."""
    return f"width {network.alpha:.2f}, {network.resolution} pixels, expansion {network.expansion}"


def budget_words(view):
    """What `drawings.budget` shows."""
    choice, best, next_best = view.choice, view.choice.best, view.choice.next_best
    limits = ", ".join(f"{drawings.short(choice.budget[key])} {words}" for key, words in COSTS.items())
    limits = limits.replace(" bytes", "B")
    told = f"{limits}: {len(choice.fitting)} of the {len(choice.candidates)} {view.networks} networks fit.<br>"
    if best:
        costs = ", ".join(f"{getattr(best, key):,} {words}" for key, words in COSTS.items())
        place = "ImageNet" if view.networks == "published" else "CIFAR-100"
        told += f"The best of them: {named(best)}, {best.top1:.1%} top-1 on {place}; {costs}.<br>"
        level = [one for one in choice.fitting if trade_offs.level(best, one)]
        told += f"Others that fit within two standard errors of it: {len(level) - 1 or 'none'}.<br>"
    if next_best:
        ratios = {key: getattr(next_best, key) / limit for key, limit in choice.budget.items()}
        over = (f"{ratio:.2f} times the limit of {COSTS[key]}" for key, ratio in ratios.items() if ratio > 1)
        told += f"The nearest {'one that is clearly better' if best else 'network'}: "
        told += f"{named(next_best)}, {next_best.top1:.1%}; it needs {' and '.join(over).replace('bytes of ', '')}."
    else:
        told += "No network of the table is clearly better." if best else "data/sweeps/design_space.csv is missing."
    return told


def design_explorer():
    """Sliders over a budget: which networks keep to it, the best of them, and a button that writes its command."""
    controls = {
        "madds": choice("MAdds", "The most multiply-adds for one picture", "100 M", tuple(MADDS)),
        "parameters": choice("Parameters", "The most parameters", "3 M", tuple(PARAMETERS)),
        "memory": choice("Peak memory", "The most memory for activations, in int8", "1 MB", tuple(MEMORY)),
        "networks": choice("Networks", "Published for ImageNet, or measured here", "published", tuple(NETWORKS)),
    }
    explorer = Explorer(controls, view_budget, drawings.budget, budget_words, 6)
    says = {"description": "Write the command", "tooltip": "The command that trains the best network"}
    explorer.button = Button(**says, layout=Layout(width="12em"))
    explorer.command = Textarea(description="Command", rows=3, layout=Layout(width="860px", max_width="100%"))

    def write_command(_):
        best = view_budget(**explorer.values()).choice.best
        explorer.command.value = best.command if best else "No network fits: move a slider to the right."

    explorer.button.on_click(write_command)
    for control in controls.values():  # a command beside another network would mislead
        control.observe(lambda _: setattr(explorer.command, "value", ""), names="value")
    explorer.children = (*explorer.children, explorer.button, explorer.command)
    return explorer


# -- rounding to a few levels ----------------------------------------------------------------------------------------

SCALES = {"by channel": (0, 1), "for all": None}


class Rounded(NamedTuple):
    """A depthwise kernel (3, 3, channels), and what is left of it when its weights are whole numbers of a few bits."""

    kernel: np.ndarray
    rounded: np.ndarray
    bits: int
    stretch: float
    scales: str
    step: float  # between two levels; where each channel has its own, the middle one of the live
    clipped: float  # share of the weights beyond the last level
    live: np.ndarray  # (channels,) bool: not the same output for every picture

    @property
    def error(self):
        return float(quantization.relative_error(self.kernel, self.rounded))

    @property
    def error_by_channel(self):
        return quantization.relative_error(self.kernel, self.rounded, axis=(0, 1))


def round_kernel(kernel, bits=8, stretch=1.0, scales="by channel", live=None):
    """Round a kernel (3, 3, channels); at `stretch` 1.0 the largest weight just has the largest code.

    live: (channels,) bool, the channels that count; all where it is not said.
    """
    live = np.ones(kernel.shape[2], bool) if live is None else live
    scale = stretch * quantization.scale_of(kernel, bits, SCALES[scales])
    rounded = quantization.dequantize(quantization.quantize(kernel, scale, bits), scale)
    beyond = np.abs(kernel) > scale * (2 ** (bits - 1) - 0.5)
    step = np.median(np.broadcast_to(scale, kernel.shape)[..., live])
    return Rounded(kernel, rounded, bits, stretch, scales, float(step), float(beyond.mean()), live)


def rounding_words(found):
    """What `drawings.rounded` shows."""
    errors = found.error_by_channel[found.live]
    channel = "channel" if found.live.all() else "live channel"
    return (
        f"{found.bits} bits, {2**found.bits - 1} levels, scale {found.scales}, {found.stretch:.2f} times what the "
        f"largest weight asks for: a step of {found.step:.5f}.<br>Rounding error {found.error:.2%} of the kernel; "
        f"of the median {channel} {np.median(errors):.1%}, of the worst {errors.max():.1%}; "
        f"{found.clipped:.1%} of the weights are cut off."
    )


def quantization_explorer(kernel, live=None):
    """Sliders over the rounding of a depthwise kernel (3, 3, channels), see `quantization.fold`; live: its channels."""
    controls = {
        "bits": whole("Bits", "Of each weight; n bits give 2 to the n, less one, levels", 8, 2, 8),
        "stretch": fraction("Step", "Times the step at which the largest weight fits", 1.0, 0.2, 1.6, 0.1),
        "scales": choice("Scales", "One for the whole kernel, or one for each channel", "by channel", tuple(SCALES)),
    }
    return Explorer(controls, partial(round_kernel, kernel, live=live), drawings.rounded, rounding_words)
