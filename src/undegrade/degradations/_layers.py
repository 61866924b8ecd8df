"""Rain and snow layers drawn from files: grey pictures that are added to or blended over a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from undegrade.core.errors import InputError
from undegrade.core.formats import SUFFIXES
from undegrade.core.image import load_rgb
from undegrade.core.names import below
from undegrade.degradations._draw import chance, choice, integer, tensors
from undegrade.ops.pad import pad

__all__ = ["Layers", "open_layers"]


class Layers:
    """Grey layers held in memory as bytes; each ``draw`` cuts a random window out of a random one.

    Args:
        layers: (h, w) tensors of uint8, or of floats in 0..1.

    Raises:
        InputError: there is none.
    """

    def __init__(self, layers: Sequence[Tensor]) -> None:
        if not layers:
            raise InputError("no layer given")
        self.layers = [
            layer if layer.dtype == torch.uint8 else (layer.clamp(0, 1) * 255).round().byte() for layer in layers
        ]

    @classmethod
    def from_folder(cls, folder: str | Path) -> Layers:
        """Every picture below ``folder`` (or the one file), its first channel.

        Raises:
            InputError: no picture there.
        """
        root = Path(folder)
        files = [root] if root.is_file() else list(filter(_is_picture, below(root)))
        if not files:
            raise InputError(f"{folder}: no layer pictures there")
        # Paths themselves sort without case on Windows, and a seed would draw other layers there.
        return cls([_grey(file) for file in sorted(files, key=lambda file: file.parts)])

    def draw(self, generator: torch.Generator, height: int, width: int) -> Tensor:
        """(1, height, width) in 0..1: a random window, mirrored left to right by a coin.

        Never upside down: streaks and flakes fall. Layers that are too small are continued by mirroring.
        """
        layer = choice(generator, self.layers)
        rows, columns = layer.shape[-2:]
        layer = pad(layer, (0, max(0, width - columns), 0, max(0, height - rows)), "symmetric")
        top = integer(generator, 0, layer.shape[0] - height)
        left = integer(generator, 0, layer.shape[1] - width)
        window = layer[None, top : top + height, left : left + width].float() / 255
        return window.flip(-1) if chance(generator, 0.5) else window


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _grey(file: Path) -> Tensor:
    """The first channel: bytes, or floats in 0..1 of a file of 16 bits."""
    pixels = load_rgb(file)[..., 0]
    return torch.from_numpy(pixels.copy() if pixels.dtype == np.uint8 else pixels / np.float32(65535))


_from_folder = lru_cache(maxsize=8)(Layers.from_folder)


def open_layers(layers: str | Path | Tensor | Sequence[Tensor] | Layers) -> Layers:
    """``Layers`` of whatever a recipe or a caller gives; a folder is read once per process.

    Args:
        layers: a folder or file, an (h, w), (1, h, w) or (n, h, w) tensor, a list of (h, w) tensors, or ``Layers``.

    Raises:
        InputError: no layer there.
        UsageError: none of these.
    """
    if isinstance(layers, Layers):
        return layers
    if isinstance(layers, (str, Path)):
        return _from_folder(str(layers))
    return Layers(
        tensors([*layers.reshape(-1, *layers.shape[-2:])] if isinstance(layers, Tensor) else layers, "layers")
    )
