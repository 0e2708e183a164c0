"""The arithmetic of the network agrees with the paper, with the built Keras model, and with an independent count."""

import itertools
import math
import subprocess
import sys
import time

import pytest

from mbv2_lib.architecture import PUBLISHED_WIDTHS, make_divisible, mobilenet_v2_architecture
from mbv2_lib.costs import (
    PUBLISHED_RESULTS,
    bottleneck_memory,
    convolution_cost,
    inverted_residual_cost,
    network_cost,
    residual_cost,
)

WIDTHS = [round(0.35 + 0.05 * step, 2) for step in range(22)]
EXPANSIONS = range(1, 11)
RESOLUTIONS = range(32, 289, 32)
SAMPLE = [
    (0.35, 1, 32, 10),
    (0.5, 6, 97, 7),
    (0.85, 3, 224, 100),
    (1.0, 6, 224, 1000),
    (1.25, 10, 160, 20),
    (1.4, 2, 288, 5),
]


def count_in_keras(layer):
    """Multiply-adds of a built Keras layer, from its own kernel and output: an independent count."""
    import keras

    if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
        _, height, width, _ = layer.output.shape
        return height * width * math.prod(layer.kernel.shape)
    return math.prod(layer.kernel.shape) if isinstance(layer, keras.layers.Dense) else 0


def peak_in_keras(model):
    """Most bytes of activations alive at once, by walking the graph of a built model: an independent count.

    A tensor lives until its last reader has run. Normalization, activation and addition write over an input.
    """
    import keras

    in_place = (keras.layers.BatchNormalization, keras.layers.ReLU, keras.layers.Add)
    skipped = (keras.layers.InputLayer, keras.layers.Rescaling, keras.layers.Dropout)
    layers = [layer for layer in model.layers if not isinstance(layer, skipped)]
    readers = {layer.name: [node.operation.name for node in layer._outbound_nodes] for layer in layers}
    order = {layer.name: place for place, layer in enumerate(layers)}
    size = {layer.name: 4 * math.prod(layer.output.shape[1:]) for layer in layers}
    peak, alive = 0, {"picture": 4 * math.prod(model.input_shape[1:])}
    last_read = {"picture": 0}
    for name, names in readers.items():
        last_read[name] = max((order.get(reader, 0) for reader in names), default=len(layers))
    for place, layer in enumerate(layers):
        alive[layer.name] = size[layer.name]
        ends = [name for name in alive if last_read[name] <= place and name != layer.name]
        overwritten = ends[:1] if isinstance(layer, in_place) else []
        peak = max(peak, sum(alive.values()) - sum(alive[name] for name in overwritten))
        for name in ends:
            del alive[name]
    return peak


@pytest.mark.parametrize(("alpha", "expansion", "resolution", "classes"), SAMPLE)
def test_every_layer_agrees_with_the_built_model(alpha, expansion, resolution, classes):
    from mbv2_lib.network import mobilenet_v2

    model = mobilenet_v2((resolution, resolution, 3), classes, alpha, expansion)
    cost = network_cost(alpha, expansion, resolution, classes)
    built = {layer.name: layer for layer in model.layers}
    for layer in cost.layers:
        twin = built.pop(layer.name)
        assert tuple(twin.output.shape[1:]) == layer.output_shape
        assert twin.count_params() == layer.parameters
        assert sum(math.prod(weight.shape) for weight in twin.trainable_weights) == layer.trainable_parameters
        assert count_in_keras(twin) == layer.madds
        assert 4 * math.prod(twin.output.shape[1:]) == layer.activation_bytes
    assert set(built) == {"pictures", "rescale", "dropout"}  # nothing that costs was left out
    assert cost.parameters == model.count_params()
    assert cost.peak_activation_bytes == peak_in_keras(model)
    assert cost.trainable_parameters == sum(math.prod(weight.shape) for weight in model.trainable_weights)


def test_the_whole_grid_is_consistent():
    """Every point of the sliders' grid has whole, positive costs that grow with each of the three numbers."""
    costs = {}
    for alpha, expansion, resolution in itertools.product(WIDTHS, EXPANSIONS, RESOLUTIONS):
        cost = network_cost(alpha, expansion, resolution, 100)
        assert cost.madds > 0 and cost.peak_activation_bytes >= max(layer.activation_bytes for layer in cost.layers)
        assert sum(layer.parameters for layer in cost.layers if layer.kind == "normalization") == 4 * sum(
            layer.output_shape[-1] for layer in cost.layers if layer.kind == "normalization"
        )
        costs[alpha, expansion, resolution] = cost.madds, cost.parameters
    for alpha, expansion, resolution in costs:
        wider = costs.get((round(alpha + 0.05, 2), expansion, resolution), (math.inf, math.inf))
        assert costs[alpha, expansion, resolution][0] <= wider[0]
        if expansion > 1:
            assert costs[alpha, expansion, resolution] > costs[alpha, expansion - 1, resolution]
        if resolution > 32:
            assert costs[alpha, expansion, resolution][0] > costs[alpha, expansion, resolution - 32][0]
            assert costs[alpha, expansion, resolution][1] == costs[alpha, expansion, 32][1]


@pytest.mark.parametrize("published", PUBLISHED_RESULTS, ids=lambda row: f"{row.alpha}_{row.resolution}")
def test_the_published_networks_have_their_published_costs(published):
    """The authors' table cuts off decimals, and leaves batch normalization out of the parameters."""
    cost = network_cost(published.alpha, 6, published.resolution, 1000)
    assert int(cost.madds / 1e6) == published.million_madds
    plain = sum(layer.parameters for layer in cost.layers if layer.kind != "normalization")
    assert plain / 1e6 == pytest.approx(published.million_parameters, abs=0.011)


