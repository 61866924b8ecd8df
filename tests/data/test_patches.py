"""Training patches: what is held back is trained on nowhere, and the stream depends on its seed alone."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from undegrade.core.errors import InputError, UsageError
from undegrade.data.patches import Patches
from undegrade.data.sources import Source
from undegrade.ops.colour import rgb_to_ycbcr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_a_picture_held_back_from_one_source_is_trained_on_in_none(folder: Path) -> None:
    sources = [Source(clean=folder, weight=3.0), Source(clean=folder), Source(inputs=folder, targets=folder)]
    patches = Patches(sources, lambda clean, generator: clean, held_back=6)
    unseen = {picture.target for picture in patches.validation}
    assert len(unseen) == 4
    assert all(picture.target not in unseen for group in patches._train for picture in group)
    assert len(patches) == 3 * (12 - len(unseen))


def test_a_name_that_is_no_text(folder: Path) -> None:
    for number in range(12):
        (folder / f"{number}.png").rename(folder / os.fsdecode(b"\xff%d.png" % number))
    patches = Patches([Source(clean=folder)], lambda clean, generator: clean, held_back=1)
    assert patches.whole(0, 24, {})[0].startswith(os.fsdecode(b"\xff"))


def test_the_stream_depends_on_seed_step_and_place_alone(folder: Path) -> None:
    def noisy(clean: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return clean + torch.randn(clean.shape, generator=generator)

    one, other = (Patches([Source(clean=folder)], noisy, seed=seed) for seed in (1, 2))
    first = one.sample(3, 1, 16)
    one.sample(9, 0, 16)
    for a, b in zip(first, one.sample(3, 1, 16), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[0], other.sample(3, 1, 16)[0])
    assert not torch.equal(first[0], one.sample(3, 2, 16)[0])


def test_saturation_draws_colours_away_from_a_grey_that_stays(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (120, 100, 90)).save(tmp_path / "brown.png")
    before, after = (
        Patches([Source(clean=tmp_path, saturation=factors)], lambda clean, generator: clean).sample(0, 0, 16)[1]
        for factors in ((1.0, 1.0), (1.5, 1.5))
    )
    grey = rgb_to_ycbcr(before)[:1]
    torch.testing.assert_close(after - grey, 1.5 * (before - grey))
    torch.testing.assert_close(rgb_to_ycbcr(after)[:1], grey)
    (most,) = Patches([Source(clean=tmp_path, saturation=(9, 9))], lambda clean, _: clean).sample(0, 0, 16)[1:]
    assert float(most.min()) == 0  # where blue would be below


@pytest.mark.parametrize("change", [{"grey": True}, {"strength": {"gain": 2}}, {"saturation": (1.0, 2.0)}])
def test_what_spoils_clean_pictures_is_refused_for_pairs(folder: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="pairs are finished"):
        Source(inputs=folder, targets=folder, **change)


def test_factors_of_saturation_are_checked(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"saturation=\[2.0, 1.0\] of a source: two factors from 0"):
        Source(clean=folder, saturation=(2.0, 1.0))


@pytest.mark.parametrize("change", [{"weight": inf}, {"grain": inf}, {"colours": inf}, {"saturation": (1.0, inf)}])
def test_endless_numbers_of_a_source_are_refused(folder: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"of a source: .*finite"):
        Source(clean=folder, **change)


def test_a_source_without_a_picture_left_to_train_on_is_named(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    unseen = {picture.target for picture in Patches([Source(clean=folder)], lambda c, g: c, held_back=1).validation}
    few = tmp_path_factory.mktemp("few")
    for target in unseen:
        (few / target.name).symlink_to(target)
    with pytest.raises(InputError, match=r"few\d+: every picture there is held back for validation.*held_back=2"):
        Patches([Source(clean=folder), Source(clean=few)], lambda c, g: c, held_back=2)


def test_a_file_that_is_no_picture_is_named(folder: Path) -> None:
    (folder / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"text\.png: not a picture"):
        Patches([Source(clean=folder)], lambda c, g: c)


def test_an_empty_folder_of_depth_maps_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "depth").mkdir()
    with pytest.raises(InputError, match="no depth map of that stem in"):
        Patches([Source(clean=folder, depth=tmp_path / "depth", collage=0.5)], lambda clean, generator: clean)
