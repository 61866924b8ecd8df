"""A tiny training run that the engine's tests share: four small pictures, a net of a few thousand parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import skimage.data
from PIL import Image

from undegrade.engine.recipe import Recipe

TINY = {"width": 4, "enc_blocks": [1, 0, 0, 1], "dec_blocks": [0, 0, 0, 1], "middle_blocks": 1}


def pictures(folder: Path) -> Path:
    """Four crops of photographs, 64x64."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("astronaut", "coffee"):
        photo = getattr(skimage.data, name)()
        for number in range(2):
            crop = photo[100:164, 100 + 90 * number : 164 + 90 * number]
            Image.fromarray(crop).save(folder / f"{name}{number}.png")
    return folder


def recipe(folder: Path, **changes: Any) -> Recipe:
    """Denoising at sigma 25, six steps of four 32-pixel patches."""
    entries: dict[str, Any] = {
        "name": "tiny",
        "task": "denoising",
        "network": "m3snet",
        "preset": "m3snet_w16_d8",
        "numbers": TINY,
        "data": str(folder),
        "sources": [{"clean": "clean", "strength": {"sigma": 25}}],
        "patches": [{"until": 1.0, "size": 32, "batch": 4}],
        "steps": 6,
        "held_back": 1,
        "validate_at": [{"sigma": 25}],
        "validate_every": 3,
        "save_every": 3,
        "lr": 1e-3,
        "ema": 0.9,
    }
    return Recipe.from_dict({**entries, **changes})