def test_parameter_counts_are_pinned():
    assert network_cost().parameters == 3_538_984
    counts = {alpha: network_cost(alpha, classes=100).parameters for alpha in (0.35, 0.5, 0.75, 1.0, 1.4)}
    assert counts == {0.35: 538_308, 0.5: 834_324, 0.75: 1_510_164, 1.0: 2_386_084, 1.4: 4_543_012}
    assert network_cost().madds == 300_774_272


def test_table_3_of_the_paper_is_rebuilt():
    """Channels / kilobytes in 16 bits for 112, 56, 28, 14, 7 and 1: the first line as written, the others as booked."""
    rows = bottleneck_memory()
    assert [row.resolution for row in rows] == [112, 56, 28, 14, 7, 1]
    channels = [rows[0].channels_written] + [row.channels_booked for row in rows[1:]]
    assert channels == [16, 32, 64, 160, 320, 1280]
    kilobytes = [row.kilobytes(count) for row, count in zip(rows, channels, strict=True)]
    assert kilobytes == pytest.approx([400, 200, 100, 62, 32, 2], rel=0.025, abs=0.6)
    assert [row.channels_written for row in rows] == [16, 24, 32, 96, 320, 1280]


@pytest.mark.parametrize("alpha", WIDTHS)
def test_channels_are_divisible_by_eight_and_never_cut_by_more_than_a_tenth(alpha):
    for wanted in (16 * alpha, 24 * alpha, 32 * alpha, 160 * alpha, 1280 * alpha):
        given = make_divisible(wanted)
        assert given % 8 == 0 and given >= 0.9 * wanted
        assert given == 8 or abs(given - wanted) <= 8


@pytest.mark.parametrize("alpha", WIDTHS)
def test_the_two_public_rounding_rules_agree_at_every_stop_of_the_slider(alpha):
    """Keras cuts c * alpha to a whole number before it rounds to eights, the authors' code does not."""
    for channels in (16, 24, 32, 64, 96, 160, 320):
        assert make_divisible(int(channels * alpha)) == make_divisible(channels * alpha)


def test_the_head_is_widened_only_above_one():
    assert [mobilenet_v2_architecture(alpha).head for alpha in PUBLISHED_WIDTHS] == [1280, 1280, 1280, 1280, 1664, 1792]


@pytest.mark.parametrize(
    "settings", [{"alpha": 0}, {"alpha": -1}, {"expansion": 0}, {"expansion": 1.5}, {"classes": 0}]
)
def test_figures_outside_their_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        network_cost(**settings)


def test_one_evaluation_takes_less_than_two_milliseconds():
    """The least of many runs: what the code needs, whatever else the machine does."""
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        cost = network_cost(1.4, 10, 288, 1000)
        _ = cost.parameters, cost.madds, cost.peak_activation_bytes
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.002


def test_blocks_cost_what_their_keras_twins_cost():
    import keras

    from mbv2_lib.blocks import inverted_residual

    for channels, filters, strides, expansion in ((24, 24, 1, 6), (16, 24, 2, 6), (32, 16, 1, 1)):
        x = keras.Input((56, 56, channels))
        model = keras.Model(x, inverted_residual(x, filters, strides, expansion))
        cost = inverted_residual_cost(channels, filters, strides, expansion)
        assert cost.parameters == model.count_params()
        assert cost.madds == sum(count_in_keras(layer) for layer in model.layers)
        assert cost.layers[-1].output_shape == model.output_shape[1:]


def test_a_plain_convolution_and_a_residual_block_cost_what_a_hand_count_gives():
    assert convolution_cost(24, 24).madds == 56 * 56 * 9 * 24 * 24
    assert residual_cost(24, 24).madds == 2 * 56 * 56 * 9 * 24 * 24
    assert residual_cost(24, 48, strides=2).madds == 28 * 28 * (9 * 24 * 48 + 9 * 48 * 48 + 24 * 48)
    thin = 56 * 56 * 24 * 4
    assert residual_cost(24, 24).peak_activation_bytes == 3 * thin  # the input held, and both sides of a convolution
    assert inverted_residual_cost(24, 24).peak_activation_bytes == 13 * thin  # the input, and 6 + 6 at the depthwise


WITHOUT_TENSORFLOW = [
    "architecture",
    "costs",
    "cifar100",
    "shapes100",
    "folders",
    "checking",
    "evaluation",
    "plots",
    "drawings",
    "explorers",
    "try_it",
    "exercises",
    "doctor",
    "inference",
    "pictures",
    "quantization",
    "roofline",
    "runs",
    "sweeps",
    "trade_offs",
    "__main__",
]


def test_this_wing_never_imports_tensorflow():
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(f'mbv2_lib.{name}')\n"
    code += "    assert not {'tensorflow', 'keras'} & set(sys.modules), name"
    done = subprocess.run([sys.executable, "-c", code, *WITHOUT_TENSORFLOW], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_published_accuracies_add_up():
    """Sums by hand over the 22 rows of the authors' table (models/research/slim/nets/mobilenet)."""
    assert sum(row.top1 for row in PUBLISHED_RESULTS) == pytest.approx(1382.9)
    assert sum(row.top5 for row in PUBLISHED_RESULTS) == pytest.approx(1857.7)


def test_a_residual_block_with_a_stride_holds_its_input_and_two_small_tensors():
    assert residual_cost(24, 48, strides=2).peak_activation_bytes == 4 * (56 * 56 * 24 + 2 * 28 * 28 * 48)
