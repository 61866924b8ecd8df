"""How photographs are spoilt for the classifier of `auto`: as in the tasks' own degradations, and as real ones are.

A sample is one photograph or drawing as a user might bring it: clean, with one fault or several, saved as JPEG or not,
fresh from the camera or after it went through other hands.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from auto_drawings import drawing
from auto_edits import Edit, edit, in_few_colours, webp
from auto_samples import LARGEST, UNKNOWN, Photographs, Sample, resized
from torch import Generator, Tensor

from undegrade.data.patches import sample_generator
from undegrade.degradations._depth import fractal, made_depth, sky
from undegrade.degradations._draw import chance, choice, integer, round8, uniform
from undegrade.degradations.defocus import defocus
from undegrade.degradations.haze import haze, scatter, skylight
from undegrade.degradations.jpeg import jpeg
from undegrade.degradations.motion import motion
from undegrade.degradations.noise import camera_grain
from undegrade.degradations.rain import rain, streaks
from undegrade.degradations.snow import flakes, snow
from undegrade.inference.judging import CROP
from undegrade.networks._judge import FAULTS, NOTHING
from undegrade.ops.filters import gaussian_blur

__all__ = ["BLOCKS", "MAKERS", "NOISE", "grained", "made"]

NOISE, BLOCKS, MOTION, DEFOCUS, RAIN, HAZE, SNOW = range(len(FAULTS))
SHARES = {NOTHING: 0.28, NOISE: 0.1, BLOCKS: 0.09, MOTION: 0.11, DEFOCUS: 0.1, RAIN: 0.12, HAZE: 0.1, SNOW: 0.1}
"""How often each fault is the main one."""
EDITED, FEW, WEBP = 0.4, 0.06, 0.08
"""How often a sample is edited before it is saved, saved in 256 colours, and saved as WebP."""
SHOWN = 75
"""JPEG quality up to which blocks count as there."""


def made(photographs: Photographs, seed: int, number: int) -> tuple[Sample, Generator]:
    """Sample ``number``, the same whatever was made before, and the generator to go on drawing from."""
    generator, later = sample_generator(seed, number), sample_generator(seed, number, 1)
    main = _drawn(SHARES, generator)
    sample = MAKERS[main](photographs, generator)
    if main in (RAIN, HAZE, SNOW) and chance(generator, 0.3):  # taken large, shown small
        shrink = max(uniform(generator, 0.5, 1), min(1.0, 150 / min(sample.pixels.shape[-2:])))
        sample.pixels = round8(resized(sample.pixels, shrink))
    before = sample.pixels
    grained(sample, main, generator)
    if chance(later, EDITED):
        _edited(sample, before, edit(later))
    lot = uniform(later, 0, 1)
    if main == BLOCKS or lot > FEW + WEBP:
        _saved(sample, main, generator)
    else:
        _saved_otherwise(sample, lot < FEW, later)
    sample.main = main if main == NOTHING or (sample.present[main] == 1 and sample.main != UNKNOWN) else UNKNOWN
    return sample, generator


def _drawn(shares: dict[int, float], generator: Generator) -> int:
    weights = torch.tensor(list(shares.values()))
    return list(shares)[int(torch.multinomial(weights, 1, generator=generator))]


def grained(sample: Sample, main: int, generator: Generator) -> None:
    """Noise of the camera: part of every picture, sometimes bad enough to be a fault."""
    lot = uniform(generator, 0, 1)
    if main == NOISE:
        sigma = 5 * (70 / 5) ** uniform(generator, 0, 1)
    elif main != NOTHING and lot < 0.07:
        sigma = uniform(generator, 6, 20)
        if sigma > 10 and main in (MOTION, DEFOCUS, HAZE):  # whoever sees both speaks of the noise as often
            sample.main = UNKNOWN
    elif lot > 0.7:
        sigma = uniform(generator, 0, 2.5)
    else:
        return
    sample.pixels = round8(sample.pixels + camera_grain(sample.pixels, generator) * sigma / 255)
    sample.strength[NOISE], sample.present[NOISE] = sigma, float(sigma > 4)


def _edited(sample: Sample, before: Tensor, change: Edit) -> None:
    """As people change pictures. ``before`` is the sample without its noise, which tells how much of that remains."""
    sample.pixels = change(sample.pixels)
    if sample.present[NOISE] == 1:
        sample.strength[NOISE] = float((sample.pixels - change(before)).square().mean().sqrt()) * 255
        sample.present[NOISE] = 1.0 if sample.strength[NOISE] > 4 else UNKNOWN


def _saved_otherwise(sample: Sample, few: bool, generator: Generator) -> None:
    """In ``few`` colours, whose dots look like noise, or as WebP, whose blocks are nearly those of JPEG."""
    quality = 0 if few else integer(generator, 50, 95)
    sample.pixels = in_few_colours(sample.pixels, generator) if few else webp(sample.pixels, quality)
    fault = NOISE if few else BLOCKS
    if (few or quality < SHOWN) and sample.present[fault] == 0:
        sample.present[fault] = UNKNOWN


def _saved(sample: Sample, main: int, generator: Generator) -> None:
    """The file: most are JPEG, few are so coarse that it shows."""
    lot = uniform(generator, 0, 1)
    if main == BLOCKS and chance(generator, 0.15):
        _recoded(sample, generator)
        return
    if main == BLOCKS:
        quality = integer(generator, 5, SHOWN)
    elif main == NOTHING:
        quality = 0 if lot < 0.4 else integer(generator, 80, 90) if lot < 0.55 else integer(generator, 90, 99)
    elif lot < 0.12:
        quality = integer(generator, 10, 50)
        if quality < 30:  # as bad as the fault itself
            sample.main = UNKNOWN
    else:
        quality = 0 if lot < 0.45 else integer(generator, 50, 80) if lot < 0.68 else integer(generator, 80, 99)
    if not quality:
        return
    coded = jpeg(sample.pixels, generator, quality=[quality, quality], twice=0.1 if quality <= SHOWN else 0.0)
    if quality <= SHOWN:
        sample.spoil(BLOCKS, coded, least=0.0)
        sample.quality = quality
    elif quality < 88:
        sample.present[BLOCKS] = UNKNOWN
    sample.pixels = coded


def _recoded(sample: Sample, generator: Generator) -> None:
    """An old JPEG file, resized and saved once more, as pictures that wander through the web are."""
    coded = jpeg(sample.pixels, generator, quality=[5, 45], twice=0.2)
    sample.spoil(BLOCKS, coded, least=0.0)
    factor = uniform(generator, 0.75, 1.5)
    if min(coded.shape[-2:]) * factor >= CROP:
        sample.pixels = round8(resized(coded, factor))[:, :LARGEST, :LARGEST]
    sample.pixels = jpeg(sample.pixels, generator, quality=[85, 98], twice=0.0)


def _subject(photographs: Photographs, generator: Generator, drawn: float = 0.05) -> Sample:
    """A photograph, or, as often as ``drawn`` says, a drawing."""
    return Sample(drawing(generator) if chance(generator, drawn) else photographs.large(generator))


def _fine(photographs: Photographs, generator: Generator) -> Sample:
    return _subject(photographs, generator, 0.1)


def _seen(photographs: Photographs, generator: Generator) -> Sample:
    """What a fault that lies over everything may lie on: large or small, at times with a soft fore- or background."""
    sample = _subject(photographs, generator)
    if chance(generator, 0.25):
        sample.pixels = defocus(sample.pixels, generator, radius=[1.5, 10], level=0.3)
        sample.present[DEFOCUS] = UNKNOWN
    return sample


def _motion(photographs: Photographs, generator: Generator) -> Sample:
    lot = uniform(generator, 0, 1)
    if lot < 0.28:
        return photographs.pair("GoPro" if lot < 0.16 else "REDS", MOTION, generator)
    sample = _subject(photographs, generator)
    if lot < 0.5:
        name = choice(generator, ("camera_shake_estimated", "photo_blur_estimated", "usrnet12"))
        if name == "usrnet12":  # half of them are Gaussians: neither motion nor a lens
            sample.present[DEFOCUS] = UNKNOWN
        kernels = photographs.root / "kernels" / f"{name}.npz"
        sample.spoil(MOTION, motion(sample.pixels, generator, kernels=kernels))
    else:
        length = [5.0, 14.0] if lot < 0.65 else [10.0, 60.0]
        sample.spoil(MOTION, motion(sample.pixels, generator, length=length))
    return sample


def _defocus(photographs: Photographs, generator: Generator) -> Sample:
    lot = uniform(generator, 0, 1)
    if lot < 0.12:
        return photographs.pair("MultiFocus", DEFOCUS, generator)
    if lot < 0.27:
        clean, depth = photographs.deep(generator)
        pictures = [defocus(clean, generator, depth=depth, radius=[2, 14]), clean]
        spoilt, clean = photographs.framed(pictures, generator)
        sample = Sample(clean)
    else:
        sample = Sample(photographs.large(generator, photographs.photographs))
        spoilt = defocus(sample.pixels, generator, radius=[1.5, 14], level=0.3)
    sample.spoil(DEFOCUS, spoilt)
    return sample


def _rain(photographs: Photographs, generator: Generator) -> Sample:
    lot = uniform(generator, 0, 1)
    if lot < 0.2:
        sample = photographs.pair("rain800", RAIN, generator)
        sample.present[BLOCKS] = UNKNOWN
        return sample
    sample = _seen(photographs, generator)
    folder = photographs.root / "train_pairs"
    if lot < 0.4:
        wet = rain(sample.pixels, generator, layers=str(folder / "rain_streaks_garg"), gain=[0.5, 1.4])
    elif lot < 0.48:
        wet = rain(sample.pixels, generator, layers=str(folder / "rain100h" / "layer"), gain=[0.6, 1.1])
    elif lot < 0.53:
        wet = rain(sample.pixels, generator, layers=str(folder / "rain_masks"), gain=[0.5, 1.2])
    else:
        wet = rain(sample.pixels, generator) if lot < 0.7 else _shower(sample.pixels, generator)
        sample.present[HAZE] = UNKNOWN  # of the mist in them
    sample.spoil(RAIN, wet)
    if chance(generator, 0.15):
        sample.present[HAZE] = 0.0
        sample.spoil(HAZE, haze(sample.pixels, generator, transmission=[0.4, 0.85]))
    return sample


def _shower(clean: Tensor, generator: Generator) -> Tensor:
    """Rain as photographs show it: out of focus, in gusts, seen before what is dark, with mist far away."""
    size = clean.shape[-2:]
    layer = streaks(*size, generator, heavy=chance(generator, 0.25)) * uniform(generator, 0.8, 2)
    if chance(generator, 0.6):
        layer = gaussian_blur(layer, uniform(generator, 0.3, 1))
    if chance(generator, 0.6):
        layer = layer * (1.4 * fractal(*size, generator, 2)).clamp(0.1, 1)
    if chance(generator, 0.4):
        far = 1 - uniform(generator, 0.05, 0.5) * made_depth(clean, generator)
        clean = clean * far + uniform(generator, 0.5, 0.95) * (1 - far)
    return round8(1 - (1 - clean) * (1 - layer.clamp(max=0.9)))


def _haze(photographs: Photographs, generator: Generator) -> Sample:
    lot = uniform(generator, 0, 1)
    name = choice(generator, ("OTS-small", "OTS-small", "OTS-small", "ITS", "O-HAZE", "NH-HAZE", "REVIDE"))
    if lot < 0.3 and photographs.pairs[name]:
        return photographs.pair(name, HAZE, generator, 0.35)
    tint = uniform(generator, 0, 0.2) if chance(generator, 0.4) else 0.0
    if lot < 0.55:
        clean, depth = photographs.deep(generator)
        pictures = [haze(clean, generator, depth=depth, tint=tint), clean]
        hazy, clean = photographs.framed(pictures, generator)
        sample = Sample(clean)
    elif lot < 0.7:
        sample = Sample(photographs.large(generator))
        hazy = haze(sample.pixels, generator, transmission=[0.2, 0.85], airlight=[0.55, 1.0], tint=tint)
    else:
        sample = Sample(photographs.large(generator, photographs.open_air))
        hazy = _distance(sample.pixels, generator)
    sample.spoil(HAZE, hazy, least=8)
    return sample


def _distance(clean: Tensor, generator: Generator) -> Tensor:
    """Haze of a landscape: what is near stays clear, what is far takes the colour of the sky."""
    depth = torch.maximum(made_depth(clean, generator) ** uniform(generator, 0.6, 2), sky(clean))
    through = uniform(generator, 0.05, 0.55) ** depth
    return round8(scatter(clean, through, skylight(clean, generator)))


def _snow(photographs: Photographs, generator: Generator) -> Sample:
    lot = uniform(generator, 0, 1)
    sample = _seen(photographs, generator)
    if lot < 0.35:
        snowy = snow(sample.pixels, generator)
    elif lot < 0.5:
        snowy = snow(sample.pixels, generator, layers=str(photographs.root / "train_pairs" / "snow_masks"))
    else:
        snowy = _flurry(sample.pixels, generator)
    sample.present[HAZE] = UNKNOWN  # the veil
    sample.spoil(SNOW, snowy, least=3)
    return sample


def _flurry(clean: Tensor, generator: Generator) -> Tensor:
    """Snow as photographs show it: few soft flakes, half of which the background shines through, or thick fall."""
    density = 0.1 * 20 ** uniform(generator, 0, 1)
    mask = flakes(*clean.shape[-2:], generator, density=density) * uniform(generator, 0.45, 1)
    if chance(generator, 0.6):
        mask = gaussian_blur(mask, uniform(generator, 0.3, 1.5))
    if chance(generator, 0.3):
        far = 1 - uniform(generator, 0.05, 0.4) * made_depth(clean, generator)
        clean = clean * far + uniform(generator, 0.6, 0.95) * (1 - far)
    return round8(clean * (1 - mask) + uniform(generator, 0.75, 1) * mask)


MAKERS: dict[int, Callable[[Photographs, Generator], Sample]] = {
    NOTHING: _fine,
    NOISE: _seen,
    BLOCKS: _seen,
    MOTION: _motion,
    DEFOCUS: _defocus,
    RAIN: _rain,
    HAZE: _haze,
    SNOW: _snow,
}
