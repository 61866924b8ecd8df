"""What holds for every task's degradation: the seed decides, nothing else does; shapes, ranges, eight bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage import data

from undegrade import tasks
from undegrade.core.errors import UsageError
from undegrade.data import layouts
from undegrade.degradations import _draw
from undegrade.metrics import protocol

NAMES = [name for name in tasks.catalog.names() if tasks.get(name).degrade is not None]


def clean(height: int = 64, width: int = 80) -> torch.Tensor:
    return torch.from_numpy(data.coffee()[60 : 60 + height, 200 : 200 + width].copy()).permute(2, 0, 1).float() / 255


def degraded(name: str, seed: int, picture: torch.Tensor | None = None) -> torch.Tensor:
    degrade = tasks.get(name).degrade
    assert degrade is not None
    return degrade(clean() if picture is None else picture, torch.Generator().manual_seed(seed))


def test_nine_tasks() -> None:
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", NAMES)
def test_seed_decides_and_nothing_else(name: str) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = degraded(name, 7)
    assert torch.equal(torch.get_rng_state(), state), "drew from the global generator"
    torch.manual_seed(2)
    assert torch.equal(degraded(name, 7), first)
    assert any(not torch.equal(degraded(name, seed), first) for seed in (8, 9, 10, 11))


@pytest.mark.parametrize("name", NAMES)
def test_input_is_left_alone(name: str) -> None:
    picture = clean()
    degraded(name, 3, picture)
    assert torch.equal(picture, clean())


@pytest.mark.parametrize("name", NAMES)
def test_shape_range_and_eight_bits(name: str) -> None:
    for seed in range(6):
        result = degraded(name, seed)
        assert result.dtype == torch.float32
        assert torch.isfinite(result).all()
        factor = 80 // result.shape[-1]
        assert result.shape == (3, 64 // factor, 80 // factor)
        if name == "denoising":
            continue
        assert 0 <= float(result.min()) <= float(result.max()) <= 1
        assert float((result * 255 - (result * 255).round()).abs().max()) < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes(name: str) -> None:
    result = degraded(name, 5, clean(37, 53))
    assert result.shape[-1] in (53, 26, 17, 13)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "demosaicing"])
def test_grey(name: str) -> None:
    assert degraded(name, 5, clean()[1:2]).shape[0] == 1


@pytest.mark.parametrize("name", NAMES)
def test_task_names_a_ruler_and_known_benchmarks(name: str) -> None:
    task = tasks.get(name)
    assert task.name == name
    assert task.protocol in protocol.names()
    for benchmark in task.benchmarks:
        assert layouts.find(benchmark) is not None, benchmark


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("denoise", "denoising"),
        ("dejpeg", "jpeg_artifacts"),
        ("car", "jpeg_artifacts"),
        ("sr", "super_resolution"),
        ("upscale", "super_resolution"),
        ("demosaic", "demosaicing"),
        ("derain", "deraining"),
        ("dehaze", "dehazing"),
        ("desnow", "desnowing"),
        ("deblur", "motion_deblurring"),
        ("defocus", "defocus_deblurring"),
    ],
)
def test_aliases(alias: str, name: str) -> None:
    assert tasks.get(alias).name == name


def test_strength_is_a_number_a_pair_or_the_training_range() -> None:
    generator = torch.Generator().manual_seed(0)
    assert _draw.strength(generator, 3, 0, 1) == 3.0
    assert all(2 <= _draw.strength(generator, [2, 4], 0, 1) <= 4 for _ in range(50))
    assert all(0 <= _draw.strength(generator, None, 0, 1) <= 1 for _ in range(50))
    assert _draw.strength(generator, np.float32(3), 0, 1) == 3.0
    assert _draw.strength(generator, "5e-1", 0, 1) == 0.5
    assert 2 <= _draw.strength(generator, np.array([2, 4]), 0, 1) <= 4
    for wrong in ([1, 2, 3], "strong", ["a", "b"], {}, torch.tensor(3.0)):
        with pytest.raises(UsageError, match="sigma"):
            _draw.strength(generator, wrong, 0, 1, "sigma")  # type: ignore[arg-type]
    for wrong in ([4, 2], [1, math.nan], [1, math.inf], math.nan, -math.inf, -1):
        with pytest.raises(
            UsageError, match=r"sigma=.*must be finite, 0 or more, and the first of a pair not above the second"
        ):
            _draw.strength(generator, wrong, 0, 1, "sigma")
    for often in ("often", 2, -0.1, math.nan):
        with pytest.raises(UsageError, match=r"'?[-.\w]+'?: a probability is needed, a number in 0-1"):
            _draw.chance(generator, often)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "strength", "text"), [("denoising", "sigma", "2.5e1"), ("jpeg_artifacts", "quality", "1e1")]
)
def test_a_number_as_text_is_a_test_condition_too(name: str, strength: str, text: str) -> None:
    degrade = tasks.get(name).degrade
    assert degrade is not None
    for seed in range(8):
        results = [
            degrade(clean(), torch.Generator().manual_seed(seed), **{strength: value}) for value in (text, float(text))
        ]
        assert torch.equal(*results)
