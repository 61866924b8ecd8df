"""The page about degradations names every strength there is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
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
