"""Padding by index."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undegrade.core.errors import UnknownNameError
from undegrade.ops import bayer, pad


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.tuples(*[st.integers(0, 15)] * 4),
    st.sampled_from(pad.MODES),
)
def test_same_as_numpy_for_any_amount(height: int, width: int, amounts: tuple[int, int, int, int], mode: str) -> None:
    picture = torch.rand(2, height, width)
    left, right, top, bottom = amounts
    expected = np.pad(picture.numpy(), ((0, 0), (top, bottom), (left, right)), mode=mode)
    assert np.array_equal(pad.pad(picture, amounts, mode).numpy(), expected)


def test_reflection_keeps_the_bayer_phase() -> None:
    mosaic = bayer.mosaic(torch.ones(3, 6, 6), "GRBG")
    assert torch.equal(pad.pad(mosaic, (0, 2, 0, 2)), bayer.masks(8, 8, "GRBG"))


def test_unknown_mode() -> None:
    with pytest.raises(UnknownNameError, match="symmetric"):
        pad.pad(torch.rand(1, 2, 2), (1, 1, 1, 1), "symetric")
