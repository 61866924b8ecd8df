"""The page about degradations names every strength there is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from undegrade.degradations import bicubic, defocus, haze, jpeg, mosaic, motion, noise, rain, snow

PAGE = Path(__file__).parents[2] / "docs" / "degradations.md"


@pytest.mark.parametrize(
    ("task", "function"),
    [
        ("denoising", noise.gaussian_noise),
        ("jpeg_artifacts", jpeg.jpeg),
        ("super_resolution", bicubic.bicubic),
        ("demosaicing", mosaic.bayer_mosaic),
        ("deraining", rain.rain),
        ("dehazing", haze.haze),
        ("desnowing", snow.snow),
        ("motion_deblurring", motion.motion),
        ("defocus_deblurring", defocus.defocus),
    ],
)
def test_every_strength_is_described(task: str, function: Callable[..., Tensor]) -> None:
    described, current = {}, ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 6:
            current = cells[1] or current
            described.setdefault(current, []).extend(cells[2].replace("`", "").split(", "))
    parameters = list(inspect.signature(function).parameters)
    assert sorted(described[task]) == sorted(parameters[2:])


@pytest.mark.parametrize(
    ("function", "strength"),
    [
        (noise.gaussian_noise, {"sigma": 0}),
        (rain.rain, {"gain": 0, "model": "additive"}),
        (haze.haze, {"beta": 0}),
        (snow.snow, {"gain": 0, "veil": 0}),
        (snow.snow, {"density": 0, "veil": 0}),
        (motion.motion, {"length": 0, "steady": 1, "noise": 0}),
        (defocus.defocus, {"radius": 0, "gain": 1, "noise": 0}),
    ],
)
def test_strengths_that_do_nothing(function: Callable[..., Tensor], strength: dict[str, Any]) -> None:
    clean = torch.randint(0, 240, (3, 24, 32), generator=torch.Generator().manual_seed(0)) / 255  # without lamps
    for seed in range(12):
        result = function(clean, torch.Generator().manual_seed(seed), **strength)
        assert float((result - clean).abs().max()) < 1e-3
