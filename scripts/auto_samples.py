"""Photographs and the truth about them, from which samples for the classifier of `auto` are made.

Everything comes from the training pack (`train`, `train_extra`, `train_pairs`, `depth`, `kernels`); nothing of `test`
or `real` is opened. `auto_faults.py` spoils the photographs, `auto_store.py` keeps what the classifier is shown.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F

from undegrade.core.image import load_rgb
from undegrade.data.folders import list_pictures, pair_folders
from undegrade.degradations._depth import sky
from undegrade.degradations._draw import chance, choice, integer, round8, uniform
from undegrade.networks._judge import FAULTS, NOTHING
from undegrade.ops.colour import rgb_to_ycbcr
from undegrade.ops.filters import gaussian_blur

__all__ = ["LARGEST", "UNKNOWN", "Photographs", "Sample", "few_colours", "resized"]

UNKNOWN = -1.0
"""Truth about a fault that may be there or not: it is not learnt from."""
LARGEST = 576
"""Longest side of a sample, which bounds the work of making it."""

PAIRS = ("GoPro", "REDS", "MultiFocus", "rain800", "OTS-small", "ITS", "O-HAZE", "NH-HAZE", "REVIDE")
CLEAN_TARGETS = ("GoPro", "REDS", "ITS", "O-HAZE", "REVIDE")
"""Sets whose targets are clean photographs.

