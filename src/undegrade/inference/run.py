"""One picture through a backend: padded, cut to fit into memory, and cut smaller when it did not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from undegrade.core.device import free_memory
from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.core.heap import kept
from undegrade.inference import tiling
from undegrade.inference.backend import Backend, TorchBackend
from undegrade.inference.chop import chop
from undegrade.inference.ensemble import ensemble8
from undegrade.inference.sample import SIDE, whole_picture_means
from undegrade.networks._spec import NetworkSpec
from undegrade.networks.layers.whole import Passes, using
from undegrade.weights.card import WeightsCard

__all__ = ["Options", "Progress", "Tile", "check_tile", "run"]

Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""

Tile = int | Literal["auto", "official"] | None

HOST_BUDGET = 2 << 30
"""For one tile on the CPU: larger ones are no faster, and a 64-megapixel picture stays below 4 GB in all."""

SMALL = 256 * 256
"""Pixels up to which nobody asks about memory: no network needs more than a few hundred MB for them."""

QUADRATIC_TILE = 128
"""Core side for networks with attention over all pixels; beyond it attention costs more than all convolutions."""

LEAST_TILE = 64

MOST_TOGETHER = 16
"""Tiles that run as a batch on a GPU, which small ones (of networks with attention over all pixels) do not fill."""


@dataclass(frozen=True)
class Options:
    """How a Restorer goes about a picture.

    Attributes:
        tile: ``"auto"`` cuts when memory asks for it, a number is the tile's side without its context, ``"official"``
            is the tiled forward of the pyramid-attention scripts, None never cuts.
        strength: 0 gives the input back (enlarged bicubically for super-resolution), 1 the full result.
        ensemble: 8 averages over the mirrored and transposed forms of the picture (about eight times the time).
        max_memory: bytes that one tile may take; None decides from what is free.
    """

    tile: Tile = "auto"
    strength: float = 1.0
    ensemble: int = 1
    max_memory: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, np.generic):  # numpy's numbers are as good as any
                object.__setattr__(self, name, value.item())
        if not (self.tile in ("auto", "official", None) or (isinstance(self.tile, int) and self.tile >= tiling.FADE)):
            raise UsageError(
                f"tile={self.tile!r}: choose auto, official, None (--tile none), or a side of at least {tiling.FADE} "
                "pixels"
            )
        for name in ("strength", "ensemble", "max_memory"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) and not (name == "max_memory" and value is None):
                unit = " of bytes, for example 2 << 30" if name == "max_memory" else ""
                raise UsageError(f"{name}={value!r}: must be a number{unit}")
        if not 0 <= self.strength <= 1:
            raise UsageError(f"strength={self.strength}: must lie in 0-1")
        if self.ensemble not in (1, 8):
            raise UsageError(f"ensemble={self.ensemble}: choose 1 or 8")
        if self.max_memory is not None and not 0 < self.max_memory < inf:
            raise UsageError(f"max_memory={self.max_memory}: give a positive number of bytes")

    def changed_by(self, given: Mapping[str, Any]) -> Options:
        """These options, but for what is given.

        Raises:
            UsageError: a wrong value; UnknownNameError: there is no such option.
        """
        for name in given:
            if name not in Options.__dataclass_fields__:
                raise UnknownNameError("option", name, Options.__dataclass_fields__)
        return replace(self, **given)


def run(
    backend: Backend,
    spec: NetworkSpec[Any],
    config: Any,
    x: Tensor,
    options: Options = Options(),
    *,
    card: WeightsCard | None = None,
    official_size: int = 6400,
    progress: Progress | None = None,
) -> Tensor:
    """The network's result for a picture of any size.

    Args:
        backend: runs the network.
        spec, config: the network.
        x: (1, C, H, W) float32, channels as the network takes them.
        options: tile, ensemble and max_memory count here.
        card: its padding, context and tile go before the network's own.
        official_size: pixels below which the official tiled forward runs a tile.
        progress: called with (done, of how many) after each tile, of one tile after each form of an ensemble.

    Returns:
        (1, C', sH, sW), not clamped, in memory of its own, where ``x`` is.

    Raises:
        InputError: no memory for even a small tile.
        UsageError: official tiles asked of a network that has none.
    """
    scale = spec.scale(config)

    def once(part: Tensor) -> Tensor:
        return backend.run(part).to(x.device)

    check_tile(options, spec)
    if options.tile == "official":

        def chopped(part: Tensor) -> Tensor:
            return chop(once, part, scale=scale, min_size=official_size)

        return (ensemble8(chopped, x) if options.ensemble == 8 else chopped(x)).clone()

    def network(part: Tensor) -> Tensor:
        if options.ensemble == 8:
            # A tile that is the whole picture would say nothing until all is done; its eight forms do.
            return ensemble8(once, part, progress if cut is not None and cut.tile == padded else None)
        return once(part)

    padded = _padded_size(spec, x)
    mode = card.padding if card and card.padding else spec.padding
    cut: tiling.Plan | None = _plan(backend, spec, card, padded, options)

    def tiled(cut: tiling.Plan) -> Tensor:
        means = Passes([])
        if cut.tile != padded and spec.tiling == "discouraged":
            room = _budget(backend, options) // max(1, _needed(backend, card)(SIDE, SIDE) or 1) * SIDE * SIDE
            means = whole_picture_means(network, x, cut, spec.min_size, room, scale)
        together = _together(backend, card, cut, options)
        with using(means):
            return tiling.join(
                network, x, cut, padded=padded, mode=mode, scale=scale, progress=progress, together=together
            )

    while cut is not None:
        try:
            # Other runtimes take their memory as one block, which finds no place among what torch has left.
            with kept() if isinstance(backend, TorchBackend) else nullcontext():
                return tiled(cut)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
        # Outside of the handler the failed attempt's tensors are gone.
        if backend.device.type == "cuda":
            torch.cuda.empty_cache()
        cut = None if options.tile is None else tiling.halved(cut, max(LEAST_TILE, spec.min_size))
    height, width = x.shape[-2:]
    hint = "; let it be cut: tile='auto'" if options.tile is None else ""
    raise InputError(f"not enough memory on {backend.device} for a picture of {width} x {height} pixels{hint}")


def check_tile(options: Options, spec: NetworkSpec[Any]) -> None:
    """Raises a UsageError for official tiles of a network that has none."""
    if options.tile == "official" and spec.tiling != "required":
        raise UsageError(f"tile=official: the tiles of the pyramid-attention scripts; {spec.name} has none")


def _padded_size(spec: NetworkSpec[Any], x: Tensor) -> tuple[int, int]:
    step = spec.multiple_of
    height, width = (-(-max(side, spec.min_size) // step) * step for side in x.shape[-2:])
    return height, width


def _plan(
    backend: Backend, spec: NetworkSpec[Any], card: WeightsCard | None, padded: tuple[int, int], options: Options
) -> tiling.Plan:
    context = spec.context if card is None or card.context is None else card.context
    whole = tiling.Plan(padded, context, spec.multiple_of)
    if options.tile is None:
        return whole
    if isinstance(options.tile, int):
        return _fixed(max(options.tile, spec.min_size), whole)
    if card is not None and card.tile is not None:
        whole = _fixed(card.tile, whole)
    elif spec.tiling == "required":
        whole = _fixed(max(QUADRATIC_TILE, spec.min_size), whole)
    if padded[0] * padded[1] <= SMALL or whole.tile != padded:
        return whole
    least = max(LEAST_TILE, spec.min_size)
    return tiling.plan(whole, _needed(backend, card), _budget(backend, options), least=least)


def _budget(backend: Backend, options: Options) -> int:
    """Bytes that one run of the network may take."""
    if options.max_memory is not None:
        return options.max_memory
    free = free_memory(backend.device)
    return min(free // 2, HOST_BUDGET) if backend.device.type == "cpu" else int(0.7 * free)


def _together(backend: Backend, card: WeightsCard | None, cut: tiling.Plan, options: Options) -> int:
    """How many tiles run as a batch: one on the CPU, whose cores a tile keeps busy, on others what memory holds."""
    if backend.device.type == "cpu":
        return 1
    band = 2 * (cut.context + tiling.FADE)
    needed = _needed(backend, card)(cut.tile[0] + band, cut.tile[1] + band)
    return 1 if needed is None else max(1, min(MOST_TOGETHER, _budget(backend, options) // max(1, needed)))


def _needed(backend: Backend, card: WeightsCard | None) -> Callable[[int, int], int | None]:
    """Bytes that the network takes for a height and width: as counted here, else as its card says."""
    per_pixel = card.bytes_per_pixel if card else None

    def needed(height: int, width: int) -> int | None:
        counted = backend.bytes_needed(height, width)
        return height * width * per_pixel if counted is None and per_pixel is not None else counted

    return needed


def _fixed(side: int, whole: tiling.Plan) -> tiling.Plan:
    """Tiles of one side; in pictures hardly larger than a tile there is nothing to cut."""
    side = -(-side // whole.multiple) * whole.multiple
    height, width = (length if length <= side + 2 * whole.context else side for length in whole.tile)
    return tiling.Plan((height, width), whole.context, whole.multiple)


def _out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether torch, on whatever device, says in its many ways that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return any(sign in words for sign in ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc"))
