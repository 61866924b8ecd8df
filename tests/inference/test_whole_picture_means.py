"""Networks that average over the whole picture, run on tiles."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from undegrade.inference.restorer import Restorer
from undegrade.networks.layers.channel_attention import similarity
from undegrade.networks.layers.whole import Passes, WholeInstanceNorm, begin, recording, shared, using, whole_mean


class Levelled(nn.Module):
    """Takes the picture's mean out, and lets a second mean depend on the first."""

    def forward(self, x):
        rolled = x * torch.linspace(1, 1.2, 3, device=x.device)[:, None, None]
        return 0.5 + rolled - whole_mean(rolled) - 0.1 * whole_mean(whole_mean(x) * x)


@pytest.fixture
def levelled(probe):
    def make(tiling="discouraged", net=None, **restorer):
        fields = {"multiple_of": 4, "tiling": tiling, "context": 0}
        return Restorer.from_module(net or Levelled(), probe(fields).spec, probe().config, **restorer)

    return make


@pytest.fixture
def ramp():
    """(1, 3, 300, 420), darker in one corner than in the other: every tile has another mean."""
    rows, columns = torch.linspace(0, 0.5, 300)[:, None], torch.linspace(0, 0.5, 420)
    return (rows + columns).expand(1, 3, -1, -1).contiguous()


@pytest.mark.parametrize(
    "options", [{"tile": 64}, {"tile": 150}, {"tile": 64, "ensemble": 8}, {"max_memory": 2_000_000}]
)
def test_tiles_use_the_means_of_the_whole_picture(levelled, ramp, options):
    whole = levelled().tensor(ramp, tile=None, ensemble=options.get("ensemble", 1))
    assert (levelled().tensor(ramp, **options) - whole).abs().max() < 0.01
    assert (levelled("free").tensor(ramp, **options) - whole).abs().max() > 0.1


def test_a_picture_too_thin_for_windows_is_restored_all_the_same(levelled):
    x = torch.rand(1, 3, 2, 300)
    assert levelled().tensor(x, tile=64).shape == x.shape


def test_grey_pictures_too(levelled, ramp):
    grey = ramp[:, :1]
    assert (levelled().tensor(grey, tile=64) - levelled().tensor(grey, tile=None)).abs().max() < 0.01


class Fragile(Levelled):
    """Overflows in half precision after it has met a mean."""

    def forward(self, x):
        y = super().forward(x)
        return y + 0 * (torch.einsum("bchw,c->bhw", y, torch.full((3,), 6e4)) * 3)[:, None].to(y.dtype)


def test_a_pass_repeated_in_float32_counts_once(levelled, ramp):
    full, half = levelled(net=Fragile()), levelled(net=Fragile(), dtype="float16")
    assert torch.allclose(half.tensor(ramp, tile=64), full.tensor(ramp, tile=64), atol=1e-3)


def test_nothing_is_shared_outside(ramp):
    assert not recording()
    assert torch.equal(shared(ramp), ramp)
    assert torch.equal(whole_mean(ramp), ramp.mean((2, 3), keepdim=True))


def test_average_of_recordings():
    records = []
    for value, weight in ((1.0, 3), (5.0, 1)):
        with using(Passes()) as record:
            for factor in (1, 10):
                begin()
                shared(torch.full((2, 1), value * factor))
        records.append((record, weight))
    with using(Passes.average(records)):
        for expected in (2, 20, 2):
            begin()
            assert shared(torch.zeros(1, 1)) == expected


def test_instance_norm():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 10) * 3 + 1
    norm = WholeInstanceNorm(4, affine=True)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    plain = norm(x)
    assert torch.allclose(plain, nn.functional.instance_norm(x, weight=norm.weight, bias=norm.bias), atol=1e-6)
    with using(Passes()) as record:
        begin()
        norm(x[:1])
    with using(Passes.average([(record, 1)])):
        begin()
        assert torch.allclose(norm(x[:1, :, 2:5, 3:7]), plain[:1, :, 2:5, 3:7], atol=1e-5)


def test_similarity_of_channels_in_double_precision():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 2, 4, 60, dtype=torch.float64)
    plain = similarity(q, k)
    with using(Passes()):
        begin()
        assert torch.allclose(similarity(q, k), plain, rtol=0, atol=1e-12)