Those of rain800 show JPEG blocks, those of MultiFocus were composed, and over the cities of OTS-small hangs haze.
"""


@dataclass
class Sample:
    """A picture and the truth about it.

    Attributes:
        pixels: (3, H, W) in 0..1, of 8 bits.
        main: the fault that somebody would name first, ``NOTHING``, or ``UNKNOWN``.
        present: for each fault 1, 0 or ``UNKNOWN``.
        strength: root mean square of what it changed, in levels of 0..255; ``UNKNOWN`` where that is not known.
        quality: of the JPEG file; ``UNKNOWN`` where it is none.
    """

    pixels: Tensor
    main: float = NOTHING
    present: list[float] = field(default_factory=lambda: [0.0] * len(FAULTS))
    strength: list[float] = field(default_factory=lambda: [0.0] * len(FAULTS))
    quality: float = UNKNOWN

    def spoil(self, fault: int, spoilt: Tensor, least: float = 2.0) -> None:
        """Take over ``spoilt``; a change of less than ``least`` levels is neither a fault nor none."""
        self.strength[fault] = float((spoilt - self.pixels).square().mean().sqrt()) * 255
        self.present[fault] = 1.0 if self.strength[fault] >= least else UNKNOWN
        self.pixels = spoilt

    @property
    def truth(self) -> list[float]:
        """All that is learnt from, in the order of ``auto_store.Samples.truth``."""
        return [self.main, *self.present, *self.strength, self.quality]


class Photographs:
    """The photographs of the pack, drawn as different as they come.

    Args:
        root: the pack.
        part: ``"train"``, or ``"check"`` for the sixth of all photographs on which the line is found.
    """

    def __init__(self, root: Path, part: str) -> None:
        self.root = root

        def own(path: Path) -> bool:
            return (hashlib.sha256(path.stem.encode()).digest()[0] < 43) == (part == "check")

        def clean(folder: str) -> list[Path]:
            return [path for path in list_pictures(root / folder, recursive=True) if own(path)]

        def pairs(name: str) -> list[tuple[Path, Path]]:
            found = pair_folders(root / "train_pairs" / name / "input", root / "train_pairs" / name / "target", "stem")
            return [(pair.input, pair.target) for pair in found if own(pair.target)]

        self.depth = clean("depth/rgb")
        self.photographs = clean("train") + 2 * clean("train_extra")
        self.pairs = {name: pairs(name) for name in PAIRS}
        self.clean = self.photographs + self.depth
        self.clean += [target for name in CLEAN_TARGETS for _, target in self.pairs[name]]

    @cached_property
    def open_air(self) -> list[Path]:
        """Photographs, hazy cities too, with a sky above something else."""
        places = [*self.photographs, *(target for _, target in self.pairs["OTS-small"])]
        return [path for path in places if 0.08 < float(sky(_read(path)).mean()) < 0.75]

    def one(self, generator: Generator, files: list[Path] | None = None) -> Tensor:
        """A clean photograph: sharp, soft, dark, grey, small."""
        pixels = self.framed([_read(choice(generator, files or self.clean))], generator)[0]
        return round8(_looks(pixels, generator))

    def large(self, generator: Generator, files: list[Path] | None = None) -> Tensor:
        """Like ``one``, now and then a part of a photograph of many megapixels, whose pixels are soft."""
        if not chance(generator, 0.2):
            return self.one(generator, files)
        pixels = self.framed([_read(choice(generator, files or self.clean))], generator, part=2)[0]
        pixels = resized(pixels, uniform(generator, 1.5, 3))[:, :LARGEST, :LARGEST]
        if chance(generator, 0.5):
            pixels = pixels + uniform(generator, 0.3, 1) * (pixels - gaussian_blur(pixels, uniform(generator, 1, 2)))
        return round8(_looks(pixels.clamp(0, 1), generator))

    def framed(self, planes: list[Tensor], generator: Generator, least: float = 0.5, part: int = 1) -> list[Tensor]:
        """The same window of every plane, at the same size; of ``part`` 2 a window of half the side, as it is."""
        height, width = planes[0].shape[-2:]
        shrink = 1.0 if part > 1 or chance(generator, 0.55) else uniform(generator, least, 1)
        shrink = min(max(shrink, 150 / min(height, width)), 1.0)
        rows, columns = (
            min(side, int(min(LARGEST, integer(generator, 200, 800)) / shrink) // part) for side in (height, width)
        )
        # Most files were never cut, so their blocks begin in the corner.
        grid = 8 if chance(generator, 0.6) else 1
        top = integer(generator, 0, (height - rows) // grid) * grid
        left = integer(generator, 0, (width - columns) // grid) * grid
        planes = [plane[:, top : top + rows, left : left + columns] for plane in planes]
        if shrink < 1:
            planes = [round8(resized(plane, shrink)) for plane in planes]
        if chance(generator, 0.5):
            planes = [plane.flip(-1) for plane in planes]
        return planes

    def pair(self, name: str, fault: int, generator: Generator, least: float = 0.5) -> Sample:
        """A real pair of one of the sets."""
        input_path, target_path = choice(generator, self.pairs[name])
        degraded, target = self.framed([_read(input_path), _read(target_path)], generator, least)
        sample = Sample(target)
        sample.spoil(fault, degraded)
        return sample

    def deep(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """A whole photograph and its depth map."""
        path = choice(generator, self.depth)
        depth = load_rgb(self.root / "depth" / "depth" / f"{path.stem}.png")[..., 0]
        return _read(path), torch.from_numpy(depth.astype(np.float32))


@lru_cache(maxsize=700)
def _stored(path: Path) -> np.ndarray:
    return load_rgb(path)


def _read(path: Path) -> Tensor:
    stored = _stored(path)
    return torch.from_numpy(stored.astype(np.float32) / np.iinfo(stored.dtype).max).permute(2, 0, 1)


def resized(pixels: Tensor, factor: float) -> Tensor:
    """At another size, not rounded."""
    size = [round(side * factor) for side in pixels.shape[-2:]]
    return F.interpolate(pixels[None], size, mode="bicubic", antialias=True, align_corners=False)[0]


def _looks(pixels: Tensor, generator: Generator) -> Tensor:
    """Ways in which photographs differ without being spoilt."""
    lot = uniform(generator, 0, 1)
    if lot < 0.1:  # night, dusk
        pixels = pixels.clamp(min=0) ** uniform(generator, 1.2, 2.4) * uniform(generator, 0.35, 1)
    elif lot < 0.2:  # sharpened by the camera
        pixels = pixels + uniform(generator, 0.3, 1.2) * (pixels - gaussian_blur(pixels, uniform(generator, 0.7, 1.5)))
    elif lot < 0.28:  # enlarged a little
        pixels = resized(pixels, uniform(generator, 1.05, 1.6))[:, :LARGEST, :LARGEST]
    elif lot < 0.36:  # brighter, flatter
        pixels = pixels ** uniform(generator, 0.6, 1) * uniform(generator, 0.85, 1)
    elif lot < 0.39:  # of few colours, as in a GIF file
        pixels = few_colours(pixels, Image.Quantize.FASTOCTREE, Image.Dither.FLOYDSTEINBERG)
    if chance(generator, 0.12):
        pixels = rgb_to_ycbcr(pixels.clamp(0, 1))[:1].expand(3, -1, -1)
    return pixels


def few_colours(pixels: Tensor, method: Image.Quantize, dither: Image.Dither) -> Tensor:
    """Of 256 colours, chosen by ``method``, with dots of them in between by ``dither``."""
    stored = Image.fromarray((pixels.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy())
    few = stored.quantize(palette=stored.quantize(256, method), dither=dither).convert("RGB")
    return torch.from_numpy(np.array(few)).permute(2, 0, 1) / 255
