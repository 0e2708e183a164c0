"""Every slider at every stop, and random combinations, driven through the widgets: pictures, words and totals."""

import itertools
import math
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath

from mbv2_lib import drawings, explorers, folders, plots, shapes100, sweeps, trade_offs
from mbv2_lib.__main__ import parser
from mbv2_lib.backend import keras
from mbv2_lib.blocks import inverted_residual
from mbv2_lib.costs import PUBLISHED_RESULTS
from mbv2_lib.network import mobilenet_v2

PICTURES, LABELS = shapes100.draw(4)
PROBABILITIES = np.random.default_rng(0).dirichlet(np.full(100, 0.05), len(LABELS))
KERNEL = np.random.default_rng(0).standard_normal((3, 3, 96)) * np.geomspace(0.02, 1, 96)
MAKE = {
    "block": explorers.block_explorer,
    "network": explorers.network_explorer,
    "relu": explorers.relu_explorer,
    "resize": lambda: explorers.resize_explorer(PICTURES[3]),
    "mistake": lambda: explorers.mistake_explorer(PICTURES, LABELS, PROBABILITIES, shapes100.CLASSES),
    "quantization": lambda: explorers.quantization_explorer(KERNEL),
    "design": explorers.design_explorer,
}
RANDOM_STEPS = 50
EVERY_EXPLORER = pytest.mark.parametrize("name", MAKE)


def stops(control):
    """All values that a control can take."""
    if hasattr(control, "options"):
        return list(control.options)
    count = round((control.max - control.min) / control.step) + 1
    return [control.min + control.step * stop for stop in range(count)]


def moves(explorer, name):
    """(control, value): each control through all its stops and back to its default, then 200 random steps.

    The values of the mistake explorer's one control are all there is; so are the 105 pairs of the ReLU explorer.
    """
    for control in explorer.controls.values():
        default = control.value
        yield from ((control, value) for value in [*stops(control), default])
    if name == "relu":
        dimensions, seed = explorer.controls.values()
        yield from ((control, value) for n in stops(dimensions) for control, value in pairs(dimensions, n, seed))
    elif name != "mistake":
        chance = random.Random(2018)
        for _ in range(RANDOM_STEPS):
            control = chance.choice(list(explorer.controls.values()))
            yield control, chance.choice(stops(control))


def pairs(first, value, second):
    yield first, value
    yield from ((second, other) for other in stops(second))


def picture(explorer):
    return cv2.imdecode(np.frombuffer(explorer.picture.value, np.uint8), cv2.IMREAD_COLOR)


@EVERY_EXPLORER
def test_every_stop_draws_a_new_picture_of_the_same_size_and_tells_it(name):
    explorer = MAKE[name]()
    size = picture(explorer).shape
    assert explorer.picture.layout.width == f"{size[1]}px" and explorer.picture.layout.height == f"{size[0]}px"
    for control, value in moves(explorer, name):
        before, told = explorer.picture.value, explorer.words.value
        at = control.value
        control.value = value
        if value == at:
            continue
        assert bytes(explorer.picture.value[:8]) == b"\x89PNG\r\n\x1a\n"
        assert explorer.picture.value != before and explorer.words.value != told
        assert len(explorer.picture.value) < 200_000
        for total in EXPECTED[name](**explorer.values()):
            assert total in explorer.words.value
    assert picture(explorer).shape == size


# -- what the words must hold, counted another way ------------------------------------------------------------------


