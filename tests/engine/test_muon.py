"""The Muon optimiser."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from undegrade.engine.muon import Muon, orthogonal


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 3), nn.Conv2d(24, 8, 1), nn.Conv2d(8, 3, 3))


def step(model: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    x = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    optimiser.zero_grad()
    model(x).square().mean().backward()
    optimiser.step()


@pytest.mark.parametrize("shape", [(4, 8, 32), (4, 32, 8)], ids=str)
def test_singular_values_end_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 50
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_the_directions_stay() -> None:
    """A matrix that is orthogonal already keeps its directions: the result is close to a multiple of it."""
    matrix = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(2))).Q[None]
    cosine = torch.nn.functional.cosine_similarity(orthogonal(matrix).flatten(), matrix.flatten(), dim=0)
    assert cosine > 0.999


def test_ends_and_vectors_take_steps_of_adam() -> None:
    ours, theirs = net(), net()
    muon = Muon(ours, lr=1e-2, betas=(0.9, 0.99))
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-2, betas=(0.9, 0.99))
    step(ours, muon, 1)
    step(theirs, adam, 1)
    for name in ("0.weight", "0.bias", "1.bias", "3.weight", "3.bias"):
        torch.testing.assert_close(ours.get_parameter(name), theirs.get_parameter(name))
    assert not torch.allclose(ours.get_parameter("1.weight"), theirs.get_parameter("1.weight"))


def test_a_net_without_a_middle_is_trained_by_adam_alone() -> None:
    ours = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 3))
    theirs = copy.deepcopy(ours)
    muon = Muon(ours, lr=1e-2, betas=(0.9, 0.99))
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-2, betas=(0.9, 0.99))
    for seed in range(4):
        step(ours, muon, seed)
        step(theirs, adam, seed)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_steps_have_the_size_of_adams() -> None:
    model = net()
    before = copy.deepcopy(model)
    step(model, Muon(model, lr=1e-2), 1)
    for name in ("1.weight", "2.weight"):
        change = model.get_parameter(name) - before.get_parameter(name)
        assert 0.1e-2 < float(change.detach().square().mean().sqrt()) < 0.4e-2


def test_state_goes_on_where_it_was() -> None:
    straight, stopped = net(), net()
    optimiser, first = Muon(straight, lr=1e-2), Muon(stopped, lr=1e-2)
    for seed in (1, 2):
        step(straight, optimiser, seed)
    step(stopped, first, 1)
    resumed = Muon(stopped, lr=1.0)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    step(stopped, resumed, 2)
    for ours, theirs in zip(straight.parameters(), stopped.parameters(), strict=True):
        assert torch.equal(ours, theirs)
