from __future__ import annotations

import math
from typing import get_args

import pytest
import skimage.data
import torch
from skimage.metrics import structural_similarity

from undegrade.core.errors import InputError, UnknownNameError
from undegrade.metrics import aligned, protocol
from undegrade.metrics.luma import LUMAS, grey_opencv
from undegrade.metrics.psnr import crop_border, psnr
from undegrade.metrics.ssim import GAUSSIAN, UNIFORM, pool_for_dehazing, ssim, stretch
from undegrade.ops.colour import luma


@pytest.fixture(scope="module")
def target() -> torch.Tensor:
    return torch.from_numpy(skimage.data.astronaut()[:120, 180:310].transpose(2, 0, 1) / 255.0)


@pytest.fixture(scope="module")
def output(target) -> torch.Tensor:
    return target + 0.1 * torch.randn(target.shape, generator=torch.Generator().manual_seed(5), dtype=target.dtype)


def test_names_and_unknown_name():
    assert {"rgb", "rgb-8bit", "y-matlab", "derain-y", "dehaze", "m3snet-deblur", "mhnet-y"} <= set(protocol.names())
    with pytest.raises(UnknownNameError, match="did you mean 'derain-y'"):
        protocol.get("derainy")


@pytest.mark.parametrize("name", protocol.names())
def test_every_protocol_scores_and_describes_itself(name, output, target):
    if protocol.get(name).aligned:
        pytest.importorskip("cv2")
    ruler = protocol.get(name)
    scores = ruler.score(output, target, scale=2)
    assert list(scores) == list(ruler.measures)
    assert 15 < scores["psnr"] < 30
    assert 0.1 < scores["ssim"] < 0.9
    best = ruler.score(target, target, scale=2)
    assert best["ssim"] == pytest.approx(1, abs=1e-6)
    assert best["psnr"] == protocol.IDENTICAL
    words = ruler.describe()
    assert words["name"] == name
    assert all(words[key] for key in ("colour", "border", "rounding", "ssim_window", "resize", "source"))


@pytest.mark.parametrize("name", protocol.names())
def test_the_device_of_new_tensors_does_not_matter(name, output, target):
    if protocol.get(name).aligned:
        pytest.importorskip("cv2")
    here = protocol.get(name).score(output, target)
    with torch.device("meta"):
        assert protocol.get(name).score(output, target) == here


def test_rgb_clips_but_does_not_round(output, target):
    scores = protocol.get("rgb").score(output, target)
    assert scores["psnr"] == pytest.approx(psnr(output.clamp(0, 1), target))
    assert scores["ssim"] == pytest.approx(ssim(output.clamp(0, 1), target, UNIFORM))
    raw = protocol.get("rgb").score(output, target, clip=False)
    assert raw["psnr"] == pytest.approx(psnr(output, target))
    assert raw["psnr"] < scores["psnr"]


def test_8bit_rounds(output, target):
    rounded = (output.clamp(0, 1) * 255).round() / 255
    scores = protocol.get("rgb-8bit").score(output, target)
    assert scores["psnr"] == pytest.approx(psnr(rounded, target))
    assert scores["ssim"] == pytest.approx(
        structural_similarity(
            rounded.numpy(),
            target.numpy(),
            data_range=1.0,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def test_rounding_can_hide_a_small_error(target):
    nearly = (target + 0.4 / 255).clamp(0, 1)
    assert protocol.get("rgb-8bit").score(nearly, target)["psnr"] == protocol.IDENTICAL
    assert protocol.get("rgb").score(nearly, target)["psnr"] < 60


def test_every_colour_has_words_and_a_way():
    assert {*protocol.COLOURS} == {"rgb", *LUMAS} == {*get_args(protocol.Colour)}


def test_studio_luma_by_hand():
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]]).T[:, None]
    expected = [16 + 65.481, 16 + 128.553, 16 + 24.966, 235, 16]
    assert (255 * luma(colours))[0, 0].tolist() == pytest.approx(expected, abs=1e-3)
    assert (255 * grey_opencv(colours))[0, 0].tolist() == pytest.approx([76, 150, 29, 255, 0], abs=1e-3)


def test_grey_error_scores_1_32_db_more_on_luma(target):
    scores = [protocol.get(name).score((target * 0.5 + 0.1), target * 0.5)["psnr"] for name in ("rgb-8bit", "mhnet-y")]
    assert scores[1] - scores[0] == pytest.approx(20 * math.log10(255 / 219), abs=0.02)


def test_y_matlab_cuts_as_many_pixels_as_the_scale(target):
    damaged = target.clone()
    damaged[:, :3] = damaged[..., -3:] = 0
    ruler = protocol.get("y-matlab")
    assert ruler.score(damaged, target, scale=3)["psnr"] == protocol.IDENTICAL
    assert ruler.score(damaged, target, scale=2)["psnr"] < 40
    assert ruler.score(damaged, target)["psnr"] < ruler.score(damaged, target, scale=2)["psnr"]


