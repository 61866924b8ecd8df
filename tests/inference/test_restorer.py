from __future__ import annotations

import os
import random
import signal
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import undegrade
from undegrade import tasks
from undegrade.core.errors import InputError, UsageError
from undegrade.inference import restorer as restorers
from undegrade.inference import run as running
from undegrade.inference.backend import TorchBackend
from undegrade.inference.restorer import Restorer
from undegrade.networks import catalog
from undegrade.ops.bayer import from_single
from undegrade.ops.colour import rgb_to_ycbcr
from undegrade.ops.resize import imresize
from undegrade.tasks import Task
from undegrade.weights.card import WeightsCard


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 500), (5, 5), (61, 67), (64, 64)])
@pytest.mark.parametrize("fields", [{}, {"multiple_of": 16, "min_size": 124}, {"padding": "zeros"}])
def test_any_size(probe, picture, size, fields):
    x = picture(*size)
    y = probe(fields).tensor(x)
    assert y.shape == x.shape
    assert torch.isfinite(y).all()
    assert 0 <= y.min() <= y.max() <= 1


def test_m3snet_takes_any_size(picture):
    spec = catalog.get("m3snet")
    config = spec.configure("m3snet_w16_d8", width=4, enc_blocks=(1, 1, 1, 1))
    restorer = Restorer.from_module(spec.build(config), spec, config)
    for size in [(1, 1), (17, 5), (50, 70)]:
        assert restorer.tensor(picture(*size)).shape[-2:] == size


def test_result_does_not_depend_on_the_batch(probe, picture):
    restorer, x = probe(), picture(40, 52, batch=5)
    together = restorer.tensor(x)
    assert torch.equal(together[3:4], restorer.tensor(x[3:4]))
    assert torch.equal(together.flip(0), restorer.tensor(x.flip(0)))


def test_same_kind_out(probe):
    restorer = probe()
    generator = np.random.default_rng(0)
    colour = generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    deep = generator.integers(0, 65536, (20, 30), dtype=np.uint16)
    assert (out := restorer(colour)).dtype == np.uint8
    assert out.shape == colour.shape
    assert (out := restorer(deep)).dtype == np.uint16
    assert out.shape == deep.shape
    batch = restorer(torch.rand(2, 3, 9, 11))
    assert batch.shape == (2, 3, 9, 11)
    with_alpha = np.dstack([colour, generator.integers(0, 256, (20, 30), dtype=np.uint8)])
    assert np.array_equal(restorer(with_alpha)[..., 3], with_alpha[..., 3])


def test_what_progress_raises_ends_the_picture(probe):
    restorer, x, seen = probe(), np.zeros((200, 200, 3), np.uint8), []

    def stop(done, of):
        seen.append((done, of))
        if done == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        restorer(x, tile=64, progress=stop)
    assert seen[-1][0] == 2 < seen[-1][1]
    assert restorer(x, tile=64).shape == x.shape


def test_the_program_around_stays_as_it_was(capfd):
    def state():
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        types = torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()
        numbers = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()
        rest = torch.get_num_threads(), Image.MAX_IMAGE_PIXELS, warnings.filters[:], np.geterr(), dict(os.environ)
        return signals, types, numbers, rest

    before = state()
    undegrade.load("denoising_fast")(np.zeros((24, 24, 3), np.uint8))
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_grey_through_a_colour_network(probe, picture):
    restorer, x = probe(), picture(20, 24, channels=1)
    expected = restorer.backend.run(x.expand(-1, 3, -1, -1)).mean(1, keepdim=True).clamp(0, 1)
    assert torch.allclose(restorer.tensor(x), expected, atol=1e-6)


def test_colour_through_a_luma_network_keeps_the_chroma(probe, picture):
    x = 0.4 + 0.2 * picture(20, 24)
    y = probe(colors=1).tensor(x)
    assert torch.allclose(rgb_to_ycbcr(y)[:, 1:], rgb_to_ycbcr(x)[:, 1:], atol=1e-5)
    assert not torch.allclose(y, x, atol=1e-2)


def test_strength(probe, picture):
    restorer, x = probe(), 0.2 + 0.6 * picture(20, 24)
    full, none, half = (restorer.tensor(x, strength=s) for s in (1, 0, 0.5))
    assert torch.allclose(none, x, atol=1e-7)
    inside = (full > 0) & (full < 1)  # before clipping, half strength is half way
    assert torch.allclose(half[inside], ((full + x) / 2)[inside], atol=1e-6)


def test_strength_of_an_enlarging_network_blends_with_bicubic(probe, picture):
    x = picture(12, 15)
    assert torch.allclose(probe(scale=2).tensor(x, strength=0), imresize(x, 2).clamp(0, 1), atol=1e-6)


def test_blending_takes_the_memory_of_one_channel(probe, picture, monkeypatch):
    planes = []
    monkeypatch.setattr(restorers, "imresize", lambda part, scale: planes.append(part.shape) or imresize(part, scale))
    probe(scale=2).tensor(picture(12, 15), strength=0.5)
    assert planes == [(1, 12, 15)] * 3


