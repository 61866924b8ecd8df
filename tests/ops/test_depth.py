"""The far end of a depth map."""

from __future__ import annotations

import pytest
import torch

from undegrade.ops.depth import farthest


@pytest.mark.parametrize("size", [(10, 101), (5000, 4000)])
def test_stray_and_unknown_pixels_do_not_count(size: tuple[int, int]) -> None:
    depth = torch.linspace(1, 100, size[0] * size[1]).view(size)
    depth[0, :2], depth[-1, -1] = 0, 1e6
    assert float(farthest(depth)) == pytest.approx(99, abs=0.3)