def block_totals(channels, filters, expansion, strides, resolution):
    """Closed forms, written down a second time: weights without and with normalization, pixels of each layer."""
    out, wide = -(-resolution // strides), expansion * channels
    expand = channels * wide if expansion > 1 else 0
    parameters = expand + (4 * wide if expand else 0) + 9 * wide + 4 * wide + wide * filters + 4 * filters
    madds = expand * resolution**2 + (9 * wide + wide * filters) * out**2
    plain = 9 * channels * filters
    return f"{parameters:,} parameters", f"{madds:,} multiply-adds", f"{plain * out**2:,} multiply-adds"


def network_totals(alpha, expansion, resolution, classes):
    cost = explorers.network_cost(alpha, expansion, resolution, classes)  # compared with Keras below
    settings = f"Width {alpha:.2f}, expansion {expansion}, {resolution} pixels, {classes} classes"
    return settings, f"{cost.madds:,} multiply-adds", f"{cost.parameters:,} parameters"


def relu_totals(dimensions, seed):
    """With the best scale, the error is the sine of the angle between what went in and what came back."""
    matrix = np.random.default_rng(seed).standard_normal((2, dimensions))
    points = explorers.spiral()
    back = np.linalg.lstsq(matrix.T, np.where(points @ matrix > 0, points @ matrix, 0).T, rcond=None)[0].T
    cosine = (back * points).sum() / np.sqrt((back**2).sum() * (points**2).sum())
    return (f"in {dimensions} dimensions and back: reconstruction error {math.sqrt(1 - cosine**2):.2f} of 1",)


def resize_totals(size, interpolation, quality):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        folders.write_picture(str(path), PICTURES[3], size, interpolation, quality)
        count = path.stat().st_size
    return f"32 to {size} pixels", f"{interpolation} interpolation", f"a file of {count:,} bytes"


def mistake_totals(name):
    label = shapes100.CLASSES.index(name)
    right = sum(np.argmax(row) == label for row, true in zip(PROBABILITIES, LABELS, strict=True) if true == label)
    return (f"{right} of the 4 pictures of {name}",)


def quantization_totals(bits, stretch, scales):
    """Every weight against every level; the words round to a hundredth of a percent."""
    most, error = 2 ** (bits - 1) - 1, 0
    for channel in range(96):
        weights = KERNEL[..., channel].ravel()
        largest = np.abs(weights if scales == "by channel" else KERNEL).max()
        levels = stretch * largest / most * np.arange(-most, most + 1)
        error += (np.abs(weights[:, None] - levels).min(axis=1) ** 2).sum()
    return f"{bits} bits, {2 * most + 1} levels", f"Rounding error {math.sqrt(error / (KERNEL**2).sum()):.2%} of"


def design_totals(madds, parameters, memory, networks):
    """Counted from the tables themselves, row by row."""
    if networks == "published":
        rows = [(row.alpha, row.resolution, 6, 1000, row.top1) for row in PUBLISHED_RESULTS]
    else:
        runs = pd.DataFrame(sweeps.read("design_space"), columns=["alpha", "size", "expansion", "top1"])
        means = 100 * runs.groupby(["alpha", "size", "expansion"]).top1.mean()
        rows = [(*network, 100, top1) for network, top1 in means.items()]
    limits, fit = [float(text.split()[0]) * UNITS[text.split()[1]] for text in (madds, parameters, memory)], []
    for alpha, resolution, expansion, classes, top1 in rows:
        cost = explorers.network_cost(alpha, expansion, resolution, classes)
        needs = cost.madds, cost.parameters, cost.peak_activation_bytes / 4  # int8
        if all(need <= limit for need, limit in zip(needs, limits, strict=True)):
            fit.append((top1, -cost.madds, f"{top1:.1f}% top-1", f"{needs[2]:,.0f} bytes of int8 memory"))
    best = max(fit)[2:] if fit else ["it needs" if rows else "missing"]
    return f"{len(fit)} of the {len(rows)} {networks} networks fit", *best


UNITS = {"kB": 1e3, "M": 1e6, "MB": 1e6}
EXPECTED = {
    "block": block_totals,
    "network": network_totals,
    "relu": relu_totals,
    "resize": resize_totals,
    "mistake": mistake_totals,
    "quantization": quantization_totals,
    "design": design_totals,
}


def set_all(explorer, *values):
    for control, value in zip(explorer.controls.values(), values, strict=True):
        control.value = value


def madds_in_keras(model):
    """Multiply-adds of a Keras model, from the shapes of its kernels and outputs alone."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            total += math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
    return total


@pytest.mark.parametrize(
    "alpha, expansion, resolution, classes",
    [(1.0, 6, 224, 1000), (0.35, 1, 32, 10), (0.4, 10, 96, 20), (1.15, 3, 160, 100), (1.4, 2, 288, 1000)],
)
def test_the_network_explorer_shows_the_totals_of_the_model_that_keras_builds(alpha, expansion, resolution, classes):
    explorer = explorers.network_explorer()
    set_all(explorer, alpha, expansion, resolution, classes)
    model = mobilenet_v2((resolution, resolution, 3), classes, alpha, expansion)
    assert f"{model.count_params():,} parameters" in explorer.words.value
    assert f"{madds_in_keras(model):,} multiply-adds" in explorer.words.value


@pytest.mark.parametrize(
    "channels, filters, expansion, strides, resolution", [(24, 24, 6, 1, 56), (8, 320, 1, 2, 7), (64, 96, 10, 2, 14)]
)
def test_the_block_explorer_shows_the_totals_of_the_block_that_keras_builds(
    channels, filters, expansion, strides, resolution
):
    explorer = explorers.block_explorer()
    set_all(explorer, channels, filters, expansion, strides, resolution)
    x = keras.Input((resolution, resolution, channels))
    model = keras.Model(x, inverted_residual(x, filters, strides, expansion, name="block"))
    assert f"{model.count_params():,} parameters, {madds_in_keras(model):,} multiply-adds" in explorer.words.value


# -- pictures that can be read ---------------------------------------------------------------------------------------


@EVERY_EXPLORER
def test_at_the_ends_of_the_sliders_no_label_leaves_the_page_or_hides_another(name):
    explorer = MAKE[name]()
    ends = [(stops(control)[0], stops(control)[-1]) for control in explorer.controls.values()]
    for values in itertools.product(*ends):
        settings = dict(zip(explorer.controls, values, strict=True))
        figure = explorer.draw(explorer.compute(**settings))
        drawings.png(figure)
        page = figure.bbox
        boxes = [(words, Outline(path.vertices).get_extents()) for words, path in figure.labels]  # control points, too
        for words, box in boxes:
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.x1 and box.y1 <= page.y1
            assert inside, f"{words!r} leaves the page at {settings}: {box}"
        for (one, first), (other, second) in itertools.combinations(boxes, 2):
            across = min(first.x1, second.x1) - max(first.x0, second.x0)
            along = min(first.y1, second.y1) - max(first.y0, second.y0)
            assert across <= 0 or along <= 0, f"{one!r} and {other!r} overlap at {settings}"


@pytest.mark.parametrize("weight, style", [("normal", "normal"), ("bold", "normal"), ("normal", "italic")])
def test_letters_are_those_of_matplotlib(weight, style):
    """All but their kerning, which here moves the last letter by less than a tenth of its size."""
    words = "Øre 3×3, 65.4% ± 0.2, quickly jumping"
    theirs = TextPath((0, 0), words, 1, FontProperties(weight=weight, style=style))
    vertices, codes, width = drawings.outline(words, weight, style)
    np.testing.assert_array_equal(codes, theirs.codes)
    np.testing.assert_allclose(vertices, theirs.vertices, atol=0.1)
    assert 0 <= width - vertices[:, 0].max() < 0.2


@pytest.mark.parametrize("across, along", [("center", "center"), ("left", "center"), ("right", "top")])
@pytest.mark.parametrize("words", ["likely jumping", "likely jumping\nglyphs"])
def test_words_stand_where_matplotlib_would_write_them(words, across, along):
    ours, theirs = drawings.Page(400, 80), drawings.Page(400, 80)
    ours.write(200, 40, words, 10, ha=across, va=along)
    theirs.text(200, 40, words, fontsize=10, transform=theirs.pixels, ha=across, va=along)
    ink = [np.argwhere(cv2.imdecode(np.frombuffer(drawings.png(page), np.uint8), 0) < 160) for page in (ours, theirs)]
    ends = [[places.min(axis=0), places.max(axis=0)] for places in ink]
    np.testing.assert_allclose(*ends, atol=2)  # pixels; above a block of lines, matplotlib leaves half a gap
    assert [line for line, _ in ours.labels] == words.split("\n")


@pytest.mark.parametrize("name", ["猫", "a猫\tb", "🐈", ""])
def test_a_class_name_of_letters_that_the_font_lacks_is_drawn(name):
    drawings.glyph.cache_clear()  # what matplotlib did before with the font can help or harm
    found = explorers.mistakes_of(name, PICTURES[:1], [0], np.array([[0.2, 0.8]]), [name, "dog"])
    page = drawings.mistakes(found)
    drawings.png(page)
    assert name in [line for line, _ in page.labels]


@pytest.mark.parametrize("name", ["w" * 41, "Schwarzwaelderkirschtorte", "a_very_long_name_of_a_class", "l" * 30])
def test_a_class_name_is_cut_no_more_than_the_page_asks(name):
    page = drawings.mistakes(explorers.mistakes_of("dog", PICTURES[:1], [1], np.array([[0.8, 0.2]]), [name, "dog"]))
    words, path = next((line, path) for line, path in page.labels if line.startswith(plots.spaced(name)[:5]))
    left = Outline(path.vertices).get_extents().x0
    assert left >= 0 and (left < 35 if words.endswith("...") else words == plots.spaced(name))


def test_a_dollar_in_a_class_name_begins_no_formula():
    names, wrong = ["a_$^$_b", "c", "d"], np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
    for label in (0, 1):
        page = drawings.mistakes(explorers.mistakes_of(names[label], PICTURES[:2], [label] * 2, wrong, names))
        assert sum("a $^$ b" in line for line, _ in page.labels) >= 2
    figures = [
        plots.answers(PICTURES[:2], [0, 1], wrong, names),
        plots.gallery(PICTURES[:2], names[:2]),
        plots.confusions(np.eye(3), names),
        plots.class_bars(np.array([0.2, 0.5, 0.7]), np.full(3, 20), names, most=1),
    ]
    for figure in figures:
        drawings.png(figure)  # a formula of this kind raises


def test_a_fifth_line_is_refused_rather_than_left_out():
    four = {name: [1, 2] for name in "abcd"}
    assert len(plots.lines(four, "x", "y").axes[0].lines) == 4
    with pytest.raises(ValueError, match="shorter"):
        plots.lines(four | {"e": [1, 2]}, "x", "y")


def test_a_class_without_pictures_is_neither_the_hardest_nor_the_easiest():
    figure = plots.class_bars(np.array([0.5, np.nan, 0.9]), np.array([20, 0, 20]), ["a", "b", "c"], most=2)
    shown = [tick.get_text() for axes in figure.axes for tick in axes.get_yticklabels()]
    assert sorted(shown) == ["a", "a", "c", "c"]


def test_the_share_of_each_stage_is_counted_once():
    view = explorers.view_network(0.75, 4, 160, 100)
    assert view.madds.sum() == view.cost.madds
    assert view.filters[0] == 24 and view.filters[-1] == 100
    assert (view.madds[1:8, 3] == 0).all() and (view.madds[[0, 8, 9], :3] == 0).all()


def test_an_accuracy_is_told_only_where_it_was_published():
    published = explorers.network_words(explorers.view_network(0.5, 6, 96, 1000))
    assert "just these settings: 51.2% top-1" in published
    for alpha, expansion, resolution, classes in ((0.5, 6, 96, 100), (0.5, 5, 96, 1000), (0.55, 6, 96, 1000)):
        assert explorers.view_network(alpha, expansion, resolution, classes).published is None


def test_a_lost_point_can_be_moved_and_none_can_tell_it():
    points, matrix = explorers.spiral(), np.random.default_rng(6).standard_normal((2, 3))
    lost = explorers.relu_round_trip(points, 3, seed=6).lost
    assert 0.2 < lost.mean() < 0.8
    for point, is_lost in zip(points[1:], lost[1:], strict=True):
        passes = matrix[:, point @ matrix > 0]
        assert is_lost == (np.linalg.matrix_rank(passes) < 2 if passes.size else True)
        if is_lost and passes.size:
            aside = 1e-9 * np.array([-passes[1, 0], passes[0, 0]])  # at a right angle to the one direction that passes
            assert np.allclose((point + aside) @ passes, point @ passes, atol=1e-15)
    wide = explorers.relu_round_trip(points, 30, seed=6)
    assert wide.lost.sum() == 1 and wide.error < 0.2  # the spiral's middle is 0 in every dimension


def test_mistakes_are_the_misjudged_pictures_most_confident_first():
    classes = ["cat", "dog", "<b>"]
    probabilities = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.1, 0.0, 0.9], [0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])
    pictures = np.arange(5)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    found = explorers.mistakes_of("cat", pictures, np.array([0, 0, 0, 0, 1]), probabilities, classes)
    assert (found.count, found.right, found.taken_for) == (4, 1, [("dog", 2), ("<b>", 1)])
    assert [(int(shot[0, 0, 0]), answer, sure) for shot, answer, sure in found.pictures] == [
        (2, "<b>", 0.9),
        (1, "dog", 0.8),
        (3, "dog", 0.5),
    ]
    assert "&lt;b&gt;" in explorers.mistake_words(found)


def test_the_difference_that_a_jpeg_makes_is_measured_as_opencv_measures_it():
    result = explorers.resize(PICTURES[3], 64, "area", 50)
    moved = cv2.norm(result.resized, result.decoded, cv2.NORM_L1) / result.resized.size
    assert result.mean_difference == pytest.approx(moved)
    assert result.decoded.shape == (64, 64, 3)


def test_of_networks_that_fit_the_best_is_named_and_of_those_that_do_not_the_nearest():
    view = explorers.view_budget(madds="100 M", parameters="2.5 M", memory="4 MB")
    words = explorers.budget_words(view)
    assert len(view.choice.fitting) == 10  # widths 0.35 and 0.5, up to 97 million multiply-adds
    assert "The best of them: width 0.50, 224 pixels, expansion 6, 65.4% top-1 on ImageNet" in words
    assert "one that is clearly better: width 0.75, 160 pixels, expansion 6, 66.4%; it needs 1.07 times" in words
    nothing = explorers.budget_words(explorers.view_budget(madds="5 M"))
    assert "0 of the 22 published networks fit" in nothing
    assert "The nearest network: width 0.35, 96 pixels, expansion 6, 45.5%; it needs 2.39 times" in nothing
    everything = explorers.budget_words(explorers.view_budget("600 M", "7 M", "8 MB"))
    assert "75.0% top-1" in everything and "No network of the table is clearly better." in everything


def test_a_press_writes_the_command_of_the_best_network_and_a_move_takes_it_away():
    explorer = explorers.design_explorer()
    for madds in explorers.MADDS:
        for networks in explorers.NETWORKS:
            explorer.controls["madds"].value = madds
            explorer.controls["networks"].value = networks
            assert explorer.command.value == ""
            explorer.button.click()
            best = explorers.view_budget(**explorer.values()).choice.best
            if best:
                said = parser().parse_args(explorer.command.value.split()[1:])
                assert (said.alpha, said.size) == (best.alpha, best.resolution)
                assert getattr(said, "expansion", 6) == best.expansion
            else:
                assert explorer.command.value.startswith("No network fits")


def test_without_the_measured_table_the_explorer_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(sweeps, "FOLDER", tmp_path)
    view = explorers.view_budget(networks="measured")
    assert "0 of the 0 measured networks fit" in explorers.budget_words(view)
    assert "design_space.csv is missing" in explorers.budget_words(view)
    drawings.png(drawings.budget(view))


def test_the_networks_that_are_level_are_those_within_two_standard_errors():
    one, close, far = (trade_offs.candidate(1.0, 32, 6, 100, top1, 5000, "") for top1 in (0.25, 0.2667, 0.2681))
    assert trade_offs.level(one, close) and not trade_offs.level(one, far)  # 2 * sqrt(2) * 0.0062 = 0.0175


def test_widths_from_a_browser_are_rounded():
    explorer = explorers.network_explorer()
    explorer.controls["alpha"].value = 0.35 + 3 * 0.05  # 0.49999999999999994
    assert explorer.values()["alpha"] == 0.5
    assert "Width 0.50" in explorer.words.value


@EVERY_EXPLORER
def test_every_control_has_a_name_and_says_what_it_does(name):
    controls = MAKE[name]().controls.values()
    assert all(re.fullmatch(r"[A-Z]\w+( \w+)?", control.description) and control.tooltip for control in controls)


def test_the_explorers_do_without_tensorflow():
    program = "import sys, mbv2_lib.explorers as e; e.block_explorer(), e.network_explorer(), e.design_explorer();"
    program += "print({'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_nearest_published_network_is_the_nearest_in_cost():
    words = explorers.network_words(explorers.view_network(0.35, 6, 96, 100))
    assert "nearest in cost: width 0.35, 96 pixels, 11 M" in words


def test_each_kind_of_layer_has_its_own_colour():
    assert explorers.KINDS[:3] == tuple(drawings.KIND_COLOURS)[:3]
    assert len(set(drawings.KIND_COLOURS.values())) == len(explorers.KINDS)


def test_a_scale_that_spans_the_largest_weight_cuts_none_off():
    kernel = np.random.default_rng(0).standard_normal((3, 3, 8))
    assert explorers.round_kernel(kernel, 8, 1.0).clipped == 0
    half = 0.5 * abs(kernel).max()
    cut_off = explorers.round_kernel(kernel, 8, 0.5, "for all").clipped
    assert cut_off == np.mean(abs(kernel) > half * 127.5 / 127)