def test_ensemble_is_the_mean_over_all_forms(probe, picture):
    restorer, x = probe(), picture(24, 40)
    plain = restorer.backend.run
    forms = []
    for transposed in (False, True):
        for flips in ([], [-1], [-2], [-1, -2]):
            y = plain((x.transpose(-1, -2) if transposed else x).flip(flips)).flip(flips)
            forms.append(y.transpose(-1, -2) if transposed else y)
    expected = torch.stack(forms).mean(0).clamp(0, 1)
    assert torch.allclose(restorer.tensor(x, ensemble=8), expected, atol=1e-6)


def test_input_is_not_touched(probe, picture):
    x = picture(24, 40) * 2 - 0.5
    before = x.clone()
    restorer = Restorer.from_module(nn.Identity(), probe({"multiple_of": 1}).spec, probe().config)
    assert torch.equal(restorer.tensor(x), before.clamp(0, 1))
    assert torch.equal(x, before)


def test_training_mode_comes_back(probe, picture):
    restorer = probe()
    module = restorer.backend.module
    module.train()
    module.intro.eval()
    restorer.tensor(picture(8, 8))
    assert module.training
    assert module.down.training
    assert not module.intro.training


class Starved(TorchBackend):
    """Runs out of memory above a number of pixels."""

    limit = 100 * 100
    asked = 0
    error = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    def run(self, x):
        self.asked = max(self.asked, x.shape[-1] * x.shape[-2])
        if x.shape[-1] * x.shape[-2] > self.limit:
            raise self.error
        return super().run(x)


def starved(restorer, limit):
    backend = Starved(restorer.backend.module, device="cpu")
    backend.limit = limit
    return Restorer(backend, restorer.spec, restorer.config)


@pytest.mark.parametrize(
    "error", [Starved.error, MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("std::bad_alloc")], ids=repr
)
def test_out_of_memory_halves_the_tile(probe, picture, error):
    whole, x = probe({"context": 8}), picture(210, 250)
    hungry = starved(whole, 110 * 110)
    hungry.backend.error = error
    assert (hungry.tensor(x) - whole.tensor(x)).abs().mean() < 1e-3
    assert hungry.backend.asked == 212 * 252


def test_out_of_memory_for_good(probe, picture):
    with pytest.raises(InputError, match="not enough memory on cpu for a picture of 250 x 210"):
        starved(probe(), 100).tensor(picture(210, 250))
    with pytest.raises(InputError, match="tile='auto'"):
        starved(probe(), 200 * 200).tensor(picture(210, 250), tile=None)


def test_other_errors_pass_through(probe, picture):
    restorer = Restorer.from_module(nn.Conv2d(4, 3, 3), probe().spec, probe().config)
    with pytest.raises(RuntimeError, match="channels"):
        restorer.tensor(picture(16, 16))


