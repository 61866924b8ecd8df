"""What is wrong with a picture: the shipped classifier asked, and what the file itself says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from undegrade.core.errors import InputError
from undegrade.core.image import Picture
from undegrade.networks._judge import FAULTS, STRENGTH_UNIT, Judge, JudgeConfig, Opinion
from undegrade.ops.jpeg import quality_of_tables
from undegrade.ops.pad import pad
from undegrade.weights import store
from undegrade.weights.card import WeightsCard
from undegrade.weights.checkpoint import read

__all__ = ["CROP", "VIEW", "Diagnosis", "Finding", "crops", "diagnose", "open_judge", "places", "shown", "view"]

CROP = 96
VIEW = 192
_EVEN = 3
"""Crops along each side of a large picture that are spread evenly."""
_BUSY = 7
"""Crops more, where there is most to see: blur and rain do not show in a calm sky."""
_GRID = 8
"""Crops begin on the grid of the blocks in JPEG files."""

_STEP = 0.5 / 255
"""Steps from pixel to pixel that rounding to 8 bits makes by itself, root mean square."""

_EVENNESS = 2 / 255
"""The pixels of a border differ by no more, which leaves skies and fog alone."""

CODED = 75
"""JPEG files of this quality and below show it, whatever the classifier thinks."""

BLACK = 0.1
"""Median of a picture in which bright dots are stars and lamps rather than snow, which needs light to be seen."""

BLOCKS = "jpeg_artifacts"
ORDER = (
    "denoising",
    BLOCKS,
    "motion_deblurring",
    "defocus_deblurring",
    "deraining",
    "desnowing",
    "dehazing",
)
"""Faults are taken away in the opposite order of how they came: the sensor and the file, the lens, the weather.

Noise goes before the blocks: the denoiser has seen noise in JPEG files, while the JPEG cleaner takes it for texture.
"""

RIVALS = (
    ("motion_deblurring", "defocus_deblurring"),
    ("deraining", "desnowing"),
    ("desnowing", "dehazing"),
)
"""Of these only the main one counts, or the more certain: their weights undo the same thing in two ways."""


@dataclass(frozen=True)
class Finding:
    """A fault that a picture has.

    Attributes:
        task: that takes it away.
        confidence: 0.5 (found by a hair) to 1.
        strength: root mean square of what the fault changed, in levels of 0..255.
        parameters: what is known about it in the task's own terms, ``{"sigma": 24.5}`` or ``{"quality": 30}``.
    """

    task: str
    confidence: float
    strength: float
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        known = ", ".join(f"{name} {value:g}" for name, value in self.parameters.items())
        return f"{self.task} ({known})" if known else self.task

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "task": self.task,
            "confidence": round(self.confidence, 4),
            "strength": round(self.strength, 2),
            "parameters": dict(self.parameters),
        }


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a picture.

    Attributes:
        findings: in the order in which they are to be taken away; empty for a picture that is fine.
        main: the one of them that somebody would name first.
        wrong: how certain it is that the pixels show any fault at all, 0..1; up to 0.5 none is looked for.
        confidences: of every fault, 0..1, that it is there, be it the main one or not.
        file_quality: of the JPEG file that the picture comes from.
    """

    findings: tuple[Finding, ...]
    main: Finding | None
    wrong: float
    confidences: Mapping[str, float]
    file_quality: int | None = None

    @property
    def summary(self) -> str:
        """In words, for example ``"denoising (sigma 24.5), dehazing"``."""
        return ", ".join(map(str, self.findings)) or "nothing wrong"

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "found": [finding.to_dict() for finding in self.findings],
            "main": self.main.task if self.main else None,
            "wrong": round(self.wrong, 4),
            "confidences": {task: round(value, 4) for task, value in self.confidences.items()},
            "file_quality": self.file_quality,
        }


def diagnose(picture: Picture, judge: Judge) -> Diagnosis:
    """What is wrong with ``picture``.

    Raises:
        InputError: NaN or infinity in the picture.
    """
    if not torch.isfinite(picture.pixels.sum()):
        raise InputError("NaN or infinity in the picture")
    table = picture.metadata.quantisation
    told = quality_of_tables(table) if table else None
    pixels = shown(_unframed(picture.pixels.cpu()))
    seen = crops(pixels, places(pixels))
    if _flat(seen):
        return Diagnosis((), None, 0.0, dict.fromkeys(FAULTS, 0.0), told)
    whole = view(pixels)
    with torch.inference_mode(), torch.device("cpu"):  # whatever device the program has new tensors on
        opinion = judge(seen[None], whole[None])
    return _concluded(opinion, told, dark=float(whole.median()) < BLACK)


