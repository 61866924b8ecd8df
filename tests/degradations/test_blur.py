"""Motion and defocus: kernels that sum to one, paths of the length asked for, layers that occlude."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from undegrade.core.errors import InputError
from undegrade.degradations import _kernels
from undegrade.degradations._kernels import Aperture, camera_path, draw_kernel, open_kernels, path_kernel
from undegrade.degradations.defocus import _through_lens, defocus
from undegrade.degradations.motion import motion
from undegrade.ops.filters import convolve


def picture() -> torch.Tensor:
    return torch.from_numpy(data.coffee()[40:136, 220:340].copy()).permute(2, 0, 1).float() / 255


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("length", [4.0, 17.5, 40.0])
def test_path_has_its_length_and_is_centred(length: float) -> None:
    for seed in range(5):
        path = camera_path(generator(seed), length)
        assert float(path.diff(dim=0).norm(dim=1).sum()) == pytest.approx(length, rel=0.02)
        assert float(path.mean(dim=0).abs().max()) < 1e-3


def test_path_kernel_sums_to_one_around_its_mean() -> None:
    for seed in range(5):
        kernel = path_kernel(camera_path(generator(seed), 25))
        axis = torch.arange(kernel.shape[0]) - kernel.shape[0] // 2
        assert kernel.shape[0] % 2 == 1
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
        assert abs(float((kernel.sum(dim=1) * axis).sum())) < 1e-2
        assert float(kernel.min()) >= 0


def test_a_point_at_rest_is_a_point() -> None:
    kernel = path_kernel(torch.zeros(10, 2))
    assert float(kernel[kernel.shape[0] // 2, kernel.shape[1] // 2]) == 1


@pytest.mark.parametrize("radius", [0.6, 3.0, 12.0])
def test_aperture_sums_to_one_and_is_centred(radius: float) -> None:
    for seed in range(12):
        kernel = Aperture.draw(generator(seed)).kernel(radius)
        axis = torch.arange(kernel.shape[0]) - kernel.shape[0] // 2
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
        for side in (0, 1):
            assert abs(float((kernel.sum(dim=side) * axis).sum())) < 0.1 * radius + 0.05


@pytest.mark.parametrize("blades", [0, 5, 6, 9])
def test_aperture_covers_the_area_of_its_disc(blades: int) -> None:
    kernel = Aperture(blades=blades).kernel(12.0)
    assert 1 / float(kernel.max()) == pytest.approx(math.pi * 144, rel=0.12)


@pytest.mark.parametrize("blades", [0, 5, 6, 7])
def test_no_corner_of_an_aperture_is_cut_off(blades: int) -> None:
    for turn in (0.0, 0.3, 0.7, 1.1):
        kernel = Aperture(blades=blades, turn=turn).kernel(16.0)
        assert not (kernel[0] + kernel[-1] + kernel[:, 0] + kernel[:, -1]).any()


def test_given_kernel_is_the_whole_blur() -> None:
    kernel = torch.zeros(5, 5)
    kernel[2] = 0.2  # symmetrical: turning leaves two possibilities
    blurred = motion(picture(), generator(), kernels=kernel, gamma=0.0, noise=0.0)
    both = [convolve(picture(), one) for one in (kernel, kernel.T)]
    assert min(float((blurred - one.clamp(0, 1)).abs().max()) for one in both) < 0.003


def test_kernels_from_files_are_centred_and_normalised(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", a=np.eye(4, 6, dtype=np.float32), b=np.ones((3, 3), np.float32))
    kernels = open_kernels(tmp_path)
    assert len(kernels) == 2
    for kernel in kernels:
        axis = torch.arange(kernel.shape[0]) - kernel.shape[0] // 2
        assert kernel.shape[0] == kernel.shape[1]
        assert kernel.shape[0] % 2 == 1
        assert float(kernel.sum()) == pytest.approx(1)
        assert abs(float((kernel.sum(dim=1) * axis).sum())) <= 0.5
    with pytest.raises(InputError, match="no kernels"):
        open_kernels(tmp_path / "none")


def test_damaged_kernel_files_are_told(tmp_path: Path) -> None:
    file = tmp_path / "k.npz"
    np.savez_compressed(file, a=np.random.default_rng(0).random((15, 15)))
    whole = bytearray(file.read_bytes())
    for place in range(30, len(whole) - 30, 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        _kernels._read.cache_clear()
        with suppress(InputError):
            open_kernels(file)


def test_a_kernel_without_light_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sum of a kernel is 0"):
        open_kernels(torch.zeros(3, 3))
    np.savez(tmp_path / "k.npz", a=np.zeros((3, 3), np.float32))
    with pytest.raises(InputError, match=r"k\.npz.*sum of a kernel is 0"):
        open_kernels(tmp_path)


def test_wide_kernels_wait_for_large_pictures() -> None:
    kernels = [torch.full((3, 3), 1 / 9), torch.full((41, 41), 1 / 41**2)]
    assert {draw_kernel(kernels, generator(seed), 20).shape[0] for seed in range(10)} == {3}
    assert {draw_kernel(kernels, generator(seed), 60).shape[0] for seed in range(20)} == {3, 41}


def test_longer_paths_blur_more() -> None:
    def error(length: float) -> float:
        results = [motion(picture(), generator(seed), length=length, noise=0) for seed in range(4)]
        return sum(float((result - picture()).pow(2).mean()) for result in results)

    assert error(5) < 0.7 * error(20)


def test_shaken_flat_picture_stays_flat() -> None:
    flat = torch.full((3, 50, 60), 0.4)
    for seed in range(4):
        shaken = motion(flat, generator(seed), steady=0.0, foreground=1.0, noise=0)
        assert float((shaken - 0.4).abs().max()) < 0.006


def test_defocus_of_flat_picture_stays_flat() -> None:
    flat = torch.full((3, 50, 60), 0.4)
    depth = torch.linspace(1, 8, 60).repeat(50, 1)
    for seed in range(4):
        blurred = defocus(flat, generator(seed), depth=depth, radius=8, level=0, noise=0, gain=1)
        assert float((blurred - 0.4).abs().max()) < 0.006


def test_radius_zero_leaves_the_picture() -> None:
    assert float((defocus(picture(), generator(), radius=0, noise=0, gain=1) - picture()).abs().max()) < 1e-5


def test_level_blur_is_a_disc_in_linear_light() -> None:
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1.0
    blurred = defocus(point, generator(3), radius=6, level=1, noise=0, gain=1) ** 2.2
    assert float(blurred.sum()) == pytest.approx(1, abs=0.1)
    assert float(blurred[0, 20, 20]) == pytest.approx(float(blurred[0, 22, 21]), rel=0.25)


def test_blur_differs_with_depth() -> None:
    """Stripes at two distances: focus lies inside the range, so one side must lose more contrast than the other."""
    stripes = (torch.arange(120) % 4 < 2).float().repeat(3, 60, 1)
    depth = torch.ones(60, 120)
    depth[:, 60:] = 4.0
    for seed in range(4):
        result = defocus(stripes, generator(seed), depth=depth, radius=6, level=0, noise=0, gain=1)
        left, right = float(result[..., 10:50].std()), float(result[..., 70:110].std())
        assert max(left, right) > 1.1 * min(left, right)


@pytest.mark.parametrize("other", [1.0, -1.0])
def test_what_is_near_covers_what_is_far(other: float) -> None:
    """A black half in focus, a white one behind it (1) or before it (-1), which alone spreads over the edge."""
    light = torch.tensor([0.0, 1.0]).repeat_interleave(30).expand(3, 40, -1)
    circles = torch.tensor([0.0, other]).repeat_interleave(30).expand(1, 40, -1)
    seen = _through_lens(light, circles, 6.0, Aperture(blades=0), 9)
    assert float(seen[..., :24].max()) < 1e-3
    if other > 0:
        assert float(seen[..., :30].max()) < 1e-3
    else:
        assert float(seen[..., 28].max()) > 0.1


def test_noise_comes_after_the_blur() -> None:
    flat = torch.full((3, 60, 60), 0.5)
    for spoil in (motion, defocus):
        grain = spoil(flat, generator(), noise=10) - spoil(flat, generator(), noise=0)
        assert float(grain.std()) * 255 == pytest.approx(10, rel=0.05)


def test_the_streak_of_a_lamp_is_bright_now_and_then() -> None:
    kernel = torch.zeros(5, 5)
    kernel[2] = 0.2
    brighter = []
    for level in (0.9, 1.0):  # only what is nearly white is a lamp
        point = torch.zeros(3, 15, 15)
        point[:, 7, 7] = level
        peaks = [float(motion(point, generator(s), kernels=kernel, gamma=0.0, noise=0.0).max()) for s in range(40)]
        assert max(peaks) <= 3 * level * 0.2 + 1 / 255
        brighter.append(sum(peak > level * 0.2 + 2 / 255 for peak in peaks))
    assert brighter[0] == 0
    assert 2 < brighter[1] < 18


def test_exposure_gain() -> None:
    brighter = defocus(picture() * 0.5, generator(), radius=0, noise=0, gain=1.05)
    assert float(brighter.mean() / (picture() * 0.5).mean()) == pytest.approx(1.05, abs=0.01)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
def test_pictures_one_pixel_wide_are_shaken_too(size: tuple[int, int]) -> None:
    for seed in range(8):
        blurred = motion(torch.full((3, *size), 0.5), generator(seed), noise=0.0)
        assert blurred.shape == (3, *size)
        assert blurred.isfinite().all()


def test_no_kernel_given() -> None:
    with pytest.raises(InputError, match="no kernel given"):
        motion(picture(), generator(), kernels=[])
