"""Spoilt and unspoilt pictures with the truth about them, for training the classifier of `auto`.

Everything comes from the training pack (`train`, `train_extra`, `train_pairs`, `depth`, `kernels`); nothing of `test`
or `real` is opened. A sample is one picture as a user might bring it: a window of a photograph at some size, clean or
with one fault or several, saved as JPEG or not. What is kept of it is what the classifier is shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from undegrade.core.image import load_rgb
from undegrade.data.folders import list_pictures, pair_folders
from undegrade.data.patches import sample_generator
from undegrade.degradations._draw import chance, choice, integer, round8, uniform
from undegrade.degradations.defocus import defocus
from undegrade.degradations.haze import haze
from undegrade.degradations.jpeg import jpeg
from undegrade.degradations.motion import motion
from undegrade.degradations.rain import rain
from undegrade.degradations.snow import snow
from undegrade.inference.judging import crops, places, shown, view
from undegrade.networks._judge import FAULTS
from undegrade.ops.colour import rgb_to_ycbcr
from undegrade.ops.filters import gaussian_blur

__all__ = ["BLOCKS", "CROPS", "SIDE", "UNKNOWN", "Maker", "Sample", "Samples"]

CROPS = 6
"""Crops kept of every sample."""
SIDE = 128
"""Of these crops; training cuts smaller ones out of them."""
CHUNK = 250
"""Samples in one file."""
UNKNOWN = -1.0
"""Truth about a fault that may be there or not: it is not learnt from."""
LARGEST = 448
"""Longest side of a sample, which bounds the work of making it."""

NOISE, BLOCKS, MOTION, DEFOCUS, RAIN, HAZE, SNOW = range(len(FAULTS))
SHARES = {None: 0.24, NOISE: 0.1, BLOCKS: 0.1, MOTION: 0.12, DEFOCUS: 0.11, RAIN: 0.12, HAZE: 0.11, SNOW: 0.1}
"""How often each fault is the main one."""


@dataclass
class Sample:
    """A picture and the truth about it.

    Attributes:
        pixels: (3, H, W) in 0..1, of 8 bits.
        present: for each fault 1, 0 or ``UNKNOWN``.
        strength: root mean square of what it changed, in levels of 0..255; ``UNKNOWN`` where that is not known.
        quality: of the JPEG file; ``UNKNOWN`` where it is none.
    """

    pixels: Tensor
    present: list[float] = field(default_factory=lambda: [0.0] * len(FAULTS))
    strength: list[float] = field(default_factory=lambda: [0.0] * len(FAULTS))
    quality: float = UNKNOWN

    def spoil(self, fault: int, spoilt: Tensor, least: float = 2.0) -> None:
        """Take over ``spoilt``; a change of less than ``least`` levels is neither a fault nor none."""
        self.strength[fault] = float((spoilt - self.pixels).square().mean().sqrt()) * 255
        self.present[fault] = 1.0 if self.strength[fault] >= least else UNKNOWN
        self.pixels = spoilt

    def shown(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """(CROPS, 3, SIDE, SIDE) spread over the picture, (3, V, V), both of bytes."""
        pixels = shown(self.pixels, SIDE)
        corners = places(*pixels.shape[-2:], SIDE)
        order = torch.randperm(len(corners), generator=generator)[:CROPS].tolist()
        chosen = [corners[order[index % len(order)]] for index in range(CROPS)]
        return _bytes(crops(pixels, chosen, SIDE)), _bytes(view(pixels))


def _bytes(picture: Tensor) -> Tensor:
    return (picture * 255).round().byte()


class Maker:
    """Makes samples out of the pack; the same for a number, whatever was made before.

    Args:
        root: the pack.
        part: ``"train"``, or ``"check"`` for the sixth of all photographs on which thresholds are found.
        seed: of all samples.
    """

    def __init__(self, root: Path, part: str, seed: int = 0) -> None:
        self.root, self.seed = root, seed

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

    def __call__(self, number: int) -> tuple[Sample, Generator]:
        """Sample ``number``, and the generator to go on drawing from."""
        generator = sample_generator(self.seed, number)
        main = _drawn(SHARES, generator)
        sample = MAKERS[main](self, generator) if main in MAKERS else Sample(self.photograph(generator))
        if main in (RAIN, HAZE, SNOW) and chance(generator, 0.25):  # taken large, shown small
            shrink = max(uniform(generator, 0.5, 1), min(1.0, 150 / min(sample.pixels.shape[-2:])))
            sample.pixels = round8(_resized(sample.pixels, shrink))
        _saved(sample, main, generator)
        return sample, generator

    def photograph(self, generator: Generator, files: list[Path] | None = None) -> Tensor:
        """A clean photograph, as different as they come: sharp, soft, dark, grey, small."""
        pixels = self.framed([_read(choice(generator, files or self.clean))], generator)[0]
        return round8(_looks(pixels, generator))

    def framed(self, planes: list[Tensor], generator: Generator, least: float = 0.5) -> list[Tensor]:
        """The same window of every plane, at the same size."""
        height, width = planes[0].shape[-2:]
        shrink = 1.0 if chance(generator, 0.55) else uniform(generator, least, 1)
        shrink = min(max(shrink, 150 / min(height, width)), 1.0)
        rows, columns = (
            min(side, int(min(LARGEST, integer(generator, 200, 640)) / shrink)) for side in (height, width)
        )
        # Most files were never cut, so their blocks begin in the corner.
        grid = 8 if chance(generator, 0.6) else 1
        top = integer(generator, 0, (height - rows) // grid) * grid
        left = integer(generator, 0, (width - columns) // grid) * grid
        planes = [plane[:, top : top + rows, left : left + columns] for plane in planes]
        if shrink < 1:
            planes = [round8(_resized(plane, shrink)) for plane in planes]
        if chance(generator, 0.5):
            planes = [plane.flip(-1) for plane in planes]
        return planes

    def pair(self, names: tuple[str, ...], fault: int, generator: Generator, least: float = 0.5) -> Sample:
        """A real pair of one of the sets."""
        input_path, target_path = choice(generator, self.pairs[choice(generator, names)])
        degraded, target = self.framed([_read(input_path), _read(target_path)], generator, least)
        sample = Sample(target)
        sample.spoil(fault, degraded)
        return sample


def _drawn(shares: dict[int | None, float], generator: Generator) -> int | None:
    lot = uniform(generator, 0, sum(shares.values()))
    for name, share in shares.items():
        lot -= share
        if lot < 0:
            return name
    return None


@lru_cache(maxsize=700)
def _stored(path: Path) -> np.ndarray:
    return load_rgb(path)


def _read(path: Path) -> Tensor:
    stored = _stored(path)
    return torch.from_numpy(stored.astype(np.float32) / np.iinfo(stored.dtype).max).permute(2, 0, 1)


def _resized(pixels: Tensor, factor: float) -> Tensor:
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
        pixels = _resized(pixels, uniform(generator, 1.05, 1.6))[:, :LARGEST, :LARGEST]
    elif lot < 0.36:  # brighter, flatter
        pixels = pixels ** uniform(generator, 0.6, 1) * uniform(generator, 0.85, 1)
    if chance(generator, 0.12):
        pixels = rgb_to_ycbcr(pixels.clamp(0, 1))[:1].expand(3, -1, -1)
    return pixels


def _saved(sample: Sample, main: int | None, generator: Generator) -> None:
    """Noise of the camera and the file: part of every picture, sometimes bad enough to be a fault."""
    lot = uniform(generator, 0, 1)
    if main == NOISE or (main is not None and main != BLOCKS and lot < 0.07):
        _noise(sample, generator, main == NOISE)
    elif lot > 0.75:
        _faint(sample, generator)
    lot = uniform(generator, 0, 1)
    if main == BLOCKS or (main is not None and lot < 0.16):
        if main == BLOCKS and chance(generator, 0.15):
            _recoded(sample, generator)
            return
        quality = integer(generator, 5, 75) if main == BLOCKS or lot < 0.09 else integer(generator, 60, 76)
        before = sample.pixels
        sample.spoil(BLOCKS, jpeg(before, generator, quality=[quality, quality], twice=0.1), least=0.0)
        sample.quality = quality
    elif lot < 0.5:
        sample.pixels = jpeg(sample.pixels, generator, quality=[90, 99], twice=0.0)
    elif lot < 0.6:
        sample.pixels = jpeg(sample.pixels, generator, quality=[78, 90], twice=0.0)
        sample.present[BLOCKS] = UNKNOWN


def _recoded(sample: Sample, generator: Generator) -> None:
    """An old JPEG file, resized and saved once more, as pictures that wander through the web are."""
    coded = jpeg(sample.pixels, generator, quality=[5, 45], twice=0.2)
    sample.spoil(BLOCKS, coded, least=0.0)
    factor = uniform(generator, 0.75, 1.5)
    if min(coded.shape[-2:]) * factor >= SIDE:
        sample.pixels = round8(_resized(coded, factor))[:, :LARGEST, :LARGEST]
    sample.pixels = jpeg(sample.pixels, generator, quality=[85, 98], twice=0.0)


def _grain(pixels: Tensor, generator: Generator) -> Tensor:
    """Noise of standard deviation 1 and of one of the kinds that cameras and their software leave."""
    noise = torch.randn(pixels.shape, generator=generator)
    lot = uniform(generator, 0, 1)
    if lot < 0.15:  # equal in all channels
        noise = noise[:1].expand(3, -1, -1)
    elif lot < 0.45:  # coarse, as after demosaicing and shrinking
        noise = gaussian_blur(noise, uniform(generator, 0.4, 1.3))
        if chance(generator, 0.5):
            noise = noise + uniform(generator, 0.3, 1.5) * noise.mean(0, keepdim=True)
    if chance(generator, 0.3):  # more where there is more light, or where the shadows were lifted
        level = pixels.mean(0, keepdim=True).clamp(0.02, 1)
        noise = noise * (level if chance(generator, 0.6) else 1.2 - level) ** 0.5
    if torch.equal(pixels[0], pixels[1]) and torch.equal(pixels[1], pixels[2]):
        noise = noise[:1].expand(3, -1, -1)
    return noise / noise.std()


def _noise(sample: Sample, generator: Generator, alone: bool) -> None:
    sigma = 5 * (70 / 5) ** uniform(generator, 0, 1) if alone else uniform(generator, 6, 40)
    grain = _grain(sample.pixels, generator)
    sample.spoil(NOISE, round8(sample.pixels + grain * sigma / 255))
    sample.strength[NOISE], sample.present[NOISE] = sigma, 1.0


def _faint(sample: Sample, generator: Generator) -> None:
    sigma = uniform(generator, 0, 4.5)
    sample.pixels = round8(sample.pixels + _grain(sample.pixels, generator) * sigma / 255)
    sample.strength[NOISE] = sigma
    if sigma > 2:
        sample.present[NOISE] = UNKNOWN


def _motion(maker: Maker, generator: Generator) -> Sample:
    lot = uniform(generator, 0, 1)
    if lot < 0.2:
        return maker.pair(("GoPro",), MOTION, generator)
    if lot < 0.33:
        return maker.pair(("REDS",), MOTION, generator)
    sample = Sample(maker.photograph(generator))
    if lot < 0.55:
        name = choice(generator, ("camera_shake_estimated", "photo_blur_estimated", "usrnet12"))
        strength = {"kernels": str(maker.root / "kernels" / f"{name}.npz")}
        if name == "usrnet12":  # half of them are Gaussians: neither motion nor a lens
            sample.present[DEFOCUS] = UNKNOWN
        sample.spoil(MOTION, motion(sample.pixels, generator, **strength))
    else:
        sample.spoil(MOTION, motion(sample.pixels, generator, length=[6, 40]))
    return sample


def _defocus(maker: Maker, generator: Generator) -> Sample:
    lot = uniform(generator, 0, 1)
    if lot < 0.12:
        return maker.pair(("MultiFocus",), DEFOCUS, generator)
    sample = Sample(maker.photograph(generator, maker.photographs))
    sample.spoil(DEFOCUS, defocus(sample.pixels, generator, radius=[1.5, 12], level=0.3))
    return sample


def _rain(maker: Maker, generator: Generator) -> Sample:
    lot = uniform(generator, 0, 1)
    if lot < 0.15:
        sample = maker.pair(("rain800",), RAIN, generator)
        sample.present[BLOCKS] = UNKNOWN
        return sample
    sample = Sample(maker.photograph(generator))
    folder = maker.root / "train_pairs"
    if lot < 0.45:
        wet = rain(sample.pixels, generator, layers=str(folder / "rain_streaks_garg"), gain=[0.5, 1.4])
    elif lot < 0.55:
        wet = rain(sample.pixels, generator, layers=str(folder / "rain100h" / "layer"), gain=[0.6, 1.1])
    elif lot < 0.62:
        wet = rain(sample.pixels, generator, layers=str(folder / "rain_masks"), gain=[0.5, 1.2])
    else:
        wet = rain(sample.pixels, generator)
        sample.present[HAZE] = UNKNOWN  # of the mist in one of its models
    sample.spoil(RAIN, wet)
    if chance(generator, 0.15):
        sample.present[HAZE] = 0.0
        sample.spoil(HAZE, haze(sample.pixels, generator, transmission=[0.4, 0.85]))
    return sample


def _haze(maker: Maker, generator: Generator) -> Sample:
    lot = uniform(generator, 0, 1)
    if lot < 0.3:
        name = choice(generator, ("OTS-small", "OTS-small", "ITS", "O-HAZE", "NH-HAZE", "REVIDE"))
        if maker.pairs[name]:
            return maker.pair((name,), HAZE, generator, 0.35)
    if lot < 0.65 and maker.depth:
        path = choice(generator, maker.depth)
        depth = torch.from_numpy(
            load_rgb(maker.root / "depth" / "depth" / f"{path.stem}.png")[..., 0].astype(np.float32)
        )
        clean = _read(path)
        sample = Sample(clean)
        hazy, clean = maker.framed([haze(clean, generator, depth=depth), clean], generator)
        sample.pixels = clean
        sample.spoil(HAZE, hazy, least=6)
        return sample
    sample = Sample(maker.photograph(generator))
    sample.spoil(HAZE, haze(sample.pixels, generator, transmission=[0.2, 0.8]), least=6)
    return sample


def _snow(maker: Maker, generator: Generator) -> Sample:
    sample = Sample(maker.photograph(generator))
    strength = {}
    if chance(generator, 0.25):
        strength = {"layers": str(maker.root / "train_pairs" / "snow_masks")}
    sample.present[HAZE] = UNKNOWN  # the veil
    sample.spoil(SNOW, snow(sample.pixels, generator, **strength))
    return sample


PAIRS = ("GoPro", "REDS", "MultiFocus", "rain800", "OTS-small", "ITS", "O-HAZE", "NH-HAZE", "REVIDE")
CLEAN_TARGETS = ("GoPro", "REDS", "ITS", "O-HAZE", "REVIDE", "OTS-small")
"""Sets whose targets are clean photographs; those of rain800 show JPEG blocks, those of MultiFocus were composed."""
MAKERS: dict[int | None, Callable[[Maker, Generator], Sample]] = {
    MOTION: _motion,
    DEFOCUS: _defocus,
    RAIN: _rain,
    HAZE: _haze,
    SNOW: _snow,
}


class Samples:
    """What is kept of the samples, on disk and read page by page; made where it is missing.

    Attributes:
        truth: (N, 2 faults + 1): presence and strength of every fault, and the quality.
    """

    def __init__(self, root: Path, part: str, count: int, folder: Path, seed: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{part}-{seed}-{first:06d}.npz" for first in range(0, count, CHUNK)]
        maker = None
        for index, file in enumerate(files):
            if not file.exists():
                maker = maker or Maker(root, part, seed)
                _keep(maker, range(index * CHUNK, (index + 1) * CHUNK), file)
                print(f"{part}: {(index + 1) * CHUNK} samples", flush=True)
        self._crops = [np.load(file.with_suffix(".crops.npy"), mmap_mode="r") for file in files]
        self._views = [np.load(file.with_suffix(".views.npy"), mmap_mode="r") for file in files]
        self.truth = torch.from_numpy(np.concatenate([np.load(file)["truth"] for file in files]))

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Crops and views in 0..1, and the truth, of these samples."""
        places = [divmod(int(row), CHUNK) for row in rows]
        near = np.stack([self._crops[chunk][row] for chunk, row in places])
        whole = np.stack([self._views[chunk][row] for chunk, row in places])
        return torch.from_numpy(near).float() / 255, torch.from_numpy(whole).float() / 255, self.truth[list(rows)]


def _keep(maker: Maker, numbers: range, file: Path) -> None:
    near, views, truth = [], [], []
    for number in numbers:
        sample, generator = maker(number)
        crop, whole = sample.shown(generator)
        near.append(crop.numpy())
        views.append(whole.numpy())
        truth.append([*sample.present, *sample.strength, sample.quality])
    np.save(file.with_suffix(".crops.npy"), np.stack(near))
    np.save(file.with_suffix(".views.npy"), np.stack(views))
    np.savez(file, truth=np.array(truth, np.float32))  # the last: what has it is whole
