from __future__ import annotations

import torch
from torch import nn

from undegrade.core.memory import OVERHEAD, peak_bytes, place


def test_counts_what_is_alive_at_the_worst_moment():
    # 3 planes of input, then 8 and 8 alive together, then 8 and 3: the worst is 16 planes, or 3 + 8 + 8 at most.
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Sigmoid(), nn.Conv2d(8, 3, 1))
    counted = peak_bytes(net, (1, 3, 100, 200))
    plane = 100 * 200 * 4
    assert 16 * plane <= (counted - 3 * plane) / OVERHEAD <= 19 * plane


def test_grows_with_the_pixels_and_leaves_the_weights_alone():
    net = nn.Conv2d(3, 8, 3, padding=1)
    before = net.weight.clone()
    assert peak_bytes(net, (1, 3, 400, 200)) == 4 * peak_bytes(net, (1, 3, 200, 100))
    assert torch.equal(net.weight, before)
    assert net.weight.device.type == "cpu"


class Looking(nn.Module):
    def forward(self, x):
        return x * float(x.max())


def test_unknown_for_networks_that_look_at_values():
    assert peak_bytes(Looking(), (1, 3, 8, 8)) is None


class Thrifty(nn.Module):
    """Has a form of its own for the CPU."""

    def forward(self, x):
        return x + 1 if place(x) == "cpu" else x.repeat(1, 8, 1, 1).sigmoid()[:, :3]


def test_counts_the_form_for_the_device():
    shape = (1, 3, 100, 200)
    assert peak_bytes(Thrifty(), shape, "cuda") > 2 * peak_bytes(Thrifty(), shape)
    assert place(torch.empty(1)) == "cpu"
    assert place(torch.empty(1, device="meta")) == "meta"