def test_y_matlab_does_not_round_luma_and_derain_does(output, target):
    rounded = (output.clamp(0, 1) * 255).round() / 255
    plain = [luma(picture) for picture in (rounded, target)]
    assert protocol.get("y-matlab").score(output, target)["psnr"] == pytest.approx(psnr(*plain))
    assert protocol.get("y-matlab").score(output, target)["ssim"] == pytest.approx(ssim(*plain, GAUSSIAN))
    as_bytes = [(y * 255).round() / 255 for y in plain]
    assert protocol.get("derain-y").score(output, target)["psnr"] == pytest.approx(psnr(*as_bytes))


def test_mhnet_swap_exchanges_red_and_blue(output, target):
    right = protocol.get("mhnet-y").score(output, target)
    swapped = protocol.get("mhnet-y-swapped").score(output.flip(0), target.flip(0))
    assert swapped == pytest.approx(right)
    assert protocol.get("mhnet-y-swapped").score(output, target)["psnr"] != pytest.approx(right["psnr"], abs=1e-4)


def test_dehaze_pools_before_ssim(output, target):
    pooled = [pool_for_dehazing(picture) for picture in (output.clamp(0, 1), target)]
    scores = protocol.get("dehaze").score(output, target)
    assert scores["ssim"] == pytest.approx(ssim(*pooled, GAUSSIAN))
    assert scores["psnr"] == protocol.get("rgb").score(output, target)["psnr"]


def test_m3snet_stretches_each_grey_picture(output, target):
    rounded = (output.clamp(0, 1) * 255).round() / 255
    grey = [stretch(grey_opencv(picture)) for picture in (rounded, target)]
    expected = structural_similarity(grey[0][0].numpy(), grey[1][0].numpy(), data_range=2.0)
    scores = protocol.get("m3snet-deblur").score(output, target)
    assert scores["ssim"] == pytest.approx(expected)
    assert scores["ssim"] > protocol.get("rgb").score(output, target)["ssim"]
    # The quirk: a picture of half the contrast scores as if nothing had happened to its contrast.
    half = (target * 0.5 * 255).round() / 255
    assert protocol.get("m3snet-deblur").score(half, target)["ssim"] > 0.98


def test_levin_finds_the_shift_and_leaves_the_border_out(target):
    grey = target.mean(0, keepdim=True)
    shifted = torch.roll(grey, (4, -5), (1, 2))
    assert protocol.get("levin").score(shifted, grey)["psnr"] == protocol.IDENTICAL
    assert protocol.get("levin").score(torch.roll(grey, (4, -6), (1, 2)), grey)["psnr"] < 45
    same = protocol.get("levin").score(grey * 0.9, grey)
    assert same["psnr"] == pytest.approx(psnr(crop_border(grey * 0.9, 30), crop_border(grey, 30)))


def test_one_channel_is_taken_as_it_is(output, target):
    grey = [picture[:1].clamp(0, 1) for picture in (output, target)]
    rounded = (grey[0] * 255).round() / 255
    assert protocol.get("jpeg-luma").score(*grey)["psnr"] == pytest.approx(psnr(rounded, grey[1]))
    assert "psnr_b" in protocol.get("jpeg-luma").score(*grey)


def test_defocus_gives_the_mean_absolute_error(target):
    darker = (target - 0.2).clamp(0, 1)
    rounded = (darker * 255).round() / 255
    assert protocol.get("defocus").score(darker, target)["mae"] == pytest.approx(float((rounded - target).abs().mean()))


def test_aligned_protocol_forgives_brightness_and_shift(target):
    pytest.importorskip("cv2")
    moved = torch.roll(target, (1, 1), (1, 2)) * 0.8
    forgiving = protocol.get("m3snet-derain").score(moved, target)
    strict = protocol.get("rgb-8bit").score(moved, target)
    assert forgiving["psnr"] > strict["psnr"] + 8
    assert forgiving["ssim"] > 0.95


def test_what_an_aligned_picture_does_not_cover_does_not_count(target, monkeypatch):
    torn, mask = target.clone(), torch.ones_like(target[:1])
    torn[..., 90:] = 0
    mask[..., 85:] = 0  # no window around what is covered reaches the torn part
    monkeypatch.setattr(aligned, "align", lambda output, _: (torn, mask))
    scores = protocol.get("m3snet-derain").score(target, target)
    assert scores["ssim"] == pytest.approx(1)
    assert scores["psnr"] == protocol.IDENTICAL


def test_an_alignment_that_leaves_the_picture_is_no_score(target, monkeypatch):
    monkeypatch.setattr(aligned, "align", lambda output, _: (output, torch.zeros_like(output[:1])))
    with pytest.raises(InputError, match="the alignment led out of the picture"):
        protocol.get("m3snet-derain").score(target, target)


@pytest.mark.parametrize("name", [name for name in protocol.names() if not protocol.get(name).aligned])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_least_side_that_can_be_scored(name: str, scale: int) -> None:
    ruler = protocol.get(name)
    least = ruler.least(scale)
    flat = torch.full((3, least, least + 3), 0.5)
    assert math.isfinite(ruler.score(flat, flat, scale)["ssim"])
    if least > 1 and ruler.ssim.before != "pooled":
        with pytest.raises(ValueError, match=r"window|inside"):
            ruler.score(flat[:, 1:], flat[:, 1:], scale)
