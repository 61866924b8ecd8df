"""The averaged weights by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from undegrade.engine.ema import Ema


def averaged(decay: float, values: list[float]) -> Ema:
    """Of a single weight that starts at 0 and takes the values in turns."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    ema = Ema(net, decay)
    for value in values:
        nn.init.constant_(net.weight, value)
        ema.update(net)
    return ema


def test_the_decay_grows_until_it_reaches_its_own() -> None:
    expected = 0.0
    for value, decay in ((1.0, 2 / 11), (2.0, 3 / 12), (4.0, 0.3)):  # the third would be 4 / 13
        expected = decay * expected + (1 - decay) * value
    ema = averaged(0.3, [1.0, 2.0, 4.0])
    assert float(ema.module.weight) == pytest.approx(expected)
    assert ema.updates == 3


def test_without_a_decay_it_is_the_weights_themselves() -> None:
    assert float(averaged(0.0, [1.0, 5.0]).module.weight) == 5.0


def test_buffers_are_copied_and_the_weights_stay_their_own() -> None:
    net = nn.BatchNorm2d(2)
    ema = Ema(net, 0.999)
    net(torch.rand(4, 2, 3, 3) + 7)
    nn.init.constant_(net.weight, 3.0)
    ema.update(net)
    assert torch.equal(ema.module.running_mean, net.running_mean)
    assert (net.weight == 3).all()
    assert not ema.module.training
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
