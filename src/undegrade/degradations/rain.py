"""Rain: streaks added to the picture, made here or drawn from a folder of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from undegrade.core.errors import UnknownNameError, UsageError
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
        UsageError: a strength of another kind, or outside its range; ``count`` without ``layers``, or ``heavy`` with
            them.
        InputError: as ``open_layers``.
    """
    height, width = clean.shape[-2:]
    if layers is None:
        if count is not None:
            raise UsageError(f"count={count!r}: says how many drawn layers are overlaid: give 'layers' too")
        layer = streaks(height, width, generator, heavy=chance(generator, 0.5 if heavy is None else heavy, "heavy"))
        layer = layer * strength(generator, gain, 1.0, 1.0, "gain")
    else:
        if heavy is not None:
            raise UsageError(f"heavy={heavy!r}: says how often made streaks are heavy: leave out 'layers'")
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

    Light rain is one direction of short faint streaks with soft sides, as in Rain100L and the Garg-Nayar database, or
    in a third of the cases the fine dense drizzle of real photographs; heavy rain two to five directions of long flat
    bars with hard sides, as in Rain100H. Sizes are those of 480 x 320 pictures and grow with larger ones.
    """
    zoom = max(1.0, min(height, width) / 480)
    slant = uniform(generator, -30, 30) * (uniform(generator, 0.2, 1) if heavy else 1)
    directions = integer(generator, 2, 5) if heavy else 1
    kind = _HEAVY if heavy else _DRIZZLE if chance(generator, 1 / 3) else _LIGHT
    lot = uniform(generator, 0, 1)
    mean = kind.mean[0] + (kind.mean[1] - kind.mean[0]) * (lot if heavy else lot**2)
    layer = torch.zeros(1, height, width)
    for _ in range(directions):
        spread = uniform(generator, 2, 20) * (1 if chance(generator, 0.5) else -1) if heavy else 0.0
        length, thick = uniform(generator, *kind.length), uniform(generator, *kind.thick)
        bright, vary = uniform(generator, *kind.bright), uniform(generator, 0, 0.7)
        soft = chance(generator, kind.soft)
        scatters: list[Scatter] = []
        # Three kinds of streaks for each direction, a little different in length and angle, so that no comb appears.
        for _ in range(3):
            shape = _streak(
                zoom * length * uniform(generator, 0.8, 1.2),
                zoom * thick,
                math.radians(slant + spread + uniform(generator, -3, 3)),
                soft=soft,
            )
            # Coverage times brightness is the mean.
            copies = mean / (3 * directions) / bright * height * width / float(shape.sum())
            scatters.append((shape, max(1, round(copies)), (1 - vary) * bright, (1 + vary) * bright))
        # Streaks of one direction hide each other more than they add up; those of different directions add.
        layer += strew(scatters, height, width, generator).clamp(max=1.7 * bright)
    return layer


@dataclass(frozen=True)
class _Kind:
    """Ranges of a kind of rain: mean of the layer, pixels of length and thickness, peak; how often sides are soft."""

    mean: tuple[float, float]
    length: tuple[float, float]
    thick: tuple[float, float]
    bright: tuple[float, float]
    soft: float


_LIGHT = _Kind((0.008, 0.06), (9, 32), (0.9, 2.2), (0.08, 0.35), 0.8)
_DRIZZLE = _Kind((0.02, 0.1), (7, 28), (0.6, 1.2), (0.04, 0.14), 1.0)
_HEAVY = _Kind((0.1, 0.44), (16, 80), (1.2, 3.2), (0.08, 0.3), 0.25)


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
