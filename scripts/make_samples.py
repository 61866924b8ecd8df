"""Makes the pictures of `make demo` from public-domain photographs of scikit-image, spoilt by our own models.

astronaut: NASA, public domain. chelsea: S. van der Walt, CC0. coffee: R. Michel, CC0. rocket: SpaceX, CC0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import skimage.data
from PIL import Image

import undegrade

OUT = Path(__file__).parents[1] / "examples" / "samples"

PICTURES: dict[str, tuple[tuple[int, int, int, int], str, dict[str, Any]]] = {
    "astronaut": ((60, 0, 444, 320), "denoising", {"sigma": 35, "clipped": True}),
    "chelsea": ((40, 0, 424, 288), "jpeg_artifacts", {"quality": 12}),
    "coffee": ((120, 30, 504, 350), "deraining", {"heavy": 0.0, "model": "additive"}),
    "rocket": ((130, 60, 514, 380), "dehazing", {"transmission": 0.65, "airlight": 0.9}),
}


def main() -> None:
    """Write every clean crop and its spoilt version."""
    OUT.mkdir(parents=True, exist_ok=True)
    for name, (box, task, strength) in PICTURES.items():
        clean = Image.fromarray(getattr(skimage.data, name)()).convert("RGB").crop(box)
        clean.save(OUT / f"{name}.png", optimize=True)
        undegrade.degrade(clean, task, seed=3, **strength).save(OUT / f"{name}.{task}.png", optimize=True)


if __name__ == "__main__":
    main()
