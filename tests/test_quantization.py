"""Rounding to a few levels, held against counts of another kind, and against what the exporter wrote."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbv2_lib import quantization

KERNEL = np.random.default_rng(0).standard_normal((3, 3, 8)) * np.geomspace(0.01, 3, 8)


def nearest_levels(values, scale, bits):
    """The nearest of all the levels that there are, found by looking at every one of them."""
    most = 2 ** (bits - 1) - 1
    levels = scale * np.arange(-most, most + 1)
    return levels[np.abs(np.asarray(values)[..., None] - levels).argmin(axis=-1)]


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("axis", [None, (0, 1)])
def test_each_value_takes_the_nearest_level(bits, axis):
    scale = quantization.scale_of(KERNEL, bits, axis)
    codes = quantization.quantize(KERNEL, scale, bits)
    assert codes.dtype == np.int32 and np.abs(codes).max() == 2 ** (bits - 1) - 1
    rounded = quantization.dequantize(codes, scale)
    for channel in range(8):
        own = np.broadcast_to(scale, KERNEL.shape)[0, 0, channel]
        np.testing.assert_allclose(rounded[..., channel], nearest_levels(KERNEL[..., channel], own, bits))


@settings(deadline=None)  # of an example, which another process may delay
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.integers(2, 8), st.floats(0.01, 10))
def test_no_value_within_reach_moves_by_more_than_half_a_step_and_none_leaves_the_codes(values, bits, scale):
    values = np.array(values)
    codes = quantization.quantize(values, scale, bits)
    most = 2 ** (bits - 1) - 1
    assert np.abs(codes).max() <= most
    inside = np.abs(values) <= most * scale
    assert (np.abs(quantization.dequantize(codes, scale) - values)[inside] <= scale / 2 * (1 + 1e-9)).all()


def test_a_scale_a_channel_loses_less_than_one_for_all_where_channels_differ():
    errors = {}
    for axis in (None, (0, 1)):
        scale = quantization.scale_of(KERNEL, 8, axis)
        rounded = quantization.dequantize(quantization.quantize(KERNEL, scale), scale)
        errors[axis] = quantization.relative_error(KERNEL, rounded, axis=(0, 1))
    assert errors[None][0] > 10 * errors[0, 1][0] and errors[None].shape == (8,)


def test_a_kernel_of_zeros_is_kept_without_a_division_by_zero():
    nothing = np.zeros((3, 3, 2))
    scale = quantization.scale_of(nothing, 8, (0, 1))
    assert (scale == 1 / 127).all() and (quantization.quantize(nothing, scale) == 0).all()
    assert quantization.relative_error(nothing, nothing) == 0


def test_relative_error_is_a_ratio_of_lengths():
    rounded = KERNEL + 0.1
    expected = np.linalg.norm((rounded - KERNEL).ravel()) / np.linalg.norm(KERNEL.ravel())
    assert quantization.relative_error(KERNEL, rounded) == pytest.approx(expected)


def test_folding_gives_what_a_convolution_and_its_normalization_give():
    rng = np.random.default_rng(1)
    gamma, beta, mean, variance = rng.uniform(0.1, 2, (4, 8))
    patch = rng.standard_normal((3, 3, 8))
    normalized = ((patch * KERNEL).sum(axis=(0, 1)) - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    folded = quantization.fold(KERNEL, gamma, variance)
    offset = beta - mean * gamma / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose((patch * folded).sum(axis=(0, 1)) + offset, normalized)
