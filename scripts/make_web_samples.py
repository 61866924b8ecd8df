"""Makes the sample pictures of `undegrade serve`, one spoilt photograph for each task, from scikit-image's own.

astronaut: NASA, public domain. chelsea: S. van der Walt, CC0. coffee: R. Michel, CC0. rocket: SpaceX, CC0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import skimage.data
from PIL import Image

import undegrade

OUT = Path(__file__).parents[1] / "src" / "undegrade" / "web" / "samples"

PICTURES: dict[str, tuple[str, tuple[int, int, int, int], dict[str, Any]]] = {
    "denoising": ("astronaut", (80, 0, 400, 240), {"sigma": 35, "clipped": True}),
    "jpeg_artifacts": ("chelsea", (60, 20, 380, 260), {"quality": 12}),
    "deraining": ("coffee", (150, 60, 470, 300), {"heavy": 0.0, "model": "additive"}),
    "dehazing": ("rocket", (160, 120, 480, 360), {"transmission": 0.65, "airlight": 0.9}),
    "desnowing": ("coffee", (150, 60, 470, 300), {}),
    "motion_deblurring": ("chelsea", (60, 20, 380, 260), {}),
    "defocus_deblurring": ("chelsea", (60, 20, 380, 260), {}),
    "super_resolution": ("astronaut", (80, 0, 400, 240), {"scale": 2}),
    "demosaicing": ("coffee", (150, 60, 470, 300), {"pattern": "RGGB"}),
}


def main() -> None:
    """Writes every spoilt picture in the smallest format that does not spoil it further to the eye."""
    OUT.mkdir(parents=True, exist_ok=True)
    for task, (name, box, strength) in PICTURES.items():
        clean = Image.fromarray(getattr(skimage.data, name)()).convert("RGB").crop(box)
        spoilt = undegrade.degrade(clean, task, seed=3, **strength)
        if task in ("demosaicing", "jpeg_artifacts"):  # every sample counts
            spoilt.save(OUT / f"{task}.png", optimize=True)
        else:
            spoilt.save(OUT / f"{task}.webp", quality=92, method=6)


if __name__ == "__main__":
    main()
