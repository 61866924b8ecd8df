"""CCNet: gated unit and strips."""

from __future__ import annotations

import mimo_plain
import numpy as np
import pytest
import torch
from test_mimo import EXACT, awake, difference
from torch import nn

from undegrade.networks import ccnet


@pytest.mark.parametrize(
    "unit",
    [ccnet.GatedUnit(8), ccnet.StripUnit(4, 11), ccnet.StripUnit(4, 7)],
    ids=["gated", "strips 11", "strips 7"],
)
def test_unit_equals_plain_form(unit: nn.Module) -> None:
    unit = awake(unit)
    u = torch.randn(2, 4 if isinstance(unit, ccnet.StripUnit) else 8, 31, 40, dtype=torch.float64)
    expected = mimo_plain.plain(unit)(u.clone())
    assert difference(unit(u.clone()), expected) < EXACT
    with torch.no_grad():
        assert difference(unit(u.clone()), expected) < EXACT


def test_strips_as_gpus_compute_them_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = awake(ccnet.StripUnit(4, 11))
    u = torch.randn(2, 4, 31, 40, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()

    def results() -> list[torch.Tensor]:
        y = unit(u.clone())
        return [y, *torch.autograd.grad(y.square().sum(), [u, *unit.parameters()])]

    expected = results()
    monkeypatch.setattr(ccnet, "place", lambda _: "cuda")
    convolve = ccnet.F.conv2d

    def without_groups(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return convolve(x, weight)

    monkeypatch.setattr(ccnet.F, "conv2d", without_groups)  # the taps may be made by it, no strip
    found = results()
    for ours, plain in zip(found, expected, strict=True):
        assert difference(ours, plain) < EXACT
    assert found[0].is_contiguous()


@pytest.mark.parametrize(("axis", "shape"), [(3, (1, 9)), (2, (9, 1))])
def test_strip_reflects_as_often_as_needed(axis: int, shape: tuple[int, int]) -> None:
    """Taps 6 apart reach 30 pixels; on 9 pixels the picture is mirrored several times."""
    strip = ccnet.Strip(1, 11, 6, axis).double()
    line = np.arange(9.0)
    got = strip(torch.from_numpy(line).view(1, 1, *shape)).flatten()
    taps = torch.sigmoid(strip.taps.weight.flatten() * line.mean()).detach().numpy()
    mirrored = np.pad(line, 30, mode="reflect")
    expected = [sum(taps[t] * mirrored[p + 6 * t] for t in range(11)) for p in range(9)]
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12)


def test_small_crops_can_be_trained_on() -> None:
    net = ccnet.SPEC.build(ccnet.CCNetConfig(width=8, blocks=1))
    net(torch.rand(1, 3, 32, 40)).mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("axis", [2, 3])
def test_a_map_of_one_pixel_goes_on_as_it_is(axis: int) -> None:
    line = torch.rand(1, 2, 1, 3).movedim(2, axis)
    assert torch.equal(ccnet._reflect(line, 30, axis), line.repeat_interleave(61, axis))
