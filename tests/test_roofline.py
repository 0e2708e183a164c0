"""The work of a layer is that of Keras's tensors, and a layer cut out of a file computes what it does within."""

import math

import numpy as np
import pytest

from mbv2_lib import deployment, inference, roofline
from mbv2_lib.architecture import mobilenet_v2_architecture
from mbv2_lib.costs import network_cost
from mbv2_lib.network import mobilenet_v2


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small network, as a file."""
    path = tmp_path_factory.mktemp("exported") / "small.tflite"
    path.write_bytes(deployment.to_litert(mobilenet_v2((64, 64, 3), 10, 0.35)))
    return path


def test_layer_by_layer_the_file_and_the_closed_form_have_the_same_names(exported):
    took = roofline.layer_latencies(exported, repeats=1)
    work = roofline.work_by_layer(0.35, 6, 64, 10)
    assert list(took) == list(work) and all(took.values())
    assert sum(layer.madds for layer in work.values()) == network_cost(0.35, 6, 64, 10).madds


def test_a_layer_cut_out_computes_what_it_computes_within_the_network(exported):
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = inference.activations(exported, picture)
    last = whole["stem"]
    for name, layer in roofline._layers(exported):
        if name not in ("block_0_depthwise", "block_0_project", "block_1_expand"):
            continue
        layer.set_tensor(layer.get_input_details()[0]["index"], last[None])
        layer.invoke()
        last = layer.get_tensor(layer.get_output_details()[0]["index"])[0]
        np.testing.assert_allclose(last, whole[name], rtol=1e-3, atol=1e-4)
    assert last.shape == whole["block_1_expand"].shape


def test_bytes_moved_are_those_of_the_tensors_that_keras_has():
    model = mobilenet_v2((64, 64, 3), 10, 0.35)
    for name, layer in roofline.work_by_layer(0.35, 6, 64, 10).items():
        found = model.get_layer(name)
        tensors = [*(found.input if isinstance(found.input, list) else [found.input]), found.output, *found.weights]
        assert layer.bytes_moved == 4 * sum(math.prod(tensor.shape[tensor.shape[0] is None :]) for tensor in tensors)
        assert layer.kind == (name.rpartition("_")[2] if name.startswith("block") else "other")


def test_depthwise_layers_do_less_for_a_byte_than_pointwise_ones():
    for resolution in (96, 160, 224):
        kinds, work = ("expand", "depthwise", "project"), roofline.work_by_layer(1.0, 6, resolution).values()
        of = {kind: [layer.madds_per_byte for layer in work if layer.kind == kind] for kind in kinds}
        assert max(of["depthwise"]) < 9 / 8 < min(of["expand"] + of["project"])


def test_a_file_runs_at_other_resolutions(exported):
    assert roofline.network_latency(exported, 32, 1) > 0 and roofline.network_latency(exported, 96, 1) > 0


def test_the_machine_is_measured():
    assert roofline.copy_bandwidth(1, repeats=1) > 1e8


def test_a_copy_reads_and_writes_each_byte(monkeypatch):
    monkeypatch.setattr(inference, "latency", lambda run, repeats: 2.0)  # milliseconds
    assert roofline.copy_bandwidth(1) == pytest.approx(2 * 1e6 / 2e-3)


def test_the_peak_is_that_of_the_largest_projection(exported, monkeypatch):
    monkeypatch.setattr(inference, "latency", lambda run, repeats: 2.0)
    most = max(block.expanded * block.filters for block in mobilenet_v2_architecture(0.35).blocks)
    assert roofline.peak_madds(exported) == pytest.approx(28 * 28 * most / 2e-3)
