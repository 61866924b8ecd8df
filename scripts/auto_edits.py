"""What befalls a photograph between the camera and who asks `auto`: retouched, enlarged, inscribed, saved anew."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from auto_samples import LARGEST, few_colours, resized
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor

from undegrade.degradations._draw import chance, choice, integer, round8, uniform
from undegrade.ops.colour import rgb_to_ycbcr
from undegrade.ops.filters import gaussian_blur

__all__ = ["Edit", "edit", "in_few_colours", "pillow_of", "saturated", "tensor_of", "webp"]

Edit = Callable[[Tensor], Tensor]
"""Takes and gives (3, H, W) in 0..1, of 8 bits; does the same to every picture of one size."""
WORDS = ("Photo by", "www.", "Copyright", "2019-07-14", "18:42", "Sample", "No. 7", "weather", "NEWS", "holiday", "(c)")
"""What is written on pictures."""


def edit(generator: Generator) -> Edit:
    """One or two changes of those that people make, with all their numbers drawn."""
    kinds = (_toned, _toned, _greyed, _coloured, _enlarged, _enlarged, _sharpened, _inscribed, _inscribed)
    steps = [choice(generator, kinds)(generator) for _ in range(1 + chance(generator, 0.3))]

    def edited(pixels: Tensor) -> Tensor:
        for step in steps:
            pixels = round8(step(pixels))
        return pixels

    return edited


def _toned(generator: Generator) -> Edit:
    exponent, slope = 2 ** uniform(generator, -0.5, 0.5), uniform(generator, 0.8, 1.35)
    return lambda pixels: (0.5 + slope * (pixels**exponent - 0.5)).clamp(0, 1)


def _greyed(generator: Generator) -> Edit:
    return partial(saturated, factor=0.0)


def _coloured(generator: Generator) -> Edit:
    return partial(saturated, factor=uniform(generator, 0.4, 1.7))


def saturated(pixels: Tensor, factor: float) -> Tensor:
    """Colours ``factor`` times as far from grey."""
    return torch.lerp(rgb_to_ycbcr(pixels)[:1].expand_as(pixels), pixels, factor).clamp(0, 1)


def _enlarged(generator: Generator) -> Edit:
    factor = uniform(generator, 1.1, 2.2)
    return lambda pixels: resized(pixels, factor)[:, :LARGEST, :LARGEST].clamp(0, 1)


def _sharpened(generator: Generator) -> Edit:
    amount, radius = uniform(generator, 0.3, 1.2), uniform(generator, 0.7, 2.5)
    return lambda pixels: (pixels + amount * (pixels - gaussian_blur(pixels, radius))).clamp(0, 1)


def _inscribed(generator: Generator) -> Edit:
    """One to three lines of words, solid or half transparent, in white, black or any colour."""
    lines = []
    for _ in range(integer(generator, 1, 3)):
        words = " ".join(choice(generator, WORDS) for _ in range(integer(generator, 1, 3)))
        colour = choice(generator, [(255, 255, 255), (0, 0, 0), tuple(integer(generator, 0, 255) for _ in range(3))])
        x, y, size = uniform(generator, 0, 0.8), uniform(generator, 0, 0.95), uniform(generator, 0.02, 0.1)
        opacity = choice(generator, (255, 255, integer(generator, 60, 200)))
        lines.append((words, x, y, size, (*colour, opacity)))

    def inscribed(pixels: Tensor) -> Tensor:
        picture = pillow_of(pixels).convert("RGBA")
        layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
        pen = ImageDraw.Draw(layer)
        for words, x, y, size, fill in lines:
            font = ImageFont.load_default(max(9, round(size * max(picture.size))))
            pen.text((x * picture.width, y * picture.height), words, fill, font)
        return tensor_of(Image.alpha_composite(picture, layer))

    return inscribed


def in_few_colours(pixels: Tensor, generator: Generator) -> Tensor:
    """As GIF or PNG of 256 colours. The dots between them look like the sharpness that a blurred picture lacks."""
    method = Image.Quantize.MEDIANCUT if chance(generator, 0.5) else Image.Quantize.FASTOCTREE
    dither = Image.Dither.FLOYDSTEINBERG if chance(generator, 0.7) else Image.Dither.NONE
    return few_colours(pixels, method, dither)


def webp(pixels: Tensor, quality: int) -> Tensor:
    """As a lossy WebP file, which smooths more than JPEG."""
    file = io.BytesIO()
    pillow_of(pixels).save(file, "WEBP", quality=quality)
    return tensor_of(Image.open(file))


def pillow_of(pixels: Tensor) -> Image.Image:
    """In 8 bits, of (3, H, W) in 0..1."""
    return Image.fromarray((pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


def tensor_of(picture: Image.Image) -> Tensor:
    """(3, H, W) in 0..1."""
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1) / 255
