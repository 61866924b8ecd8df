"""A wider network that does what a narrower one does (scripts/widen.py)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from undegrade.networks.m3snet import M3SNet, M3SNetConfig


@pytest.fixture(scope="module")
def widen() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "scripts")
        return __import__("widen")


@pytest.mark.parametrize("times", [2, 3])
def test_wide_network_gives_the_same_and_its_copies_part(widen: ModuleType, times: int) -> None:
    torch.manual_seed(0)
    blocks = {"enc_blocks": (1, 1, 1, 2), "dec_blocks": (1, 1, 1, 1)}
    narrow, wide = (M3SNet(M3SNetConfig(width=4 * factor, **blocks)).double() for factor in (1, times))
    for parameter in narrow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    wide.load_state_dict(widen.widened(narrow, times))
    x, target = torch.rand(2, 1, 3, 32, 48, dtype=torch.float64)
    expected = narrow(x)
    assert (wide(x) - expected).abs().max() < 1e-11 * expected.abs().max()
    (wide(x) - target).square().sum().backward()
    slopes = wide.intro.weight.grad
    assert slopes is not None
    assert not torch.allclose(slopes[:4], slopes[4:8], rtol=0.1)
