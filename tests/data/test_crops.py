"""From a picture to a patch: crops, flips and turns, shrinking, margins, and what belongs together stays together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from undegrade import tasks
from undegrade.core.errors import InputError, UsageError
from undegrade.data.augment import augment
from undegrade.data.patches import Patches, _Cache
from undegrade.data.sources import Source
from undegrade.ops.colour import rgb_to_ycbcr


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(array: np.ndarray, path: Path) -> Tensor:
    """Writes the picture and returns it as (C, H, W) in 0..1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return torch.from_numpy(array).permute(2, 0, 1) / 255 if array.ndim == 3 else torch.from_numpy(array)[None] / 255


def same(clean: Tensor, generator: torch.Generator, **strength: object) -> Tensor:
    return clean


def squares(picture: Tensor, side: int) -> list[Tensor]:
    """Every square of a picture, as it is."""
    return list(picture.unfold(1, side, 1).unfold(2, side, 1).permute(1, 2, 0, 3, 4).flatten(0, 1))


def is_in(patch: Tensor, picture: Tensor) -> bool:
    return any(torch.equal(patch, square) for square in squares(picture, patch.shape[-1]))


@pytest.mark.parametrize(("kind", "number"), [("none", 1), ("hflip", 2), ("dihedral", 8)])
def test_augmentation_is_the_same_for_all_planes(kind: str, number: int) -> None:
    plane = torch.arange(9).view(1, 3, 3)
    found = Counter[tuple[int, ...]]()
    for seed in range(200):
        one, two = augment([plane, plane + 9], kind, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
        assert torch.equal(one + 9, two)
        found[tuple(one.flatten().tolist())] += 1
    assert len(found) == number
    assert min(found.values()) > 0.5 * 200 / number
    if kind == "hflip":
        assert (2, 1, 0, 5, 4, 3, 8, 7, 6) in found


def test_a_patch_is_a_part_of_the_picture_and_its_margin_is_trimmed(tmp_path: Path) -> None:
    picture = save(noise(24, 28), tmp_path / "a.png")

    def blurred(clean: Tensor, generator: torch.Generator) -> Tensor:
        return torch.nn.functional.avg_pool2d(clean, 3, 1, 1)

    patches = Patches([Source(clean=tmp_path)], blurred, margin=1, augmentation="none")
    whole = blurred(picture, torch.Generator())
    for step in range(8):
        degraded, clean = patches.sample(step, 0, 12)
        corner = next(
            number for number, square in enumerate(squares(picture[:, 1:-1, 1:-1], 12)) if torch.equal(square, clean)
        )
        torch.testing.assert_close(degraded, squares(whole[:, 1:-1, 1:-1], 12)[corner])


def test_smaller_inputs_lie_under_their_targets(tmp_path: Path) -> None:
    save(noise(40, 44), tmp_path / "a.png")
    patches = Patches([Source(clean=tmp_path)], lambda clean, generator: clean[..., ::2, ::2], margin=4)
    for step in range(8):
        small, clean = patches.sample(step, 0, 16)
        assert torch.equal(small, clean[..., ::2, ::2])
        assert clean.shape == (3, 16, 16)


def test_pictures_smaller_than_the_patch_are_mirrored(tmp_path: Path) -> None:
    picture = save(noise(5, 30), tmp_path / "a.png")
    patches = Patches([Source(clean=tmp_path)], same, augmentation="none")
    _, patch = patches.sample(0, 0, 16)
    rows = torch.tensor([0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1, 0, 1])
    assert is_in(patch, picture[:, rows])


@pytest.mark.parametrize(("height", "width"), [(1, 40), (40, 1), (1, 1)])
def test_a_line_of_pixels_is_repeated(tmp_path: Path, height: int, width: int) -> None:
    picture = save(noise(height, width), tmp_path / "a.png")
    _, patch = Patches([Source(clean=tmp_path)], same, augmentation="none").sample(0, 0, 16)
    assert is_in(patch, picture.expand(3, max(height, 16), max(width, 16)))


def test_pairs_are_cut_and_turned_together(tmp_path: Path) -> None:
    target = save(noise(24, 30) // 2, tmp_path / "gt/a.png")
    save(noise(24, 30) // 2 + 100, tmp_path / "in/a.png")
    patches = Patches([Source(inputs=tmp_path / "in", targets=tmp_path / "gt")], None, margin=3)
    for step in range(8):
        degraded, clean = patches.sample(step, 0, 10)
        torch.testing.assert_close(degraded, clean + 100 / 255)
    save(noise(24, 29), tmp_path / "in/a.png")
    with pytest.raises(InputError, match=r"a\.png: pair of different sizes \(30x24 and 29x24\)"):
        Patches([Source(inputs=tmp_path / "in", targets=tmp_path / "gt")], None).sample(0, 0, 10)
    assert target.shape == (3, 24, 30)


def test_zoom_shrinks_a_larger_square(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], (60, 60, 3)).copy()
    save(ramp, tmp_path / "a.png")

    def slope(zoom: tuple[float, float], size: int, step: int = 0) -> float:
        patches = Patches([Source(clean=tmp_path, zoom=zoom)], same, augmentation="none")
        _, patch = patches.sample(step, 0, size)
        assert patch.shape == (3, size, size)
        return float((patch[..., -3] - patch[..., 2]).mean()) * 255 / (size - 5)

    assert slope((1.0, 1.0), 20) == pytest.approx(4)
    assert slope((0.5, 0.5), 20) == pytest.approx(8, rel=0.03)
    assert slope((0.1, 0.1), 20) == pytest.approx(12, rel=0.03), "no more than the picture has"
    assert slope((0.5, 0.5), 60) == pytest.approx(4)
    drawn = sorted(slope((0.5, 0.8), 20, step) for step in range(12))
    assert 4.9 < drawn[0] < 5.8
    assert 6.8 < drawn[-1] < 8.2


@pytest.mark.parametrize(("far", "bits"), [(9000, np.uint16), (200, np.uint8)])
def test_depth_comes_with_its_picture_and_is_not_smeared(tmp_path: Path, far: int, bits: type) -> None:
    save(noise(40, 40), tmp_path / "clean/a.png")
    depth = (np.random.default_rng(1).integers(0, 2, (40, 40)) * far).astype(bits)
    save(depth, tmp_path / "depth/a.png")
    seen = []

    def keep(clean: Tensor, generator: torch.Generator, depth: Tensor) -> Tensor:
        seen.append(depth)
        return clean

    source = Source(clean=tmp_path / "clean", depth=tmp_path / "depth", zoom=(0.5, 0.5))
    Patches([source], keep).sample(0, 0, 16)
    assert seen[0].shape == (1, 16, 16)
    assert set(seen[0].unique().tolist()) == {0.0, far}
    (tmp_path / "depth/a.png").unlink()
    save(depth, tmp_path / "depth/b.png")
    with pytest.raises(InputError, match=r"a\.png: no depth map"):
        Patches([source], keep)


def test_depth_is_made_up_for_patches_of_which_nothing_is_known(tmp_path: Path) -> None:
    save(noise(60, 60), tmp_path / "clean/a.png")
    depth = np.full((60, 60), 900, np.uint16)
    depth[:40] = 0
    save(depth, tmp_path / "depth/a.png")
    for task in ("dehazing", "defocus_deblurring"):
        patches = Patches([Source(clean=tmp_path / "clean", depth=tmp_path / "depth")], tasks.get(task).degrade)
        for step in range(6):
            degraded, _ = patches.sample(step, 0, 24)
            assert degraded.isfinite().all()


def test_sixteen_bits_are_shrunk_as_eight(tmp_path: Path) -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (40, 20))
    patches = []
    for name, array in (("eight", stripes), ("sixteen", stripes.astype(np.uint16) * 257)):
        save(array, tmp_path / name / "a.png")
        patches.append(Patches([Source(clean=tmp_path / name, zoom=(0.5, 0.5))], same).sample(0, 0, 16)[1])
    torch.testing.assert_close(*patches, atol=1 / 255, rtol=0)


def test_sixteen_bits_keep_their_digits(tmp_path: Path) -> None:
    deep = np.full((20, 20), 257 * 10 + 1, np.uint16)
    save(deep, tmp_path / "a.png")
    _, patch = Patches([Source(clean=tmp_path)], same).sample(0, 0, 8)
    torch.testing.assert_close(patch, torch.full((3, 8, 8), (257 * 10 + 1) / 65535))


def test_grey_sources_hand_one_channel_over_and_give_three(tmp_path: Path) -> None:
    picture = save(noise(20, 20), tmp_path / "a.png")
    shapes = []

    def halved(clean: Tensor, generator: torch.Generator) -> Tensor:
        shapes.append(clean.shape)
        return clean / 2

    patches = Patches([Source(clean=tmp_path, grey=True)], halved, augmentation="none")
    degraded, clean = patches.sample(0, 0, 20)
    assert shapes == [(1, 20, 20)]
    torch.testing.assert_close(clean, rgb_to_ycbcr(picture)[:1].expand(3, -1, -1))
    torch.testing.assert_close(degraded, clean / 2)


def test_large_pictures_and_heavy_sources_are_drawn_more_often(tmp_path: Path) -> None:
    for name, side, level in (("one/small", 20, 10), ("one/large", 40, 20), ("two/other", 20, 30)):
        save(np.full((side, side, 3), level, np.uint8), tmp_path / f"{name}.png")
    sources = [Source(clean=tmp_path / "one", weight=3.0), Source(clean=tmp_path / "two")]
    patches = Patches(sources, same)
    levels = Counter(round(float(patches.sample(step, 0, 8)[1].mean()) * 255) for step in range(600))
    assert levels[10] / 600 == pytest.approx(0.75 * 0.2, abs=0.05)
    assert levels[20] / 600 == pytest.approx(0.75 * 0.8, abs=0.06)
    assert levels[30] / 600 == pytest.approx(0.25, abs=0.06)


def test_validation_is_the_middle_degraded_the_same_way_each_time(tmp_path: Path) -> None:
    picture = save(noise(50, 61), tmp_path / "a.png")
    save(noise(50, 61, 1), tmp_path / "b.png")

    def noisy(clean: Tensor, generator: torch.Generator, sigma: float) -> Tensor:
        return clean + sigma * torch.randn(clean.shape, generator=generator)

    patches = Patches([Source(clean=tmp_path, strength={"sigma": 1.0})], noisy, held_back=1, margin=4, seed=5)
    other = Patches([Source(clean=tmp_path, strength={"sigma": 1.0})], noisy, held_back=1, seed=6)
    name, degraded, clean = patches.whole(0, 40, {"sigma": 2.0})
    truth = picture if name == "a" else save(noise(50, 61, 1), tmp_path / "b.png")
    assert torch.equal(clean, truth[:, 7:43, 12:48])
    assert float((degraded - clean).std()) == pytest.approx(2, rel=0.1)
    assert torch.equal(other.whole(0, 40, {"sigma": 2.0})[1], degraded)
    assert patches.whole(0, 999, {})[2].shape == (3, 48, 60)
    _, another, same = patches.whole(0, 40, {"sigma": 2.0}, draw=1)
    assert torch.equal(same, clean)
    assert not torch.equal(another, degraded)
    assert torch.equal(other.whole(0, 40, {"sigma": 2.0}, draw=1)[1], another)


def test_what_is_held_back_depends_on_names_alone(tmp_path: Path) -> None:
    def unseen() -> set[str]:
        return {picture.name for picture in Patches([Source(clean=tmp_path)], same, held_back=4).validation}

    for number in range(20):
        save(noise(12, 12, number), tmp_path / f"{number}.png")
    before = unseen()
    assert len(before) == 4
    save(noise(8, 8, 99), tmp_path / "more.png")
    assert len(unseen() & before) >= 3


def test_no_more_than_half_is_held_back(tmp_path: Path) -> None:
    for number in range(5):
        save(noise(12, 12, number), tmp_path / f"{number}.png")
    patches = Patches([Source(clean=tmp_path)], same, held_back=9)
    assert (len(patches.validation), len(patches)) == (2, 3)


def test_the_cache_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        save(noise(10, 10, number), file)
    cache = _Cache(2 * 300)
    for number in (0, 1, 0, 2):
        cache(files[number])
    assert list(cache.held) == [files[0], files[2]]
    assert cache.size == 600
    small = _Cache(1)
    assert small(files[0]).shape == (3, 10, 10)
    assert list(small.held) == [files[0]]
    small(files[1])
    assert list(small.held) == [files[1]]


def enlarged_pair(folder: Path, size: tuple[int, int], scale: int) -> None:
    """A small picture and the same with every pixel repeated."""
    small = noise(*size, 3)
    save(small, folder / "in/a.png")
    save(small.repeat(scale, 0).repeat(scale, 1), folder / "gt/a.png")


@pytest.mark.parametrize("zoom", [(1.0, 1.0), (0.5, 0.5)])
@pytest.mark.parametrize("size", [(30, 40), (7, 9)])
def test_pairs_of_super_resolution_are_cut_at_the_same_place(
    tmp_path: Path, size: tuple[int, int], zoom: tuple[float, float]
) -> None:
    enlarged_pair(tmp_path, size, 3)
    source = Source(inputs=tmp_path / "in", targets=tmp_path / "gt", zoom=zoom)
    patches = Patches([source], None, scale=3)
    for step in range(8):
        small, large = patches.sample(step, 0, 24)
        assert (small.shape, large.shape) == ((3, 8, 8), (3, 24, 24))
        if zoom == (1.0, 1.0) and min(size) >= 8:  # not mirrored at the border
            assert torch.equal(small.repeat_interleave(3, 1).repeat_interleave(3, 2), large)
    with pytest.raises(UsageError, match="patch size 25: give a multiple of 3"):
        patches.sample(0, 0, 25)


def test_pairs_of_super_resolution_are_held_back_and_checked(tmp_path: Path) -> None:
    enlarged_pair(tmp_path, (30, 41), 2)
    save(noise(30, 41, 4), tmp_path / "in/b.png")
    save(noise(60, 82, 4), tmp_path / "gt/b.png")
    source = Source(inputs=tmp_path / "in", targets=tmp_path / "gt")
    patches = Patches([source], None, scale=2, held_back=1)
    _, small, large = patches.whole(0, 48, {})
    assert (small.shape, large.shape) == ((3, 24, 24), (3, 48, 48))
    with pytest.raises(InputError, match="a target 4 times as large is needed"):
        Patches([source], None, scale=4).sample(0, 0, 8)


def test_something_is_held_back_when_it_was_asked_for_and_nothing_too_small_to_be_scored(tmp_path: Path) -> None:
    for number in range(6):
        save(noise(11 if number else 12, 40, number), tmp_path / f"{number}.png")
    sources = [Source(clean=tmp_path), Source(clean=tmp_path, grey=True)]
    assert [picture.name for picture in Patches(sources, same, held_back=1).validation] == ["0"]


def test_linked_folders_are_looked_into_once(tmp_path: Path) -> None:
    save(noise(8, 8, 0), tmp_path / "elsewhere/deep/a.png")
    (tmp_path / "train").mkdir()
    (tmp_path / "train/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "train")
    assert len(Patches([Source(clean=tmp_path / "train")], same)) == 1
