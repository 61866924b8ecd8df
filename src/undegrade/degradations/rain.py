"""Rain: streaks added to the picture, made here or drawn from a folder of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from undegrade.core.errors import UnknownNameError
from undegrade.degradations._draw import Strength, chance, integer, round8, strength, uniform
from undegrade.degradations._layers import Layers, open_layers
from undegrade.degradations._splat import Scatter, strew

__all__ = ["MODELS", "rain", "streaks"]

MODELS = ("additive", "screen", "mist")


def rain(
    clean: Tensor,
    generator: torch.Generator,
    *,
    layers: str | Path | Tensor | Sequence[Tensor] | Layers | None = None,
    gain: Strength = None,
    count: Strength = None,
    heavy: float | None = None,
    model: str | None = None,
) -> Tensor:
    """Rain over ``clean``, rounded to 8 bit.

    Args:
        clean: (C, H, W) in 0..1.
        generator: source of all randomness.
        layers: streak layers to draw from (a folder, tensors, or ``Layers``); None makes streaks.
        gain: factor on the layer; None: U(0.4, 1.5) for drawn layers, 1 for made ones.
        count: how many drawn layers are overlaid; a number, a pair, or None for one.
        heavy: probability of heavy instead of light made streaks; None: 0.5.
        model: ``"additive"`` (J + S, what the benchmarks are), ``"screen"`` (1 - (1-J)(1-S)) or ``"mist"``
            (a (J + S) + (1-a) A); None: in 70, 15 and 15 % of the cases, always additive with drawn layers.

    Raises:
        UnknownNameError: another model.
    """
    height, width = clean.shape[-2:]
    if layers is None:
        layer = streaks(height, width, generator, heavy=chance(generator, 0.5 if heavy is None else heavy))
        layer = layer * strength(generator, gain, 1.0, 1.0, "gain")
    else:
        source = open_layers(layers)
        overlaid = round(strength(generator, count, 1, 1, "count"))
        layer = torch.stack([source.draw(generator, height, width) for _ in range(max(1, overlaid))]).sum(dim=0)
        layer = layer * strength(generator, gain, 0.4, 1.5, "gain")
    lot = uniform(generator, 0, 1)
    if model is None:
        model = "additive" if layers is not None or lot < 0.7 else "screen" if lot < 0.85 else "mist"
    tint = 1 - 0.03 * torch.rand(clean.shape[0], 1, 1, generator=generator, device=generator.device)
    if clean.shape[0] == 1 or chance(generator, 0.8):
        tint = torch.ones_like(tint)
    return round8(_blend(clean, (layer * tint).to(clean.device), model, generator))


def _blend(clean: Tensor, layer: Tensor, model: str, generator: torch.Generator) -> Tensor:
    if model == "additive":
        return clean + layer
    if model == "screen":
        return 1 - (1 - clean) * (1 - layer.clamp(max=1))
    if model == "mist":
        share, airlight = uniform(generator, 0.75, 1), uniform(generator, 0.6, 0.95)
        return share * (clean + layer) + (1 - share) * airlight
    raise UnknownNameError("rain model", model, MODELS)


def streaks(height: int, width: int, generator: torch.Generator, *, heavy: bool) -> Tensor:
    """(1, height, width) of made streaks, 0 where there is none.

    Light rain is one direction of short faint streaks with soft sides, as in Rain100L and the Garg-Nayar database;
    heavy rain two to five directions of long flat bars with hard sides, as in Rain100H. Sizes are those of 480 x 320
    pictures and grow with larger ones. Coverage times brightness is the mean of the layer, which is drawn first.
    """
    zoom = max(1.0, min(height, width) / 480)
    slant = uniform(generator, -30, 30) * (uniform(generator, 0.2, 1) if heavy else 1)
    directions = integer(generator, 2, 5) if heavy else 1
    mean = uniform(generator, 0.06, 0.36) if heavy else math.exp(uniform(generator, math.log(0.008), math.log(0.06)))
    layer = torch.zeros(1, height, width)
    for _ in range(directions):
        if heavy:
            spread = uniform(generator, 2, 20)
            length, thick = uniform(generator, 16, 80), uniform(generator, 1.2, 3.2)
            bright, soft = uniform(generator, 0.08, 0.3), chance(generator, 0.25)
        else:
            spread = 0.0
            length, thick = uniform(generator, 9, 32), uniform(generator, 0.9, 2.2)
            bright, soft = uniform(generator, 0.08, 0.35), chance(generator, 0.8)
        angle = slant + spread * (1 if chance(generator, 0.5) else -1)
        vary = uniform(generator, 0, 0.7)
        scatters: list[Scatter] = []
        # Three kinds of streaks for each direction, a little different in length and angle, so that no comb appears.
        for _ in range(3):
            shape = _streak(
                zoom * length * uniform(generator, 0.8, 1.2),
                zoom * thick,
                math.radians(angle + uniform(generator, -3, 3)),
                soft=soft,
            )
            copies = mean / (3 * directions) / bright * height * width / float(shape.sum())
            scatters.append((shape, max(1, round(copies)), (1 - vary) * bright, (1 + vary) * bright))
        # Streaks of one direction hide each other more than they add up; those of different directions add.
        layer += strew(scatters, height, width, generator).clamp(max=1.7 * bright)
    return layer


def _streak(length: float, thick: float, angle: float, *, soft: bool) -> Tensor:
    """An antialiased line of peak 1: a bar with hard sides, or ``soft``: Gaussian across and fading to its ends."""
    reach = math.ceil(length / 2 + thick) + 1
    axis = torch.arange(-reach, reach + 1, dtype=torch.float32)
    y, x = axis[:, None], axis[None, :]
    along = (y * math.cos(angle) + x * math.sin(angle)).abs()
    across = (x * math.cos(angle) - y * math.sin(angle)).abs()
    if soft:
        fade = (1 - (along / (length / 2)).clamp(max=1) ** 2).sqrt()
        return torch.exp(-0.5 * (across / (thick / 2.355)) ** 2) * fade
    return (thick / 2 + 0.5 - across).clamp(0, 1) * (length / 2 + 0.5 - along).clamp(0, 1)
