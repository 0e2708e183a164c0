"""The front and the choice within a budget agree with a search through all pairs; a layer cut out is that layer."""

import itertools
import math

import numpy as np
import pytest

from mbv2_lib import deployment, inference, trade_offs
from mbv2_lib.costs import network_cost
from mbv2_lib.network import mobilenet_v2


@pytest.mark.parametrize("seed", range(20))
def test_on_the_front_is_who_is_beaten_by_nobody(seed):
    rng = np.random.default_rng(seed)
    points = sorted(set(map(tuple, rng.integers(0, 9, (12, 2)).tolist())))  # few values, so that costs are equal
    rng.shuffle(points)
    costs, accuracies = np.transpose(points)
    front = trade_offs.pareto_front(costs, accuracies)
    beaten = {
        one
        for one, other in itertools.permutations(range(len(points)), 2)
        if costs[other] <= costs[one] and accuracies[other] >= accuracies[one]
    }
    assert sorted(front) == sorted(set(range(len(points))) - beaten)
    assert (np.diff(costs[front]) > 0).all() and (np.diff(accuracies[front]) > 0).all()


def test_of_two_equal_networks_one_is_on_the_front():
    assert trade_offs.pareto_front([3, 3, 1], [0.5, 0.5, 0.1]) == [2, 0]
    assert trade_offs.pareto_front([], []) == []


@pytest.mark.parametrize("seed", range(20))
def test_the_best_within_a_budget_is_the_best_of_those_that_keep_to_every_limit(seed):
    rng, networks = np.random.default_rng(seed), trade_offs.published()
    budget = {name: int(getattr(networks[rng.integers(22)], name)) for name in ("madds", "parameters", "peak_bytes")}
    choice = trade_offs.choose(networks, **budget)
    fit = [one for one in networks if all(getattr(one, name) <= limit for name, limit in budget.items())]
    assert choice.fitting == fit
    assert choice.best is None if not fit else choice.best.top1 == max(one.top1 for one in fit)
    if choice.next_best:
        assert choice.next_best not in fit
        assert not fit or choice.next_best.top1 - choice.best.top1 > 2 * math.hypot(
            choice.next_best.error, choice.best.error
        )


def test_of_two_that_are_as_accurate_the_cheaper_is_chosen():
    choice = trade_offs.choose(trade_offs.published(), madds=60e6, parameters=7e6, peak_bytes=8e6)
    assert (choice.best.alpha, choice.best.resolution, choice.best.top1) == (0.5, 160, 0.61)
    without = [one for one in trade_offs.published() if one.top1 <= 0.603]  # width 1 at 96 px and 0.35 at 224 px
    assert trade_offs.choose(without, madds=60e6).best.resolution == 96


def test_without_a_limit_the_best_of_all_is_chosen():
    choice = trade_offs.choose(trade_offs.published())
    assert choice.best.top1 == max(one.top1 for one in trade_offs.published()) and choice.next_best is None


def test_a_candidate_costs_what_the_closed_form_says():
    one = trade_offs.published()[2]
    assert (one.madds, one.parameters, one.peak_bytes) == (300_774_272, 3_538_984, 112 * 112 * (96 + 24))
    assert one.error == pytest.approx(math.sqrt(0.718 * 0.282 / 50_000))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small network, as a file."""
    path = tmp_path_factory.mktemp("exported") / "small.tflite"
    path.write_bytes(deployment.to_litert(mobilenet_v2((64, 64, 3), 10, 0.35)))
    return path


def test_layer_by_layer_the_file_and_the_closed_form_have_the_same_names(exported):
    took = trade_offs.layer_latencies(exported, repeats=1)
    work = trade_offs.work_by_layer(0.35, 6, 64, 10)
    assert list(took) == list(work) and all(took.values())
    assert sum(layer.madds for layer in work.values()) == network_cost(0.35, 6, 64, 10).madds


def test_a_layer_cut_out_computes_what_it_computes_within_the_network(exported):
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = inference.activations(exported, picture)
    last = whole["stem"]
    for name, layer in trade_offs._layers(exported):
        if name not in ("block_0_depthwise", "block_0_project", "block_1_expand"):
            continue
        layer.set_tensor(layer.get_input_details()[0]["index"], last[None])
        layer.invoke()
        last = layer.get_tensor(layer.get_output_details()[0]["index"])[0]
        np.testing.assert_allclose(last, whole[name], rtol=1e-3, atol=1e-4)
    assert last.shape == whole["block_1_expand"].shape


def test_bytes_moved_are_those_of_the_tensors_that_keras_has():
    model = mobilenet_v2((64, 64, 3), 10, 0.35)
    for name, layer in trade_offs.work_by_layer(0.35, 6, 64, 10).items():
        found = model.get_layer(name)
        tensors = [*(found.input if isinstance(found.input, list) else [found.input]), found.output, *found.weights]
        assert layer.bytes_moved == 4 * sum(math.prod(tensor.shape[tensor.shape[0] is None :]) for tensor in tensors)
        assert layer.kind == (name.rpartition("_")[2] if name.startswith("block") else "other")


def test_depthwise_layers_do_less_for_a_byte_than_pointwise_ones():
    for resolution in (96, 160, 224):
        work = trade_offs.work_by_layer(1.0, 6, resolution).values()
        of = {kind: [layer.madds_per_byte for layer in work if layer.kind == kind] for kind in trade_offs.KINDS}
        assert max(of["depthwise"]) < 9 / 8 < min(of["expand"] + of["project"])


def test_a_file_runs_at_other_resolutions(exported):
    assert trade_offs.network_latency(exported, 32, 1) > 0 and trade_offs.network_latency(exported, 96, 1) > 0


def test_the_machine_is_measured():
    assert trade_offs.copy_bandwidth(1, repeats=1) > 1e8