def _concluded(opinion: Opinion, told: int | None, dark: bool) -> Diagnosis:
    """What is to be done, by rules: snow needs light, a file's tables are believed, and of rivals one stays.

    Args:
        opinion: of one picture.
        told: quality by the tables of its JPEG file, if there are any.
        dark: whether most of it is black.
    """
    *cases, nothing = opinion.cases[0].softmax(dim=0).tolist()
    sure = dict(zip(FAULTS, opinion.present[0].sigmoid().tolist(), strict=True))
    strength = dict(zip(FAULTS, (opinion.strengths[0] * STRENGTH_UNIT).tolist(), strict=True))
    quality = min(max(round(float(opinion.quality) * 100), 1), 100)
    if dark:
        snow = FAULTS.index("desnowing")
        cases[snow], nothing, sure["desnowing"] = 0.0, nothing + cases[snow], 0.0
    main = None
    found: dict[str, float] = {}
    if nothing < 0.5:
        main = FAULTS[cases.index(max(cases))]
        found = {task: sure[task] for task in FAULTS if sure[task] > 0.5} | {main: 1 - nothing}
    if told is not None:
        quality = min(quality, told)
        if told <= CODED:
            main, quality = main or BLOCKS, told
            found[BLOCKS] = sure[BLOCKS] = 1.0
    for pair in RIVALS:
        if found.keys() >= set(pair):
            del found[min(pair, key=lambda task: (task == main, sure[task]))]
    known: dict[str, dict[str, float]] = {
        "denoising": {"sigma": round(min(strength["denoising"], 75.0), 1)},
        BLOCKS: {"quality": quality},
    }
    findings = {
        task: Finding(task, found[task], strength[task], known.get(task, {})) for task in ORDER if task in found
    }
    return Diagnosis(tuple(findings.values()), findings.get(main or ""), 1 - nothing, sure, told)


def open_judge(weights: str | None = None) -> tuple[Judge, WeightsCard]:
    """The classifier with the known weights of this id, or the best ones for ``auto``, and their card.

    Raises:
        UnknownNameError: there are none of this id.
        WeightsError: there are none for ``auto``, or the file is damaged.
    """
    stored = store.find(weights) if weights else store.resolve("auto")
    return _filled(store.fetch(stored), JudgeConfig(**stored.card.numbers)), stored.card


@lru_cache(maxsize=2)
def _filled(path: Path, config: JudgeConfig) -> Judge:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        judge = Judge(config)
    judge.load_state_dict(read(path).entries)
    return judge.float().eval()


def shown(pixels: Tensor, side: int = CROP) -> Tensor:
    """(3, H, W) in 0..1 of a (1 or 3, H, W) picture: grey repeated, clipped, mirrored where smaller than ``side``."""
    pixels = pixels.float().clamp(0, 1).expand(3, -1, -1)
    height, width = pixels.shape[-2:]
    return pad(pixels, (0, max(0, side - width), 0, max(0, side - height)), "symmetric")


def places(pixels: Tensor, side: int = CROP) -> list[tuple[int, int]]:
    """Top left corners of crops of ``side`` of a picture from ``shown``: some spread evenly, some at high contrast."""
    height, width = pixels.shape[-2:]
    corners = [(top, left) for top in _starts(height, side) for left in _starts(width, side)]
    reach = side // _GRID
    cells = F.avg_pool2d(pixels.mean(dim=0, keepdim=True)[None], _GRID)  # blur and noise change little of these
    right, down = (F.pad(cells.diff(dim=dim).abs(), pads) for dim, pads in ((3, (0, 1)), (2, (0, 0, 0, 1))))
    contrast = F.avg_pool2d(right + down, reach, 1)[0, 0]  # of the crop that begins in each cell
    for top, left in corners:
        _leave(contrast, top // _GRID, left // _GRID, reach // 2)
    for _ in range(_BUSY):
        best = int(contrast.argmax())
        top, left = divmod(best, contrast.shape[1])
        if contrast[top, left] < 0:
            break
        corners.append((top * _GRID, left * _GRID))
        _leave(contrast, top, left, reach * 3 // 4)
    return corners


def _unframed(pixels: Tensor) -> Tensor:
    """(C, H, W) without borders of one colour, such as a mount or the bars of a film.

    Nothing is as sharp as their edge, which would speak for the whole picture. What is left begins on the grid of the
    blocks, and is no smaller than a crop.
    """
    size = None
    while size != pixels.shape:
        size = pixels.shape
        for dim in (1, 2):
            lines = pixels.unbind(dim)
            start = -(-_border(lines) // _GRID) * _GRID
            stop = len(lines) - _border(lines[::-1])
            if stop - start >= CROP:
                pixels = pixels.narrow(dim, start, stop - start)
    return pixels


def _border(lines: Sequence[Tensor]) -> int:
    """How many of the rows or columns (C, N), from the first on, have the one colour that the first begins with."""
    colour = lines[0][:, :1]
    return next((n for n, line in enumerate(lines) if float((line - colour).abs().max()) > _EVENNESS), len(lines))


def _flat(seen: Tensor) -> bool:
    """Whether crops hold nothing that could be at fault; the classifier, which never saw such, takes it for noise."""
    steps = torch.stack([seen.diff(dim=dim).square().mean() for dim in (2, 3)])
    return float(steps.mean()) < _STEP**2


def _leave(contrast: Tensor, top: int, left: int, reach: int) -> None:
    """No more crops that begin within ``reach`` cells of a chosen one."""
    contrast[max(0, top - reach + 1) : top + reach, max(0, left - reach + 1) : left + reach] = -1


def _starts(length: int, side: int) -> list[int]:
    room = max(0, length - side)
    count = min(_EVEN, -(-room // (side // 2)) + 1)
    return sorted({round(room * index / max(1, count - 1)) // _GRID * _GRID for index in range(count)})


def crops(pixels: Tensor, corners: list[tuple[int, int]], side: int = CROP) -> Tensor:
    """(K, 3, side, side) of a picture from ``shown``."""
    return torch.stack([pixels[:, top : top + side, left : left + side] for top, left in corners])


def view(pixels: Tensor) -> Tensor:
    """(3, VIEW, VIEW): the whole picture, squeezed into a square."""
    small = F.interpolate(pixels[None], (VIEW, VIEW), mode="bilinear", antialias=True, align_corners=False)
    return small[0].clamp(0, 1)
