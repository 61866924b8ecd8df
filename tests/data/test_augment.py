"""Other colours and two scenes in one: what is seen is the nearer one, and validation pictures stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from undegrade.core.errors import UsageError
from undegrade.data.augment import collage, recolour, resave
from undegrade.data.patches import Patches
from undegrade.data.sources import Source


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_colours_keep_black_white_and_order() -> None:
    ramp = torch.linspace(0, 1, 11).expand(3, 1, 11)
    changed = torch.stack([recolour(ramp, 0.4, generator(seed)) for seed in range(300)])
    assert torch.equal(changed[..., 0], torch.zeros(300, 3, 1))
    assert torch.equal(changed[..., -1], torch.ones(300, 3, 1))
    assert (changed.diff(dim=-1) > 0).all()
    exponents = (changed[..., 5].log() / torch.tensor(0.5).log()).log().squeeze(-1)  # (300, 3)
    assert 0.45 < float(exponents.abs().max()) < 0.4 * 4 / 3
    assert 0.15 < float((exponents - exponents.mean(1, keepdim=True)).abs().max()) < 0.4 * 2 / 3
    assert torch.equal(recolour(ramp, 0.0, generator()), ramp)


def scene(level: int, depth: Tensor, dtype: torch.dtype = torch.uint8) -> list[Tensor]:
    return [torch.full((3, *depth.shape), level, dtype=dtype), depth.expand(3, -1, -1).int()]


def test_of_two_scenes_the_nearer_pixel_is_seen() -> None:
    ramp = torch.arange(1, 101).repeat(4, 1)  # far end at 99
    photo, depth = collage(scene(10, ramp), scene(20, 7 * ramp.flip(-1)), generator())
    assert photo.dtype == torch.uint8
    assert depth.shape == (1, 4, 100)
    border = int((photo[0, 0] == 10).sum())
    assert photo[0, 0].tolist() == [10] * border + [20] * (100 - border)
    assert 30 < border < 70
    assert depth[0, 0, : border - 1].tolist() == pytest.approx((1e4 / 99.01 * ramp[0, : border - 1]).tolist(), abs=2)
    assert (depth[0, 0, border:].diff() < 0).all()
    borders = {
        int((collage(scene(1, ramp), scene(2, ramp.flip(-1)), generator(s))[0][0, 0] == 1).sum()) for s in range(9)
    }
    assert len(borders) > 5, "the other scene is as large as it happens"


def test_what_is_unknown_is_never_in_front() -> None:
    half = torch.tensor([[0, 0, 50, 50]])
    photo, depth = collage(scene(1, half), scene(2, torch.tensor([[0, 90, 0, 1]])), generator())
    assert photo[0, 0].tolist() == [1, 2, 1, 2]
    assert depth[0, 0, 0] == 0
    assert (depth[0, 0, 1:] > 0).all()
    nothing = torch.zeros(1, 4, dtype=torch.int32)
    photo, depth = collage(scene(1, nothing), scene(2, half), generator())
    assert photo[0, 0].tolist() == [1, 1, 2, 2]


def test_eight_and_sixteen_bits_meet() -> None:
    near, far = torch.ones(2, 2), torch.tensor([[0, 100], [100, 100]])
    photo, _ = collage(scene(200, far), scene(3000, near, torch.int32), generator())
    assert photo.dtype == torch.int32
    assert photo[0, 0, 0] == 3000
    photo, _ = collage(scene(200, near), scene(3000, torch.zeros(2, 2), torch.int32), generator())
    assert photo.unique().tolist() == [200 * 257]


def save(folder: Path, name: str, level: int, depth: np.ndarray) -> None:
    for part, pixels in (("rgb", np.full((*depth.shape, 3), level, np.uint8)), ("depth", depth.astype(np.uint16))):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / part / f"{name}.png")


def test_a_source_makes_collages_in_training_alone(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(1, 33), (32, 32))
    for name, level in (("a", 40), ("b", 90), ("c", 160)):
        save(tmp_path, name, level, ramp)

    def keep(clean: Tensor, generator: torch.Generator, depth: Tensor) -> Tensor:
        return clean

    def source(**more: float) -> Source:
        return Source(clean=tmp_path / "rgb", depth=tmp_path / "depth", **more)  # type: ignore[arg-type]

    def levels(patches: Patches, step: int) -> int:
        return len(patches.sample(step, 0, 24)[1][0].unique())

    plain = Patches([source()], keep, held_back=1, augmentation="hflip")
    mixed = Patches([source(collage=0.5, colours=0.4)], keep, held_back=1, augmentation="hflip")
    assert {levels(plain, step) for step in range(20)} == {1}
    counts = [levels(mixed, step) for step in range(60)]
    assert 5 < counts.count(2) < 30
    assert len({float(mixed.sample(step, 0, 24)[1].amax()) for step in range(20)}) > 15, "colours differ"
    for before, after in zip(plain.whole(0, 32, {})[1:], mixed.whole(0, 32, {})[1:], strict=True):
        assert torch.equal(before, after)


def test_a_resaved_picture_has_blocks_anywhere() -> None:
    ramp = torch.rand(3, 40, 48, generator=generator())
    saved = [resave(ramp, generator(seed)) for seed in range(30)]
    assert all(picture.shape == ramp.shape for picture in saved)
    errors = [float((picture - ramp).square().mean()) for picture in saved]
    assert min(errors) < 0.01
    assert max(errors) > 0.02, "of good and of poor quality"
    dot = torch.full((3, 32, 32), 0.2)
    dot[:, 16, 16] = 0.8
    changed = [(resave(dot, generator(seed)) - dot).abs().amax((0, 1)) > 0.001 for seed in range(40)]
    first = {int(columns.nonzero()[0]) for columns in changed if columns.any()}
    assert len(first) > 4, "what rings is a block, and it begins anywhere"


def test_a_source_is_grained_and_resaved_in_training_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
    for part in ("input", "target"):
        (tmp_path / part).mkdir()
        for name in ("a", "b"):
            Image.fromarray(pixels).save(tmp_path / part / f"{name}.png")

    def patches(**more: float) -> Patches:
        return Patches(
            [Source(inputs=tmp_path / "input", targets=tmp_path / "target", **more)],  # type: ignore[arg-type]
            None,
            held_back=1,
        )

    def changes(patches: Patches) -> list[float]:
        pairs = [patches.sample(step, 0, 24) for step in range(80)]
        return [255 * float((degraded - clean).square().mean().sqrt()) for degraded, clean in pairs]

    saved, grained = patches(resaved=0.5), patches(grain=20)
    assert 25 < sum(change > 0 for change in changes(saved)) < 55
    found = [change for change in changes(grained) if change > 0]
    assert 25 < len(found) < 55
    assert min(found) < 4
    assert 15 < max(found) < 20
    for held_back in (saved, grained):
        assert torch.equal(*held_back.whole(0, 24, {})[1:])


def test_sources_refuse_what_they_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"collage=0.3 .* where there is 'depth'"):
        Source(clean=tmp_path, collage=0.3)
    with pytest.raises(UsageError, match=r"collage=1.5 .* a probability"):
        Source(clean=tmp_path, depth=tmp_path, collage=1.5)
    for colours in (-0.1, float("nan")):
        with pytest.raises(UsageError, match=r"colours=\S+ .* 0 or more"):
            Source(clean=tmp_path, colours=colours)
    with pytest.raises(UsageError, match=r"grain=-1 .* 0 or more"):
        Source(clean=tmp_path, grain=-1)
    with pytest.raises(UsageError, match=r"resaved=2 .* a probability"):
        Source(clean=tmp_path, resaved=2)
    with pytest.raises(UsageError, match="pairs are finished"):
        Source(inputs=tmp_path, targets=tmp_path, colours=0.2)
