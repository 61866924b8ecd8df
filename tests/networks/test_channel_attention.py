"""Attention between channels where half precision ends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from undegrade.networks.layers.channel_attention import ChannelAttention, similarity
from undegrade.networks.layers.whole import Passes, begin, using


def rows(pixels: int) -> Tensor:
    """Large, and a row of zeros among them: their squares add up beyond what float16 holds."""
    q = 30 + torch.randn(1, 2, 4, pixels, generator=torch.Generator().manual_seed(0))
    q[0, 0, 0] = 0
    return q


@pytest.mark.parametrize("tile", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_similarity_of_many_pixels_in_half_precision(dtype: torch.dtype, tile: bool) -> None:
    q = rows(1 << 16).to(dtype)
    wanted = similarity(q.double(), q.double())
    with torch.autocast("cpu", dtype):
        if tile:
            with using(Passes()):
                begin()
                got = similarity(q, q)
        else:
            got = similarity(q, q)
    assert got.dtype == dtype
    assert (got - wanted).abs().max() < 0.005


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_serve_tiles_too(dtype: torch.dtype) -> None:
    layer, x = ChannelAttention(16).to(dtype), torch.randn(1, 16, 6, 5).to(dtype)
    with torch.no_grad(), using(Passes()):
        begin()
        assert layer(x).dtype == dtype
