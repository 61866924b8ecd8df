"""Training patches: what is held back is trained on nowhere, and the stream depends on its seed alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from undegrade.data.patches import Patches, Source


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
