"""Rain, haze and snow: models inverted, layers drawn from folders, depth maps with holes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.degradations._depth import fractal, made_depth, normalised
from undegrade.degradations._layers import Layers, open_layers
from undegrade.degradations._splat import strew
from undegrade.degradations.haze import beta_for, haze, scatter
from undegrade.degradations.rain import rain, streaks
from undegrade.degradations.snow import flakes, snow


def picture() -> torch.Tensor:
    return torch.from_numpy(data.coffee()[:160, 100:300].copy()).permute(2, 0, 1).float() / 255


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_strewn_shapes_keep_their_total_brightness() -> None:
    shape = torch.rand(7, 7)
    layer = strew([(shape, 50, 0.5, 0.5)], 48, 60, generator())
    assert layer.shape == (1, 48, 60)
    assert float(layer.sum()) == pytest.approx(50 * 0.5 * float(shape.sum()), rel=1e-3)


def test_additive_rain_never_darkens() -> None:
    dark = 0.2 * picture()
    for seed in range(10):
        layer = rain(dark, generator(seed), model="additive", heavy=0.0) - dark
        assert float(layer.min()) > -0.003
        assert float(layer.max()) > 0.02


def test_heavy_rain_is_heavier() -> None:
    light = np.mean([float(streaks(160, 160, generator(seed), heavy=False).mean()) for seed in range(12)])
    heavy = np.mean([float(streaks(160, 160, generator(seed), heavy=True).mean()) for seed in range(12)])
    assert 0.005 < light < 0.06
    assert 0.1 < heavy < 0.3


def test_streaks_are_longer_than_wide() -> None:
    layer = streaks(200, 200, generator(4), heavy=False)[0]
    down = (layer[4:] * layer[:-4]).mean() / (layer**2).mean()
    across = (layer[:, 4:] * layer[:, :-4]).mean() / (layer**2).mean()
    assert float(down) > 2 * float(across)


def test_given_layer_is_added_with_its_gain() -> None:
    layer = torch.rand(160, 200, generator=generator(1)) * 0.3
    rainy = rain(picture() * 0.5, generator(), layers=layer, gain=0.8)
    both = [picture() * 0.5 + 0.8 * one for one in (layer, layer.flip(-1))]
    assert min(float((rainy - expected).abs().max()) for expected in both) < 4 / 255  # 8-bit layer, tint up to 3 %


def test_most_rain_is_grey_and_the_rest_nearly() -> None:
    falls = [rain(torch.zeros(3, 8, 8), generator(seed), layers=torch.ones(8, 8), gain=0.9) for seed in range(40)]
    spreads = [float((fall.amax(0) - fall.amin(0)).max()) for fall in falls]
    assert 24 < spreads.count(0.0) < 40
    assert max(spreads) <= 0.03 * 0.9 + 1 / 255


def test_mist_lifts_what_no_streak_crosses() -> None:
    lowest = [float(rain(torch.zeros(3, 64, 64), generator(seed), model="mist").min()) for seed in range(12)]
    assert max(lowest) > 0.08
    assert max(lowest) <= 0.25 * 0.95 + 1 / 255 + 0.2  # heavy rain leaves few places


def test_more_layers_more_rain() -> None:
    layers = [torch.full((40, 40), 0.1)]
    one = rain(torch.zeros(3, 32, 32), generator(), layers=layers, gain=1.0)
    three = rain(torch.zeros(3, 32, 32), generator(), layers=layers, gain=1.0, count=3)
    assert float(three.mean()) == pytest.approx(3 * float(one.mean()), rel=0.05)


def test_layers_from_a_folder(tmp_path: Path) -> None:
    for name, level in (("a.png", 50), ("b.png", 200)):
        Image.fromarray(np.full((20, 30), level, np.uint8)).save(tmp_path / name)
    found = open_layers(tmp_path)
    assert open_layers(str(tmp_path)) is found, "the folder is read once"
    drawn = {round(float(found.draw(generator(seed), 24, 50).mean()) * 255) for seed in range(20)}
    assert drawn == {50, 200}
    assert found.draw(generator(), 24, 50).shape == (1, 24, 50)


def test_layers_of_sixteen_bits_among_what_is_no_picture(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535], [257 * 100, 257 * 7]], np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "._deep.png").write_bytes(b"no picture")
    (tmp_path / "folder.png").mkdir()
    (layer,) = open_layers(tmp_path).layers
    assert layer.tolist() == [[0, 255], [100, 7]]


def test_layers_are_mirrored_but_never_upside_down() -> None:
    layer = torch.arange(24).view(4, 6) / 255
    drawn = [Layers([layer]).draw(generator(seed), 4, 6)[0] for seed in range(20)]
    mirrored = [torch.equal(one, layer.flip(-1)) for one in drawn]
    assert all(torch.equal(one, layer) or flipped for one, flipped in zip(drawn, mirrored, strict=True))
    assert 3 < sum(mirrored) < 17


def test_missing_layers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no layer"):
        open_layers(tmp_path / "empty")
    with pytest.raises(InputError, match="no layer"):
        Layers([])


def test_strengths_of_made_layers_are_refused_with_drawn_ones() -> None:
    layers = torch.zeros(1, 8, 8)
    with pytest.raises(UsageError, match=r"heavy=0\.5: .* leave out 'layers'"):
        rain(torch.zeros(3, 8, 8), generator(), layers=layers, heavy=0.5)
    with pytest.raises(UsageError, match=r"density=2: .* leave out 'layers'"):
        snow(torch.zeros(3, 8, 8), generator(), layers=layers, density=2)


def test_rain_models() -> None:
    with pytest.raises(UnknownNameError, match="additive"):
        rain(picture(), generator(), model="aditive")
    screen = rain(picture(), generator(), model="screen", heavy=1.0)
    assert float((screen - picture()).min()) > -0.003
    assert float(rain(torch.zeros(3, 64, 64), generator(), model="mist", heavy=0.0).mean()) > 0


def test_haze_is_undone_by_its_formula() -> None:
    clean, transmission = picture().double(), torch.rand(1, 160, 200).double() * 0.8 + 0.1
    hazy = scatter(clean, transmission, 0.9)
    assert torch.allclose((hazy - 0.9 * (1 - transmission)) / transmission, clean)


def test_haze_from_depth_follows_beta_and_airlight() -> None:
    depth = torch.linspace(1, 10, 200).repeat(160, 1)
    hazy = haze(picture(), generator(), depth=depth, beta=1.2, airlight=1.0, tint=0.0)
    # Scaled by the 99th percentile of the map, farther pixels cut.
    scaled = (depth / torch.quantile(depth, 0.99)).clamp(max=1)
    expected = scatter(picture(), torch.exp(-1.2 * scaled)[None], 1.0)
    assert float((hazy - expected).abs().max()) < 0.006


def test_tint_lets_the_channels_of_the_airlight_stray() -> None:
    far = {"depth": torch.ones(20, 20), "beta": 30.0, "airlight": 0.8}  # nothing but airlight is seen
    plain, tinted = (haze(torch.full((3, 20, 20), 0.1), generator(), **far, tint=tint) for tint in (0.0, 0.5))
    assert torch.equal(plain, torch.full_like(plain, 204 / 255))
    channels = tinted.flatten(1).unique(dim=1)[:, 0]
    assert 0.4 <= float(channels.min()) < float(channels.max()) <= 0.8


def test_far_things_take_the_colour_of_the_sky() -> None:
    clean = torch.rand(3, 200, 160, generator=generator()) * 0.5
    clean[:, :80] = torch.tensor([0.5, 0.6, 0.8])[:, None, None]
    depth = torch.linspace(10, 1, 200)[:, None].expand(200, 160)
    hazy = haze(clean, generator(), depth=depth, beta=2.0, airlight="sky", tint=0.0)
    near, far = hazy[:, 180:] - clean[:, 180:], hazy[:, 90:110] - clean[:, 90:110]
    assert float(far.abs().mean()) > 2 * float(near.abs().mean())
    below = hazy[:, 90:110].mean((1, 2))
    assert below[2] > below[0] + 0.05  # bluish, which the noise below the sky is not
    assert float((hazy[:, :70] - clean[:, :70]).abs().max()) < 0.2  # the sky stays nearly what it was


def test_haze_of_the_sky_without_a_sky() -> None:
    for shape in ((1, 40, 50), (3, 40, 50), (3, 2, 900)):
        hazy = haze(torch.full(shape, 0.3), generator(), airlight="sky")
        assert hazy.shape == shape
        assert hazy.isfinite().all()


def test_light_of_no_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="'sky'"):
        haze(picture(), generator(), airlight="moon")  # type: ignore[arg-type]


@pytest.mark.parametrize("transmission", [0.2, 0.5, 0.9])
def test_beta_gives_the_transmission(transmission: float) -> None:
    depth = torch.rand(1, 50, 60)
    beta = beta_for(depth, transmission)
    assert float(torch.exp(-beta * depth).mean()) == pytest.approx(transmission, abs=2e-3)


def test_holes_in_depth_are_filled_from_around() -> None:
    depth = torch.full((60, 80), 1000.0)
    depth[:, 40:] = 4000.0
    holes = depth.clone()
    holes[20:30, 10:20] = 0
    holes[20:30, 60:70] = 0
    filled = normalised(holes, torch.rand(3, 60, 80))
    assert torch.allclose(filled[0], depth / 4000, atol=0.02)


def test_depth_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match="size"):
        haze(picture(), generator(), depth=torch.ones(5, 5))
    with pytest.raises(UsageError, match="unknown"):
        haze(picture(), generator(), depth=torch.zeros(160, 200))


@pytest.mark.parametrize("seed", range(4))
def test_made_depth_spreads_over_its_range(seed: int) -> None:
    depth = made_depth(picture(), generator(seed))
    assert depth.shape == (1, 160, 200)
    assert 0 <= float(depth.min()) < 0.4
    assert 0.7 < float(depth.max()) <= 1


def test_fractal_gets_smoother_with_its_power() -> None:
    rough, smooth = (fractal(64, 64, generator(), power) for power in (0.5, 2.5))
    assert float(smooth.diff(dim=-1).abs().mean()) < 0.3 * float(rough.diff(dim=-1).abs().mean())


def test_snow_brightens_where_flakes_are() -> None:
    dark = torch.full((3, 120, 120), 0.1)
    snowy = snow(dark, generator(2), veil=0.0, density=2.0)
    assert float(snowy.min()) >= 0.1 - 0.002
    assert float(snowy.max()) > 0.35
    assert 0 < float((snowy[0] > 0.15).float().mean()) < 0.7


def test_snow_mask_from_a_layer_by_formula() -> None:
    mask = torch.zeros(120, 120)
    mask[40:60, :] = 1.0
    snowy = snow(torch.full((3, 120, 120), 0.2), generator(), layers=mask, gain=1.0, veil=0.0)
    assert float(snowy[:, 45:55].min()) > 0.87
    assert float((snowy[:, :35] - 0.2).abs().max()) < 1e-6


def test_gain_weakens_made_flakes() -> None:
    dark = torch.full((3, 120, 120), 51 / 255)
    none, half, full = (snow(dark, generator(2), veil=0.0, density=2.0, gain=gain) for gain in (0.0, 0.5, 1.0))
    assert torch.equal(none, dark)
    assert float((half - dark).mean()) == pytest.approx(0.5 * float((full - dark).mean()), rel=0.03)


def test_denser_snow_covers_more() -> None:
    few = np.mean([float(flakes(160, 160, generator(seed), density=0.5).mean()) for seed in range(8)])
    many = np.mean([float(flakes(160, 160, generator(seed), density=2.0).mean()) for seed in range(8)])
    assert many > 2 * few


def test_veil_lowers_contrast() -> None:
    clear, veiled = (snow(picture(), generator(1), density=0.0, veil=veil) for veil in (0.0, 1.0))
    assert float(veiled.std()) < float(clear.std())
