from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyramid_plain
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from undegrade.networks.layers import pyramid
from undegrade.networks.layers.pyramid import KeyLine, PyramidAttention, Row, diagonal_box, strips


@pytest.fixture
def narrow_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "NUMBERS_PER_ROW", 1)
    monkeypatch.setattr(pyramid, "LEAST_COLUMNS", 4)


def layer_and_input(size: tuple[int, ...], *, match: int = 4, **numbers: Any) -> tuple[PyramidAttention, Tensor]:
    torch.manual_seed(sum(size))
    return PyramidAttention(size[1], match, **numbers).double(), torch.randn(size, dtype=torch.float64)


def with_gradients(run: Callable[[Tensor], Tensor], layer: PyramidAttention, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = run(x)
    slope = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).sin().view_as(y)
    return [y, *torch.autograd.grad(y, [x, *layer.parameters()], slope)]


def assert_equal(ours: list[Tensor], plain: list[Tensor], tolerance: float = 1e-12) -> None:
    for a, b in zip(ours, plain, strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max()


SIZES = [(1, 64, 24, 31), (2, 8, 9, 13), (1, 8, 12, 5), (3, 6, 2, 2), (1, 6, 2, 17), (1, 6, 17, 2), (1, 4, 7, 10)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("plain", [pyramid_plain.unfolded, pyramid_plain.published])
def test_equals_plain_form(size: tuple[int, ...], plain: Callable[[PyramidAttention, Tensor], Tensor]) -> None:
    layer, x = layer_and_input(size, residual=0.1)
    assert_equal(with_gradients(layer, layer, x), with_gradients(lambda x: plain(layer, x), layer, x))


@pytest.mark.usefixtures("narrow_strips")
@pytest.mark.parametrize("size", SIZES[:3], ids=str)
def test_narrow_strips_equal_plain_form(size: tuple[int, ...]) -> None:
    layer, x = layer_and_input(size)
    assert_equal(with_gradients(layer, layer, x), with_gradients(lambda x: pyramid_plain.unfolded(layer, x), layer, x))


def test_legacy_resize_equals_plain_form_and_differs_from_the_new_one() -> None:
    legacy, x = layer_and_input((1, 8, 13, 9), legacy_resize=True)
    assert_equal([legacy(x)], [pyramid_plain.unfolded(legacy, x)])
    current = PyramidAttention(8, 4).double()
    current.load_state_dict(legacy.state_dict())
    assert (legacy(x) - current(x)).abs().max() > 1e-3


def test_sizes_of_the_levels_round_down_in_double_precision() -> None:
    layer = PyramidAttention(1, 1)
    for side, expected in ((48, [43, 38, 33, 28]), (90, [81, 72, 62, 54]), (170, [153, 136, 118, 102])):
        x = torch.zeros(1, 1, side, 25)
        got = [layer.resize(x, 1 - level / 10).shape[2:] for level in range(1, 5)]
        assert got == [torch.Size([h, w]) for h, w in zip(expected, [22, 20, 17, 15], strict=True)]


def test_keys_without_energy_have_finite_gradients() -> None:
    layer, x = layer_and_input((1, 8, 9, 9))
    with torch.no_grad():
        layer.key[0].weight.zero_()
        layer.key[0].bias.zero_()
    results = with_gradients(layer, layer, x)
    assert all(bool(result.isfinite().all()) for result in results)


@pytest.mark.parametrize("rows", [1, 2, 3, 6])
def test_diagonal_box_adds_nine_offsets_within_each_size(rows: int) -> None:
    sizes, columns = [(rows, 5), (4, 3)], 5
    line = KeyLine(sizes)
    torch.manual_seed(rows)
    products = [torch.randn(rows, columns, h, w, dtype=torch.float64) for h, w in sizes]
    joined = line.join([p.flatten(0, 1).unsqueeze(0) for p in products]).mT.contiguous().view(rows, columns, -1)
    sources = (Row(numbers.clone(), line) for numbers in joined)
    boxed = torch.stack([row.numbers.clone() for row in diagonal_box(sources, line)])

    expected = []
    for p in products:
        framed = torch.nn.functional.pad(p, (1, 1, 1, 1, 1, 1, 1, 1))
        h, w = p.shape[2:]
        moves = [framed[i : i + rows, j : j + columns, i : i + h, j : j + w] for i in range(3) for j in range(3)]
        expected.append(sum(moves).flatten(0, 1).unsqueeze(0))
    open_positions = line.closed(boxed) == 0
    wanted = line.join(expected).mT.contiguous().view(rows, columns, -1)
    assert (boxed - wanted)[..., open_positions].abs().max() < 1e-14


def test_gpus_take_wider_strips() -> None:
    assert len(strips(96, 30_000)) == 4
    assert len(strips(96, 30_000, "cuda")) == 1


def test_strips_cover_every_column_once() -> None:
    for width, keys in ((1, 10), (48, 7695), (96, 30_000), (101, 10**6)):
        parts = strips(width, keys)
        assert [x for part in parts for x in range(width)[part.columns]] == list(range(width))
        for part in parts:
            inside = list(range(width)[part.reach][part.near][part.inner])
            assert inside == list(range(width))[part.columns]


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that an operator returned."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (list, tuple)) else [out]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return out


@pytest.mark.usefixtures("narrow_strips")
def test_no_tensor_grows_with_the_square_of_the_pixels() -> None:
    largest = []
    for rows in (16, 32):
        layer, x = layer_and_input((1, 8, rows, 12))
        with LargestTensor() as seen:
            layer(x.requires_grad_()).sum().backward()
        largest.append(seen.numbers)
    assert largest[1] < 2.2 * largest[0]


def test_half_precision_in_half_precision_out() -> None:
    layer, x = layer_and_input((1, 8, 10, 9))
    wanted = layer(x)
    got = layer.bfloat16()(x.bfloat16())
    assert got.dtype == torch.bfloat16
    assert (got - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_autocast_costs_the_attention_no_digits() -> None:
    layer, x = layer_and_input((1, 8, 10, 9))
    query, *rest = layer.query(x).permute(0, 2, 3, 1).float(), *layer.float().keys_and_values(x.float())
    wanted = pyramid.attend(query, *rest)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pyramid.attend(query, *rest), wanted)
        layer(x.float()).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_backward_under_autocast_costs_no_digits() -> None:
    layer, x = layer_and_input((1, 8, 10, 9))
    query, *rest, line = layer.query(x).permute(0, 2, 3, 1).float(), *layer.float().keys_and_values(x.float())
    inputs = [tensor.detach().requires_grad_() for tensor in (query, *rest)]
    y = pyramid.attend(*inputs, line).square().sum()
    wanted = torch.autograd.grad(y, inputs, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        got = torch.autograd.grad(y, inputs)
    assert all(map(torch.equal, got, wanted))


@pytest.mark.parametrize("autocast", [True, False])
def test_keys_without_energy_in_float16(autocast: bool) -> None:
    layer, x = layer_and_input((1, 8, 9, 9))
    with torch.no_grad():
        layer.key[0].weight.zero_()
        layer.key[0].bias.zero_()
        wanted = layer(x)
        layer, x = (layer.float(), x.float()) if autocast else (layer.half(), x.half())
        with torch.autocast("cpu", torch.float16, enabled=autocast):
            got = layer(x)
    assert (got - wanted).abs().max() < 0.01 * wanted.abs().max()
