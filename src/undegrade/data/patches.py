"""Training patches: from folders of pictures to (input, target) pairs, the same for a seed whatever reads them.

A sample is named by (seed, step, place in the batch). Its own generator is seeded by these three numbers, so the number
of workers, the number of processes and a restart in the middle change nothing.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from undegrade.core.errors import InputError, UsageError
from undegrade.core.image import load_rgb
from undegrade.data.augment import Augmentation, augment, collage, recolour, resave
from undegrade.data.sources import Source, SourcePicture, open_source
from undegrade.ops.colour import rgb_to_ycbcr
from undegrade.ops.pad import pad

__all__ = ["Degrade", "Patches", "sample_generator"]

Degrade = Callable[..., Tensor]
"""``degrade(clean, generator, **strength) -> degraded``, both (C, H, W) in 0..1; see ``undegrade.tasks.Task``."""


MULTIPLE = 12
"""Pixels: sides of validation pictures are multiples of it, for every scale and mosaic."""


def sample_generator(*numbers: int) -> Generator:
    """A generator that depends on all of ``numbers`` and on nothing else."""
    state = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    return Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


class Patches:
    """Draws training patches from several sources, and holds some pictures back for validation.

    Args:
        sources: the ingredients.
        degrade: the task's degradation, needed by ``clean`` sources.
        margin: pixels around a patch that the degradation reaches; cut larger, degraded, trimmed.
        augmentation: see ``undegrade.data.augment``.
        held_back: how many pictures are kept for validation; picked by a hash of their names, from each source in
            proportion to its weight, so that they stay the same when pictures are added; at least one, of the source
            that weighs most, and none that is too small to be scored.
        scale: how many times larger targets are than inputs of finished pairs.
        least: pixels of the shortest side that can be scored.
        cache_mb: decoded pictures kept in memory, in MiB.
        seed: of the whole stream.

    Raises:
        InputError: a folder is missing or empty, a picture cannot be read, or a source has none left to train on.
        UsageError: clean pictures, and no degradation.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        degrade: Degrade | None,
        *,
        margin: int = 0,
        augmentation: Augmentation = "dihedral",
        held_back: int = 0,
        scale: int = 1,
        least: int = MULTIPLE,
        cache_mb: int = 2048,
        seed: int = 0,
    ) -> None:
        self.scale, self.least = scale, MULTIPLE * math.ceil(least / MULTIPLE)
        self.degrade, self.margin, self.augmentation, self.seed = degrade, margin, augmentation, seed
        self._decode = _Cache(cache_mb * 2**20)
        self._train: list[list[SourcePicture]] = []
        self.validation: list[SourcePicture] = []
        total = sum(source.weight for source in sources)
        if degrade is None and any(source.clean is not None for source in sources):
            raise UsageError("this task has no degradation model: give pairs ('inputs' and 'targets')")
        groups = [open_source(source) for source in sources]
        shares = [round(held_back * source.weight / total) for source in sources]
        if held_back and not any(shares):
            shares[max(range(len(sources)), key=lambda index: sources[index].weight)] = 1
        for pictures, share in zip(groups, shares, strict=True):
            by_hash = sorted(pictures, key=lambda picture: picture.digest)
            scorable = [picture for picture in by_hash if min(picture.size) >= self.least]
            self.validation += scorable[: min(share, len(pictures) // 2)]
        # One photograph may belong to several sources: held back from one, it is trained on in none.
        unseen = {picture.target.resolve() for picture in self.validation}
        for group in groups:
            seen = [picture for picture in group if picture.target.resolve() not in unseen]
            if not seen:
                source = group[0].source
                raise InputError(
                    f"{source.clean or source.inputs}: every picture there is held back for validation, maybe from "
                    f"another source; lower held_back={held_back}"
                )
            self._train.append(sorted(seen, key=lambda picture: picture.target.as_posix()))
        self._weights = torch.tensor([source.weight / total for source in sources], dtype=torch.float64)
        self._areas = [torch.tensor([math.prod(p.size) for p in group], dtype=torch.float64) for group in self._train]

    def __len__(self) -> int:
        """Pictures that are trained on."""
        return sum(map(len, self._train))

    def sample(self, step: int, place: int, size: int) -> tuple[Tensor, Tensor]:
        """The patch at ``place`` of the batch of ``step``: (input, target), (3, size, size) floats in 0..1.

        Larger pictures are drawn more often (by area). For a degradation that shrinks (super-resolution), ``size`` is
        the size of the target.
        """
        generator = sample_generator(self.seed, step, place)
        group = int(torch.multinomial(self._weights, 1, generator=generator))
        picture = self._draw(group, generator)
        source, margin = picture.source, self.margin if picture.input is None else 0
        planes = self._cut(picture, size + 2 * margin, generator)
        if source.collage and float(torch.rand((), generator=generator)) < source.collage:
            planes = collage(planes, self._cut(self._draw(group, generator), size + 2 * margin, generator), generator)
        degraded, clean = self._pair(picture, planes, margin, generator, colours=source.colours)
        if source.grain and float(torch.rand((), generator=generator)) < 0.5:
            sigma = source.grain / 255 * torch.rand((), generator=generator)
            degraded = (degraded + sigma * torch.randn(degraded.shape, generator=generator)).clamp(0, 1)
        if source.resaved and float(torch.rand((), generator=generator)) < source.resaved:
            degraded = resave(degraded, generator)
        return degraded, clean

    def _draw(self, group: int, generator: Generator) -> SourcePicture:
        return self._train[group][int(torch.multinomial(self._areas[group], 1, generator=generator))]

    def _cut(self, picture: SourcePicture, size: int, generator: Generator) -> list[Tensor]:
        planes = self._planes(picture)
        averaged = [True] * len(planes) if picture.depth is None else [True, False]
        planes = _crop(planes, averaged, size, picture.source.zoom, generator)
        return augment(planes, self.augmentation, generator)

    def whole(self, index: int, crop: int, strength: Mapping[str, Any], draw: int = 0) -> tuple[str, Tensor, Tensor]:
        """Validation picture ``index`` as (name, input, target).

        Its centre of at most ``crop`` pixels, degraded the same way every time; another ``draw``, another way.
        """
        picture = self.validation[index]
        planes = self._planes(picture)
        height, width = (min(length, crop) // MULTIPLE * MULTIPLE for length in planes[0].shape[-2:])
        ratio = max(_ratios(planes))
        top = (planes[0].shape[-2] - height) // (2 * ratio) * ratio
        left = (planes[0].shape[-1] - width) // (2 * ratio) * ratio
        planes = _windows(planes, top, left, height, width)
        seed = int.from_bytes(picture.digest[:4])
        generator = sample_generator(seed, draw) if draw else sample_generator(seed)
        degraded, clean = self._pair(picture, planes, 0, generator, **strength)
        return picture.name, degraded, clean

    def _planes(self, picture: SourcePicture) -> list[Tensor]:
        """Target, and input or depth if there is one, still in their stored integers."""
        extra = picture.input or picture.depth
        files = [picture.target] if extra is None else [picture.target, extra]
        planes = [self._decode(path) for path in files]
        scale = 1 if picture.input is None else self.scale
        height, width = planes[0].shape[-2:]
        if any((height, width) != (scale * plane.shape[-2], scale * plane.shape[-1]) for plane in planes[1:]):
            sizes = " and ".join(f"{plane.shape[-1]}x{plane.shape[-2]}" for plane in planes)
            wanted = "pair of different sizes" if scale == 1 else f"a target {scale} times as large is needed"
            raise InputError(f"{picture.target}: {wanted} ({sizes}); check with 'undegrade data check'")
        return planes

    def _pair(
        self,
        picture: SourcePicture,
        planes: list[Tensor],
        margin: int,
        generator: Generator,
        *,
        colours: float = 0.0,
        **strength: Any,
    ) -> tuple[Tensor, Tensor]:
        target = _to_float(planes[0])
        if picture.input is not None:
            return _to_float(planes[1]).contiguous(), target.contiguous()
        extra = {"depth": planes[1][:1].float()} if picture.depth is not None and planes[1].any() else {}
        assert self.degrade is not None
        if picture.source.grey:
            target = rgb_to_ycbcr(target)[:1]
        elif picture.source.saturation != (1, 1):
            target = _coloured(target, picture.source.saturation, generator)
        if colours:
            target = recolour(target, colours, generator)
        degraded = self.degrade(target, generator, **extra, **{**picture.source.strength, **strength})
        if picture.source.grey:
            degraded, target = degraded.expand(3, -1, -1), target.expand(3, -1, -1)
        scale = target.shape[-1] // degraded.shape[-1]
        return _trim(degraded, margin // scale).contiguous(), _trim(target, margin).contiguous()


class _Cache:
    """Decoded files as (C, H, W) integer tensors, the least recently used dropped first."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.held: OrderedDict[Path, Tensor] = OrderedDict()

    def __call__(self, path: Path) -> Tensor:
        if path in self.held:
            self.held.move_to_end(path)
            return self.held[path]
        pixels: NDArray[Any] = load_rgb(path)
        if pixels.dtype == np.uint16:
            pixels = pixels.astype(np.int32)  # torch cannot flip or pad uint16
        tensor = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
        self.held[path] = tensor
        self.size += tensor.nbytes
        while self.size > self.limit and len(self.held) > 1:
            self.size -= self.held.popitem(last=False)[1].nbytes
        return tensor


def _ratios(planes: list[Tensor]) -> list[int]:
    """How many times larger than each plane the first one is."""
    return [planes[0].shape[-1] // plane.shape[-1] for plane in planes]


def _windows(planes: list[Tensor], top: int, left: int, height: int, width: int) -> list[Tensor]:
    """The window of the first plane, cut from each; its numbers are multiples of every ratio."""
    return [
        plane[..., top // ratio : (top + height) // ratio, left // ratio : (left + width) // ratio]
        for plane, ratio in zip(planes, _ratios(planes), strict=True)
    ]


def _crop(
    planes: list[Tensor], averaged: Sequence[bool], size: int, zoom: tuple[float, float], generator: Generator
) -> list[Tensor]:
    """The same random square of every plane, shrunk by a factor from ``zoom`` as ``_shrink`` does.

    Pictures smaller than the square are shrunk less, and mirrored at the bottom and right if they are smaller than
    ``size`` itself, which is that of the first plane; smaller planes (inputs of super-resolution) give less.
    """
    ratios = _ratios(planes)
    ratio = max(ratios)
    if size % ratio:
        raise UsageError(f"patch size {size}: give a multiple of {ratio}, by which targets are larger")
    factor = zoom[0] + (zoom[1] - zoom[0]) * float(torch.rand((), generator=generator)) if zoom[0] < 1 else 1.0
    height, width = planes[0].shape[-2:]
    side = max(min(round(size / factor), height, width) // ratio * ratio, size)
    down, right = max(side - height, 0), max(side - width, 0)
    planes = [pad(plane, (0, right // r, 0, down // r)) for plane, r in zip(planes, ratios, strict=True)]
    height, width = planes[0].shape[-2:]
    top = ratio * int(torch.randint(0, (height - side) // ratio + 1, (1,), generator=generator))
    left = ratio * int(torch.randint(0, (width - side) // ratio + 1, (1,), generator=generator))
    planes = _windows(planes, top, left, side, side)
    if side == size:
        return planes
    return [_shrink(plane, mean, size // r) for plane, mean, r in zip(planes, averaged, ratios, strict=True)]


def _shrink(plane: Tensor, averaged: bool, size: int) -> Tensor:
    """(C, h, w) integers to (C, size, size): photographs antialiased, depth by its nearest value.

    Depth maps mark what is unknown with 0, which an average would smear into the scene.
    """
    if not averaged:
        return F.interpolate(plane[None].float(), (size, size), mode="nearest-exact")[0].to(plane.dtype)
    small = F.interpolate(plane[None].float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
    return small[0].round().to(plane.dtype)


def _coloured(picture: Tensor, saturation: tuple[float, float], generator: Generator) -> Tensor:
    """(3, H, W) in 0..1, its distance from grey multiplied, clipped."""
    low, high = saturation
    factor = low + (high - low) * float(torch.rand((), generator=generator))
    return torch.lerp(rgb_to_ycbcr(picture)[:1].expand_as(picture), picture, factor).clamp(0, 1)


def _to_float(plane: Tensor) -> Tensor:
    return plane.float() / (65535.0 if plane.dtype == torch.int32 else 255.0)


def _trim(tensor: Tensor, margin: int) -> Tensor:
    return tensor[..., margin:-margin, margin:-margin] if margin else tensor
