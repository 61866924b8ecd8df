"""Drawings for the classifier of `auto`: what is no photograph and lacks all that photographs have, and is fine.

Patterns, scenes of flat shapes, soft gradients, pages of text and windows of a screen, in any colours.
"""

from __future__ import annotations

import math

import torch
from auto_edits import WORDS, tensor_of
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Generator, Tensor

from undegrade.degradations._draw import chance, choice, integer, round8, uniform

__all__ = ["drawing"]

Colour = tuple[int, int, int]


def drawing(generator: Generator) -> Tensor:
    """(3, H, W) in 0..1, of 200 to 560 pixels a side; never of one colour."""
    while float((pixels := _drawn(generator)).std()) < 0.01:
        pass
    return pixels


def _drawn(generator: Generator) -> Tensor:
    width, height = integer(generator, 200, 560), integer(generator, 200, 560)
    fine = choice(generator, (1, 2, 3))  # drawn larger and shrunk, which smooths the edges; or as it is
    palette = _palette(generator)
    kind = choice(generator, (_shapes, _shapes, _pattern, _page, _windows, _veils))
    sheet = kind(generator, (width * fine, height * fine), palette)
    if fine > 1:
        sheet = sheet.resize((width, height), Image.Resampling.LANCZOS)
    pixels = tensor_of(sheet)
    if chance(generator, 0.2):  # printed paper has a grain, and so have gradients that are to show no bands
        pixels = pixels + uniform(generator, 0.2, 1.5) / 255 * torch.randn(pixels.shape, generator=generator)
    return round8(pixels.clamp(0, 1))


def _palette(generator: Generator) -> list[Colour]:
    """Two to six colours, of which all may be close to each other."""
    middle = [uniform(generator, 0, 255) for _ in range(3)]
    apart = uniform(generator, 15, 200)

    def near(value: float) -> int:
        return round(min(max(value + uniform(generator, -apart, apart), 0), 255))

    return [(near(middle[0]), near(middle[1]), near(middle[2])) for _ in range(integer(generator, 2, 6))]


def _ground(generator: Generator, size: tuple[int, int], palette: list[Colour]) -> Image.Image:
    """One colour, or a gradient between two of them, straight or round."""
    first, second = choice(generator, palette), choice(generator, palette)
    if chance(generator, 0.4):
        return Image.new("RGB", size, first)
    across, down = torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1])[:, None]
    if chance(generator, 0.3):
        share = ((across - uniform(generator, -1, 1)) ** 2 + (down - uniform(generator, -1, 1)) ** 2).sqrt() / 2
    else:
        angle = uniform(generator, 0, 2 * math.pi)
        share = 0.5 + (across * math.cos(angle) + down * math.sin(angle)) / 2
    mask = Image.fromarray((share.clamp(0, 1) * 255).byte().numpy())
    return Image.composite(Image.new("RGB", size, first), Image.new("RGB", size, second), mask)


