"""ChaIR and CCNet: the forms written for speed equal the plain ones, with and without gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mimo_plain import plain
from torch import Tensor, nn

from undegrade.core.errors import UsageError
from undegrade.networks import ccnet, chair
from undegrade.networks._spec import NetworkSpec

SPECS = [chair.SPEC, ccnet.SPEC]
SIZES = {"chair": (16, 24), "ccnet": (124, 128)}  # the plain strips need 124
EXACT = 1e-12


def awake(module: nn.Module) -> nn.Module:
    """Float64, with the scales that start at zero moved away from it, so that every unit takes part."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in module.named_parameters():
        if name.endswith(("gamma", "beta")):
            nn.init.normal_(parameter, 1.0, 0.3, generator=generator)
    return module.double()


def small(spec: NetworkSpec[Any]) -> nn.Module:
    torch.manual_seed(4)
    return awake(spec.build(spec.configure(width=8, blocks=2 if spec is chair.SPEC else 1)))


def difference(got: Tensor, expected: Tensor) -> float:
    return float(((got - expected).abs().max() / expected.abs().max()).detach())


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_network_equals_plain_form(spec: NetworkSpec[Any]) -> None:
    net = small(spec).eval()
    x = torch.rand(2, 3, *SIZES[spec.name], dtype=torch.float64)
    given = x.clone()
    with torch.no_grad():
        results, expected = net.scales(x), plain(net).scales(x)
        assert [tuple(y.shape[-2:]) for y in results] == [(x.shape[-2] // k, x.shape[-1] // k) for k in (4, 2, 1)]
        assert max(map(difference, results, expected)) < EXACT
        assert torch.equal(net(x), results[-1])
        assert torch.equal(x, given), "the input was written into"
    # Steps that overwrite their argument take another path as soon as gradients are wanted.
    assert difference(net(x), expected[-1]) < EXACT


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_gradients_equal_plain_form(spec: NetworkSpec[Any]) -> None:
    net = small(spec).train()
    other = plain(net)
    x = torch.rand(2, 3, *SIZES[spec.name], dtype=torch.float64)
    for module in (net, other):
        sum(y.square().mean() for y in module.scales(x)).backward()
    total = torch.stack([parameter.grad.norm() for parameter in other.parameters()]).norm()
    for (name, parameter), expected in zip(net.named_parameters(), other.parameters(), strict=True):
        assert (parameter.grad - expected.grad).abs().max() < EXACT * total, name


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_smaller_heads_are_skipped(spec: NetworkSpec[Any]) -> None:
    net = small(spec).eval()
    net.heads[0].register_forward_pre_hook(lambda *_: pytest.fail("the quarter-size head ran"))
    net.heads[1].register_forward_pre_hook(lambda *_: pytest.fail("the half-size head ran"))
    with torch.no_grad():
        net(torch.rand(1, 3, 16, 16, dtype=torch.float64))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_size_must_be_a_multiple_of_four(spec: NetworkSpec[Any]) -> None:
    with pytest.raises(UsageError, match="126x128"):
        small(spec)(torch.rand(1, 3, 126, 128, dtype=torch.float64))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("width", [0, 2, 30])
def test_width_must_be_a_multiple_of_four(spec: NetworkSpec[Any], width: int) -> None:
    with pytest.raises(UsageError, match=f"width={width}: give a multiple of 4"):
        spec.build(spec.configure(width=width))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("preset", ["default", "odd"])
def test_names_are_one_to_one_and_numbers_are_found(spec: NetworkSpec[Any], preset: str) -> None:
    config = spec.configure() if preset == "default" else spec.configure(width=12, blocks=3, colors=1)
    with torch.device("meta"):
        state = spec.build(config).state_dict()
    names = spec.official(config)
    assert sorted(names.values()) == sorted(state)
    shapes = {official: tuple(state[ours].shape) for official, ours in names.items()}
    found = [other.infer(shapes) for other in SPECS]
    assert found == [config if other is spec else None for other in SPECS]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_bfloat16(spec: NetworkSpec[Any]) -> None:
    """Under autocast with gradients, and as a module of that precision without."""
    net = small(spec).float().train()
    x = torch.rand(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(y.float().square().mean() for y in net.scales(x))
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())
    net.eval()
    with torch.no_grad():
        expected = net(x)
        assert difference(net.bfloat16()(x.bfloat16()).float(), expected) < 0.1