def test_max_memory_leads_to_tiles(probe, picture):
    seen = []
    probe().tensor(picture(300, 400), max_memory=5_000_000, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 1
    assert seen[-1][0] == seen[-1][1] == len(seen)


def pieces(restorer, x, **options):
    """Into how many the picture is cut."""
    seen = []
    restorer.tensor(x, progress=lambda done, total: seen.append(total), **options)
    return seen[-1]


def test_little_free_memory_leads_to_tiles(probe, picture, monkeypatch):
    assert pieces(probe(), picture(300, 400)) == 1
    monkeypatch.setattr(running, "free_memory", lambda device: 10_000_000)
    few = pieces(probe(), picture(300, 400))
    assert few == pieces(probe(), picture(300, 400), max_memory=5_000_000) > 1  # half of it


@pytest.mark.parametrize(("side", "expected"), [(32 + 2 * 32, 1), (32 + 2 * 32 + 4, 4)])
def test_pictures_hardly_larger_than_a_tile_are_not_cut(probe, picture, side, expected):
    assert pieces(probe({"context": 32}), picture(side, 32), tile=32) == expected


def test_a_card_goes_before_the_network(probe, picture):
    def with_card(multiple=4, **fields):
        card = WeightsCard(id="x", title="x", network="probe", file="x", **fields)
        return probe({"multiple_of": multiple, "context": 0}, restorer={"card": card})

    x = picture(65, 97)
    zeros = probe({"multiple_of": 16, "padding": "zeros"}).tensor(x)
    assert torch.equal(with_card(16, padding="zeros").tensor(x), zeros)
    assert not torch.equal(with_card(16).tensor(x), zeros)
    assert [pieces(one, x) for one in (with_card(), with_card(tile=48))] == [1, 6]
    assert pieces(with_card(tile=48), x, tile=None) == 1
    x = picture(203, 310)
    whole = with_card().tensor(x, tile=None)
    assert (with_card(context=32).tensor(x, tile=48) - whole).abs().max() < 2e-6
    assert (with_card().tensor(x, tile=48) - whole).abs().max() > 1e-3


def test_an_ensemble_of_one_tile_tells_of_each_form(probe, picture):
    seen = []
    probe().tensor(picture(40, 30), ensemble=8, progress=lambda done, total: seen.append((done, total)))
    assert seen == [*((form, 8) for form in range(1, 9)), (1, 1)]


class Overflowing(nn.Module):
    """Leaves the range of float16, stays in that of float32."""

    def __init__(self):
        super().__init__()
        self.widen = nn.Conv2d(3, 3, 1)
        nn.init.constant_(self.widen.weight, 1e5)
        nn.init.zeros_(self.widen.bias)

    def forward(self, x):
        return self.widen(x) / 3e5


def test_overflow_in_half_precision_falls_back_to_float32(probe, picture):
    x = 0.2 + 0.6 * picture(16, 16)
    restorer = Restorer.from_module(Overflowing(), probe().spec, probe().config, dtype="float16")
    assert torch.allclose(restorer.tensor(x), x.mean(1, keepdim=True).expand_as(x), atol=1e-5)


def test_half_precision_is_close(probe, picture):
    x, full = picture(32, 32), probe()
    half = probe(restorer={"dtype": "bf16"})
    difference = (half.tensor(x) - full.tensor(x)).abs().max()
    assert 0 < difference < 0.05


def test_hooks_of_the_task_meet_the_parameters(probe, picture):
    def prepare(x, gain=1.0):
        return x.expand(-1, 3, -1, -1) * gain

    task = Task("t", "T", "s", "rgb", prepare=prepare, finish=lambda y, gain=1.0: y / gain)
    restorer = Restorer.from_module(nn.Identity(), probe().spec, probe().config, task, parameters={"gain": 2.0})
    x = picture(8, 8, channels=1)
    assert torch.allclose(restorer.tensor(x), x.expand(-1, 3, -1, -1))
    with pytest.raises(UsageError, match="no picture to blend with"):
        restorer.tensor(x, strength=0.5)


@pytest.mark.parametrize("pattern", ["RGGB", "GBRG"])
def test_one_channel_mosaic_gives_the_colour_picture_of_the_zero_filled_form(probe, pattern):
    task = tasks.get("demosaicing")
    restorer = probe(restorer={"task": task, "parameters": {"pattern": pattern}})
    raw = torch.rand(20, 26, generator=torch.Generator().manual_seed(0)).numpy()
    zero_filled = from_single(torch.from_numpy(raw)[None], pattern)
    out = restorer(raw)
    assert out.shape == (20, 26, 3)
    assert np.allclose(out, restorer(zero_filled).permute(1, 2, 0).numpy())


def test_grey_in_three_channels_is_a_mosaic_and_a_photograph_is_none(probe):
    restorer = probe(restorer={"task": tasks.get("demosaicing"), "parameters": {"pattern": "GBRG"}})
    raw = torch.rand(1, 20, 26, generator=torch.Generator().manual_seed(0))
    assert torch.equal(restorer(raw.expand(3, -1, -1)), restorer(from_single(raw, "GBRG")))
    with pytest.raises(InputError, match="not the mosaic of a Bayer sensor"):
        restorer(torch.rand(3, 20, 26, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 3}, "tile=3"),
        ({"tile": "big"}, "tile='big': choose auto, official, None"),
        ({"strength": 1.5}, "strength=1.5"),
        ({"ensemble": 4}, "ensemble=4"),
        ({"max_memory": 0}, "max_memory=0"),
        ({"max_memory": float("nan")}, "max_memory=nan"),
        ({"max_memory": "2GB"}, "max_memory='2GB': must be a number of bytes, for example 2 << 30"),
        ({"tiles": 8}, "tiles"),
    ],
)
def test_wrong_options(probe, picture, options, message):
    with pytest.raises(UsageError, match=message):
        probe().tensor(picture(8, 8), **options)


def test_options_may_be_numbers_of_numpy(probe, picture):
    x = picture(70, 80)
    given = {
        "tile": np.int64(32),
        "strength": np.float32(0.5),
        "ensemble": np.int64(1),
        "max_memory": np.int64(1 << 30),
    }
    assert torch.equal(probe().tensor(x, **given), probe().tensor(x, tile=32, strength=0.5))


def test_wrong_input(probe, picture):
    with pytest.raises(InputError, match="NaN"):
        probe().tensor(torch.full((1, 3, 8, 8), float("nan")))
    with pytest.raises(UsageError, match="2 channels"):
        probe().tensor(picture(8, 8, channels=2))
    with pytest.raises(UsageError, match="B, C, H, W"):
        probe().tensor(picture(8, 8)[0])
    with pytest.raises(InputError, match=r"tensor of type torch\.uint8: must be float"):
        probe().tensor((picture(8, 8) * 255).to(torch.uint8))
    with pytest.raises(InputError, match="divide by 255"):
        probe().tensor(picture(8, 8) * 255)
    with pytest.raises(UsageError, match="frame=1: a whole number, of files and PIL images"):
        probe()(picture(8, 8), frame=1)