def _shapes(generator: Generator, size: tuple[int, int], palette: list[Colour]) -> Image.Image:
    """Flat or half transparent shapes over each other, some with a shadow."""
    sheet = _ground(generator, size, palette)
    for _ in range(integer(generator, 2, 40)):
        layer = Image.new("L", size, 0)
        reach = uniform(generator, 0.03, 0.7) * max(size)
        x, y = uniform(generator, -0.1, 1) * size[0], uniform(generator, -0.1, 1) * size[1]
        pen, opacity = ImageDraw.Draw(layer), choice(generator, (255, 255, integer(generator, 30, 200)))
        corners = [(x + uniform(generator, 0, reach), y + uniform(generator, 0, reach)) for _ in range(5)]
        kind = integer(generator, 0, 3)
        if kind == 0:
            pen.ellipse((x, y, x + reach, y + uniform(generator, 0.3, 1) * reach), fill=opacity)
        elif kind == 1:
            pen.polygon(corners[: integer(generator, 3, 5)], fill=opacity)
        elif kind == 2:
            pen.line(corners, opacity, max(1, round(uniform(generator, 0.002, 0.05) * max(size))))
        else:
            pen.rectangle((x, y, x + reach, y + uniform(generator, 0.1, 1) * reach), fill=opacity)
        if chance(generator, 0.15):
            shadow = layer.filter(ImageFilter.GaussianBlur(uniform(generator, 0.005, 0.05) * max(size)))
            sheet.paste((0, 0, 0), (0, 0), shadow.point(lambda level: level // 2))
        sheet.paste(choice(generator, palette), (0, 0), layer)
    return sheet


def _pattern(generator: Generator, size: tuple[int, int], palette: list[Colour]) -> Image.Image:
    """One thing again and again: stripes, a grid, dots, tiles."""
    sheet = _ground(generator, size, palette)
    pen, step = ImageDraw.Draw(sheet), max(4, round(uniform(generator, 0.015, 0.15) * max(size)))
    thick = max(1, round(uniform(generator, 0.05, 0.6) * step))
    lean = round(uniform(generator, -1, 1) * size[1]) if chance(generator, 0.5) else 0
    dots, grid = chance(generator, 0.4), chance(generator, 0.4)
    colour = choice(generator, palette)
    for x in range(-size[1], size[0] + size[1], step):
        if chance(generator, 0.2):
            colour = choice(generator, palette)
        if not dots:
            pen.line((x, 0, x + lean, size[1]), colour, thick)
        for y in range(0, size[1], step) if dots or grid else ():
            if dots:
                pen.ellipse((x, y, x + thick, y + thick), fill=colour)
            elif x < 0:
                pen.line((0, y, size[0], y + lean // 4), colour, thick)
    return sheet


def _page(generator: Generator, size: tuple[int, int], palette: list[Colour]) -> Image.Image:
    """Text on paper, or on a dark ground."""
    paper, ink = ((255, 255, 255), (0, 0, 0)) if chance(generator, 0.5) else (palette[0], palette[1])
    sheet = Image.new("RGB", size, paper)
    _write(generator, sheet, (0, 0, *size), ink)
    return sheet


def _windows(generator: Generator, size: tuple[int, int], palette: list[Colour]) -> Image.Image:
    """Boxes with a head, a frame and words, as on a screen."""
    sheet = _ground(generator, size, palette)
    pen = ImageDraw.Draw(sheet)
    for _ in range(integer(generator, 1, 5)):
        x, y = round(uniform(generator, 0, 0.7) * size[0]), round(uniform(generator, 0, 0.7) * size[1])
        reach = [round(uniform(generator, 0.2, 0.6) * side) for side in size]
        box = (x, y, x + reach[0], y + reach[1])
        body = choice(generator, [(255, 255, 255), (30, 30, 30), choice(generator, palette)])
        pen.rectangle(box, fill=body, outline=choice(generator, palette))
        pen.rectangle((*box[:2], box[2], y + size[1] // 20), fill=choice(generator, palette))
        _write(generator, sheet, (x, y + size[1] // 20, *box[2:]), (0, 0, 0) if sum(body) > 380 else (240, 240, 240))
    return sheet


def _veils(generator: Generator, size: tuple[int, int], palette: list[Colour]) -> Image.Image:
    """Soft light shapes without any edge, as behind windows and icons."""
    sheet = _ground(generator, size, palette)
    for _ in range(integer(generator, 1, 6)):
        layer = Image.new("L", size, 0)
        x, y = uniform(generator, -0.3, 1) * size[0], uniform(generator, -0.3, 1) * size[1]
        reach = uniform(generator, 0.2, 1) * max(size)
        ImageDraw.Draw(layer).ellipse((x, y, x + reach, y + reach), fill=integer(generator, 60, 255))
        layer = layer.filter(ImageFilter.GaussianBlur(uniform(generator, 0, 0.1) * max(size)))
        sheet.paste(choice(generator, palette), (0, 0), layer)
    return sheet


def _write(generator: Generator, sheet: Image.Image, box: tuple[int, int, int, int], ink: Colour) -> None:
    """Lines of words from the top of a box to its end."""
    pen, size = ImageDraw.Draw(sheet), max(9, round(uniform(generator, 0.015, 0.06) * max(sheet.size)))
    font = ImageFont.load_default(size)
    left, top, right, bottom = box
    for y in range(top + size // 2, bottom - size, round(uniform(generator, 1.2, 1.8) * size)):
        words = ""
        while (longer := f"{words} {choice(generator, WORDS)}") and left + pen.textlength(longer, font) < right:
            words = longer
        pen.text((left, y), words, ink, font)
