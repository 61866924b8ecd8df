"""Blocks without activations: the fast forms equal the plain ones, with gradients, in strips and in half precision."""

from __future__ import annotations

from typing import Any

import naf_plain
import pytest
import torch
from torch import Tensor, nn

from undegrade.core.errors import UsageError
from undegrade.networks import catalog
from undegrade.networks.layers import naf, naf_strips
from undegrade.networks.layers.naf import LayerNorm2d, NAFBlock, norm_by_means, raised, up
from undegrade.networks.layers.whole import Passes, begin, using

SMALL: dict[str, dict[str, Any]] = {
    "m3snet": {"width": 4, "enc_blocks": (1, 1, 1, 2)},
    "mhnet": {"width": 8, "enc_blocks": (1, 1, 1, 2), "num_cab": 1},
    "mhnet2023": {"width": 8, "n_feat": 6, "enc_blocks": (1, 1, 1, 2), "num_cab": 1},
}


def moved(module: nn.Module) -> nn.Module:
    """In float64, every parameter moved away from its start."""
    torch.manual_seed(3)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def network(name: str) -> nn.Module:
    spec = catalog.get(name)
    return moved(spec.build(spec.configure(**SMALL[name])))


def gradients(module: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    x = x.clone().requires_grad_()
    y = module(x)
    (y * torch.linspace(0.3, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    found = {name: parameter.grad for name, parameter in module.named_parameters()}
    return y.detach(), {"input": x.grad} | {name: grad for name, grad in found.items() if grad is not None}


@pytest.mark.parametrize("name", SMALL)
def test_plain_form(name: str) -> None:
    net = network(name)
    x = torch.rand(2, 3, 37, 48, dtype=torch.float64)
    fast, fast_gradients = gradients(net, x)
    plain, plain_gradients = gradients(naf_plain.plain(net), x)
    torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)
    assert fast_gradients.keys() == plain_gradients.keys()
    for key, grad in fast_gradients.items():
        torch.testing.assert_close(grad, plain_gradients[key], rtol=1e-9, atol=1e-11 * float(grad.abs().max() + 1))
    with torch.no_grad():  # the strips of inference
        torch.testing.assert_close(net(x), plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["m3snet", "mhnet"])
def test_plain_local_form(name: str) -> None:
    spec = catalog.get(name)
    net = spec.local(network(name), (32, 16))
    x = torch.rand(1, 3, 64, 80, dtype=torch.float64)
    plain, plain_gradients = gradients(naf_plain.plain(net), x)
    fast, fast_gradients = gradients(net, x)
    torch.testing.assert_close(fast, plain, rtol=1e-11, atol=1e-11)
    for key, grad in fast_gradients.items():
        torch.testing.assert_close(grad, plain_gradients[key], rtol=1e-8, atol=1e-10 * float(grad.abs().max() + 1))


@pytest.mark.parametrize("elements", [1, 300, 1000, 1 << 19], ids=["one row", "few rows", "uneven", "whole"])
@pytest.mark.parametrize("window", [None, (5, 40), (7, 6)], ids=str)
def test_strips(elements: int, window: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naf_strips, "_ELEMENTS", elements)
    block = moved(NAFBlock(4))
    block.window = window
    x = torch.randn(2, 4, 11, 13, dtype=torch.float64)
    whole = block(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(block(x), whole, rtol=1e-12, atol=1e-12)


def test_strips_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naf_strips, "_ELEMENTS", 300)
    block = moved(NAFBlock(8)).float()
    x = torch.randn(1, 8, 12, 10)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = block(x)
        rougher = block(x.bfloat16())
    assert rough.dtype == torch.float32  # what comes in as float32 keeps its digits in the residual sums
    assert rougher.dtype == torch.bfloat16
    exact = block(x)
    assert (rough - exact).abs().max() < 0.03 * exact.abs().max()
    assert (rougher - exact).abs().max() < 0.05 * exact.abs().max()


def test_strips_of_pictures_that_share_their_means() -> None:
    block = moved(NAFBlock(4))
    x = torch.randn(3, 4, 6, 8, dtype=torch.float64)

    def recorded() -> tuple[Tensor, Tensor]:
        with using(Passes()) as record:
            begin()
            return block(x).detach(), record.found[0][0]

    whole, mean = recorded()
    with torch.no_grad():
        strips, same = recorded()
    torch.testing.assert_close(strips, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(same, mean, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("elements", [1, 300, 1 << 19], ids=["one row", "uneven", "whole"])
@pytest.mark.parametrize("keep", [True, False])
def test_raised_in_strips(elements: int, keep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naf_strips, "_ELEMENTS", elements)
    rise = moved(up(6))
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    for layout in (torch.contiguous_format, torch.channels_last):
        skip = torch.randn(2, 3, 10, 14, dtype=torch.float64).contiguous(memory_format=layout)
        before = skip.clone()
        expected = raised(rise, x, skip, keep=keep).detach()
        assert torch.equal(skip, before)
        with torch.no_grad():
            result = raised(rise, x, skip, keep=keep)
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
        assert torch.equal(skip, before if keep else result)


def test_fresh_block_changes_nothing() -> None:
    x = torch.randn(1, 6, 9, 9)
    assert torch.equal(NAFBlock(6)(x), x)


def test_norm_keeps_its_statistics_in_half_precision() -> None:
    x = (100 + torch.randn(1, 16, 8, 8)).bfloat16()
    exact = LayerNorm2d(16).double()(x.double())
    assert (LayerNorm2d(16)(x).double() - exact).abs().max() < 0.02


def test_norm_as_gpus_compute_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    norm, x = moved(LayerNorm2d(16)), torch.randn(2, 16, 5, 7, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(x.shape, dtype=torch.float64)

    def results() -> list[Tensor]:
        y = norm(x)
        return [y, *torch.autograd.grad(y, [x, *norm.parameters()], slope)]

    expected = results()
    monkeypatch.setattr(naf, "place", lambda _: "cuda")
    monkeypatch.setattr(naf.F, "layer_norm", None)
    torch.testing.assert_close(results(), expected, rtol=1e-12, atol=1e-12)
    assert norm_by_means(norm.float(), x.detach().bfloat16()).dtype == torch.float32
    half = norm.half()
    assert half(x.detach().half()).dtype == torch.float16  # as the convolutions of a network in half precision need it


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("m3snet", {"width": 7}, "width=7"),
        ("mhnet", {"enc_blocks": (1, 1)}, "enc_blocks"),
        ("m3snet", {"dec_blocks": (1, 1, 1, -1)}, "dec_blocks"),
        ("mhnet2023", {"width": 6}, "multiple of 4"),
        ("mhnet2023", {"n_feat": 5}, "n_feat=5"),
        ("nafsr", {"scale": 0}, "scale=0"),
    ],
)
def test_impossible_numbers(name: str, numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        catalog.get(name).configure(**numbers)


def test_lists_become_tuples() -> None:
    """Recipes and cards hold lists."""
    spec = catalog.get("m3snet")
    assert spec.configure(enc_blocks=[1, 1, 1, 28], dec_blocks=[1, 1, 1, 1]) == spec.configure()


def test_fresh_super_resolution_is_bicubic() -> None:
    x = torch.rand(1, 3, 9, 7)
    net = catalog.get("nafsr").build(catalog.get("nafsr").configure("nafsr_x3", blocks=1, width=4))
    wanted = nn.functional.interpolate(x, scale_factor=3, mode="bicubic")
    torch.testing.assert_close(net(x), wanted)
