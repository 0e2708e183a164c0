"""A figure shows what it was given: what lies in matplotlib's artists against plain arithmetic."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from mbv2_lib import drawings, evaluation, explorers, plots

# -- figures of results ------------------------------------------------------------------------------------------------


def test_curves_say_which_line_is_whose_and_write_what_is_cut_off():
    row = {"epoch": 1, "loss": 3.0, "top1": 0.1, "val_loss": 3.5, "val_top1": 0.2}
    rows = [row, row | {"epoch": 2, "loss": 2.0, "val_loss": 10.1}, row | {"epoch": 3, "val_loss": 2.0}]
    loss, top1 = plots.curves(rows).axes
    assert {line.get_label(): line.get_ydata()[0] for line in top1.lines} == {"training": 0.1, "held out": 0.2}
    assert loss.get_ylim() == (0, 5.25)  # one and a half times 3.5, the middle one held out
    assert [(words.get_text(), words.xy) for words in loss.texts] == [("▲ 10.1", (2, 5.25))]
    live = plots.progress(rows, [{"epoch": 3.5, "loss": 20.0, "top1": 0.1}], 5).axes[0]
    assert live.get_ylim() == (0, 21)  # a run that diverges is seen to
    assert len(plots.progress([], [], 3).axes) == 2


def test_nothing_is_cut_off_where_a_run_over_fits():
    rows = [
        {"epoch": n, "loss": 0.3 / n, "top1": 1 - 0.1 / n, "val_loss": 0.1 * n, "val_top1": 0.7} for n in range(1, 21)
    ]
    for history in (rows, rows[-1:], [rows[0] | {"loss": float("nan")}]):
        loss = plots.curves(history).axes[0]
        assert not loss.texts and loss.get_ylim()[1] >= history[-1]["val_loss"]


def test_bands_and_bars_reach_two_errors_either_way():
    axes = plots.lines({"a": [0.5, 0.5]}, "x", "y", errors={"a": [0.1, 0.1]}, level=("chance", 0.2)).axes[0]
    band = axes.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((0.3, 0.7))
    assert {line.get_label(): set(line.get_ydata()) for line in axes.lines} == {"a": {0.5}, "chance": {0.2}}
    axes = plots.against({"t": {"a": [(1, 0.5, 0.1), (2, 0.6, 0.1)]}}, "x", "y").axes[0]
    assert axes.containers[0].lines[2][0].get_segments()[0][:, 1] == pytest.approx([0.3, 0.7])
    axes = plots.seeds({"a": [0.2, 0.4]}, {"a": 0.05}, "top-1").axes[0]
    assert axes.containers[0].lines[2][0].get_segments()[0][:, 0] == pytest.approx([0.2, 0.4])


def test_percents_have_no_more_decimals_than_they_need():
    written = plots.lines({"a": [0, 1]}, "x", "y", percent=True).axes[0].yaxis.get_major_formatter()
    assert [written(share) for share in (0, 0.2, 0.175, 0.7125, 1)] == ["0%", "20%", "17.5%", "71.25%", "100%"]


def test_a_confusion_is_in_percent_of_its_row():
    cells = plots.confusions(np.array([[30, 10], [5, 5]]), ["a", "b"]).axes[0].collections[0].get_array()
    np.testing.assert_allclose(np.reshape(cells, (2, 2)), [[75, 25], [50, 50]])


def test_calibration_has_confidence_below_and_accuracy_beside():
    accuracy, count = np.array([0.2, 1.0]), np.array([5, 1])
    left = plots.reliability(np.array([0.2, 0.7]), accuracy, count).axes[0]
    line, _, (bars,) = left.containers[0]
    np.testing.assert_allclose(line.get_xydata(), [[0.2, 0.2], [0.7, 1.0]])
    reached = np.transpose([bar[:, 1] for bar in bars.get_segments()])
    np.testing.assert_allclose(reached, evaluation.interval(accuracy, count))


def test_a_class_has_its_accuracy_and_its_interval():
    figure = plots.class_bars(np.array([0.9, 0.5]), np.array([10, 40]), ["a", "b"], most=1)
    for axes, name, *figures in zip(figure.axes, "ba", (0.5, 0.9), (40, 10), strict=True):
        assert [label.get_text() for label in axes.get_yticklabels()] == [name]
        assert axes.patches[0].get_width() == figures[0]
        _, _, (bar,) = axes.containers[1]
        np.testing.assert_allclose(bar.get_segments()[0][:, 0], evaluation.interval(*figures))


def test_pictures_stand_over_their_names():
    names, members = ["d", "b", "c", "a"], {"one": ("a", "b"), "two": ("c", "d")}
    pictures = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    axes = plots.superclasses(pictures, names, members).axes[0]
    shown = {names[image.get_array()[0, 0, 0]]: np.mean(image.get_extent()[:2]) for image in axes.images}
    written = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert shown == {name: written[name] for name in names}
    assert written["one"] < shown["a"] < shown["b"] < written["two"] < shown["c"]
    figure = plots.gallery(pictures, names, columns=2, rows=["above", "below"])
    assert [axes.get_title() for axes in figure.axes] == names
    assert [[words.get_text() for words in axes.texts] for axes in figure.axes] == [["above"], [], ["below"], []]


def test_what_places_give_stands_under_their_picture_on_one_scale():
    rng = np.random.default_rng(0)
    pictures, layers = rng.integers(0, 256, (2, 8, 8, 3), np.uint8), rng.normal(size=(2, 2, 2, 2))
    layers[0, 0, 0, 0] = layers[1, 1, 0, 0] = 9  # the most of one picture above, of the other below
    figure = plots.class_maps(pictures, dict(zip(["label", "answer"], layers, strict=True)), ["a", "b"])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", *[""] * 4]
    assert [words.get_text() for axes in figure.axes for words in axes.texts if words.get_text()] == ["label", "answer"]
    for place, axes in enumerate(figure.axes[2:]):
        row, column = divmod(place, 2)
        under, over = axes.images
        np.testing.assert_allclose(under.get_array()[..., 0], 150 + 0.4 * pictures[column].mean(axis=-1), atol=1)
        np.testing.assert_array_equal(over.get_array(), layers[row, column])
        assert over.get_extent() == under.get_extent() and over.get_clim() == (0, 9)


def test_the_true_class_is_blue_wherever_it_stands():
    below = plots.answers(np.zeros((1, 4, 4, 3), np.uint8), [2], np.array([[0.6, 0.1, 0.3]]), "abc").axes[1]
    red, green, blue, _ = np.transpose([bar.get_facecolor() for bar in below.patches])
    np.testing.assert_array_equal((blue > red) & (blue > green), [False, True, False])  # "c" is second, with 0.3


def test_two_classes_are_enough_and_one_may_have_no_pictures():
    below = plots.answers(np.zeros((1, 4, 4, 3), np.uint8), [1], np.array([[0.6, 0.4]]), "ab").axes[1]
    assert [words.get_text() for words in below.texts] == ["a 60%", "b 40%"]
    cells = plots.confusions(np.array([[4, 1], [0, 0]]), ["a", "b"]).axes[0].collections[0].get_array()
    np.testing.assert_allclose(np.reshape(cells, (2, 2)), [[80, 20], [0, 0]])


def test_the_roof_is_the_lower_of_two_limits():
    points = {"expand": (np.array([1.0, 10]), np.array([1e9, 2e9]))}
    roof = plots.roofline(points, peak=5e9, bandwidths={"x": 1e9}).axes[0].lines[0]
    np.testing.assert_allclose(roof.get_ydata(), np.minimum(5, roof.get_xdata()))


def test_only_the_networks_of_the_front_are_named_and_joined():
    panels = dict.fromkeys("wxyz", ([1.0, 2, 3], [0, 2]))
    figure = plots.fronts(panels, ["a", "b", "c"], [0.1, 0.05, 0.2], [0.01] * 3)
    axes, (legend,) = figure.axes[0], figure.legends
    told = zip(legend.get_texts(), legend.legend_handles, strict=True)
    assert [words.get_text() for words, dot in told if dot.get_markerfacecolor() == plots.BLUE] == ["on the front"]
    assert [(words.get_text(), tuple(words.xy)) for words in axes.texts] == [("a", (1, 0.1)), ("c", (3, 0.2))]
    assert [line.get_xydata().tolist() for line in axes.lines if line.get_linestyle() == "-"] == [[[1, 0.1], [3, 0.2]]]
    assert [words.get_ha() for words in axes.texts] == ["right", "right"]
    close = plots.fronts(dict.fromkeys("wxyz", ([1.0, 2, 1.01], [0, 2])), ["a", "b", "c"], [0.1, 0.05, 0.2], [0.01] * 3)
    assert [words.get_ha() for words in close.axes[0].texts] == ["left", "right"]  # or the names would touch


def test_a_heavy_figure_keeps_six_bits_of_a_colour():
    noise = np.random.default_rng(0).integers(0, 256, (16, 300, 300, 3), np.uint8)
    figure = plots.gallery(noise, [""] * 16)
    exact, kept = io.BytesIO(), io.BytesIO(plots.as_png(figure))
    figure.savefig(exact, format="png", bbox_inches="tight")
    assert len(exact.getvalue()) > plots.HEAVY and len(kept.getvalue()) < 0.9 * len(exact.getvalue())
    exact, kept = (np.asarray(Image.open(file).convert("RGB"), int) for file in (exact, kept))
    assert abs(exact - kept).max() <= 2 and (kept[exact == 255] == 255).all()


# -- pages under the sliders -------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch):
    """What a page is asked to draw: dict of kind to the arguments of each call, by place."""
    asked = {kind: [] for kind in ("boxes", "dots", "strokes", "photograph")}
    for kind, calls in asked.items():
        monkeypatch.setattr(drawings.Page, kind, lambda page, *given, calls=calls, **looks: calls.append(given))
    return asked


def test_red_is_red():
    page = drawings.Page(20, 20)
    page.boxes([(0, 0, 20, 20)], "#ff0000")
    assert Image.open(io.BytesIO(drawings.png(page))).convert("RGB").getpixel((10, 10)) == (255, 0, 0)


def test_bars_of_costs_are_in_proportion(drawn):
    seen = explorers.compare_blocks(24, 48, 6, 2, 56)
    drawings.block(seen)
    values = np.array([[getattr(cost, key) for cost in seen.costs.values()] for _, key, _ in drawings.MEASURES])
    bars = np.array(drawn["boxes"][-1][0])[:, 2].reshape(values.shape)
    np.testing.assert_allclose(bars / bars.max(), values / values.max(axis=1, keepdims=True), atol=0.01)


def test_a_published_network_stands_at_its_cost_and_accuracy(drawn):
    drawings.network(explorers.view_network())
    ((dots, *_),) = drawn["dots"]
    place = 572 + 68 * math.log10(300e6 / 2e5), drawings.FLOOR + (drawings.CEILING - drawings.FLOOR) * (71.8 - 42) / 36
    assert any(dot == pytest.approx(place) for dot, _ in dots)


def test_lost_points_are_grey_and_the_others_are_not(drawn):
    trips = explorers.round_trips(8)
    drawings.round_trip(trips, 1)
    _, colours, *_ = drawn["strokes"][1]
    np.testing.assert_array_equal(np.isclose(colours[:, :3], 0.66).all(axis=1), trips[1].lost[1:])


def test_what_fits_a_budget_is_lit(drawn):
    view = explorers.view_budget()
    drawings.budget(view)
    lit = [colour == drawings.BLUE for _, colour in drawn["dots"][0][0]]
    assert sum(lit) == len(view.choice.fitting) and len(lit) == len(view.choice.candidates) > sum(lit)


def test_the_difference_that_a_jpeg_makes_is_ten_times_its_own_around_grey(drawn):
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    result = explorers.resize(picture, 32, "cubic", 50)
    drawings.resized(result)
    ten_times = np.clip(128 + 10 * (result.decoded.astype(float) - result.resized), 0, 255)
    np.testing.assert_array_equal(drawn["photograph"][2][0], ten_times)


def test_channels_that_say_nothing_turn_grey(drawn):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 8)) * [1, 1, 1, 1, 0.001, 0.001, 0.001, 0.001]
    found = explorers.round_kernel(kernel, 4, scales="for all", live=np.arange(8) < 4)
    drawings.rounded(found)
    _, colours = drawn["boxes"][-1]
    assert list(colours) == [drawings.LIGHT] * 4 + [drawings.ORANGE] * 4  # the small ones lose most, and come first
    assert f"of the worst {found.error_by_channel[:4].max():.1%};" in explorers.rounding_words(found)
