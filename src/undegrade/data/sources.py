"""What training pictures come from: folders of clean pictures or of pairs, and what may be changed about them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from undegrade.core.errors import InputError, UsageError
from undegrade.core.image import load_rgb
from undegrade.data.folders import list_pictures, pair_folders

__all__ = ["Source", "SourcePicture", "open_source"]


@dataclass(frozen=True)
class Source:
    """One ingredient of the training stream: clean pictures to be degraded, or finished pairs.

    Attributes:
        clean: folder of clean pictures, searched with its subfolders.
        inputs, targets: folders of degraded and clean pictures.
        rule: how inputs and targets are paired, a name of ``undegrade.data.folders.RULES``.
        depth: folder of depth maps with the stems of ``clean``; handed to the degradation as ``depth``. For a patch of
            which nothing is known (0) the degradation makes a depth up.
        zoom: range of factors by which pictures are shrunk before a patch is cut, (0.5, 1) for example; shows more of
            the scene, and hides the blocks of JPEG sources.
        grey: whether the clean pictures are turned grey (full-range luma) before they are degraded.
        saturation: range of factors by which the colours of clean pictures are drawn away from their grey, (1, 2) for
            example; most photographs are paler than what a camera may meet.
        colours: how far the exponents of the channels of clean pictures are changed in training, as a logarithm (0.4,
            for example), see ``augment.recolour``. Few scenes are not learnt by heart so.
        collage: how often a second picture with a depth map is laid into the first in training, see
            ``augment.collage``.
        grain: sigma in levels of 0..255 up to which Gaussian noise is added to the degraded picture in training, in
            half of the samples. Cameras have noise, and to take haze or blur away makes it stronger.
        resaved: how often the degraded picture becomes a JPEG file in training before it is seen, see
            ``augment.resave``; photographs are spoilt first and saved after.
        weight: how often this ingredient is drawn, relative to the others.
        optional: whether a run goes on without it where its folders are missing.
        strength: fixed or ranged parameters handed to the degradation.
    """

    clean: Path | None = None
    inputs: Path | None = None
    targets: Path | None = None
    rule: str = "stem"
    depth: Path | None = None
    zoom: tuple[float, float] = (1.0, 1.0)
    grey: bool = False
    saturation: tuple[float, float] = (1.0, 1.0)
    colours: float = 0.0
    collage: float = 0.0
    grain: float = 0.0
    resaved: float = 0.0
    weight: float = 1.0
    optional: bool = False
    strength: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.clean is None) == (self.inputs is None) or (self.inputs is None) != (self.targets is None):
            raise UsageError("a source names either 'clean' or both 'inputs' and 'targets'")
        changed = self.depth or self.grey or self.saturation != (1, 1) or self.colours or self.collage
        if self.inputs is not None and (changed or self.strength):
            raise UsageError(
                "depth, grey, saturation, colours, collage and strength of a source: for 'clean' pictures; pairs are "
                "finished"
            )
        if not 0 <= self.colours < math.inf:
            raise UsageError(f"colours={self.colours} of a source: must be 0 or more, and finite")
        if not 0 <= self.collage <= 1 or (self.collage and self.depth is None):
            raise UsageError(f"collage={self.collage} of a source: a probability, 0-1, where there is 'depth'")
        if not 0 <= self.grain < math.inf:
            raise UsageError(f"grain={self.grain} of a source: must be 0 or more, and finite")
        if not 0 <= self.resaved <= 1:
            raise UsageError(f"resaved={self.resaved} of a source: a probability, 0-1")
        if not 0 < self.zoom[0] <= self.zoom[1] <= 1:
            raise UsageError(f"zoom={list(self.zoom)} of a source: two factors in 0-1, the smaller first")
        if not 0 <= self.saturation[0] <= self.saturation[1] < math.inf:
            raise UsageError(
                f"saturation={list(self.saturation)} of a source: two factors from 0, finite, the smaller first"
            )
        if not 0 < self.weight < math.inf:
            raise UsageError(f"weight={self.weight} of a source: must be above 0, and finite")


@dataclass(frozen=True)
class SourcePicture:
    """Files of one training picture and the source it belongs to."""

    target: Path
    input: Path | None
    depth: Path | None
    source: Source
    size: tuple[int, int]

    @property
    def name(self) -> str:
        """That of the target, without its suffix."""
        return self.target.stem

    @property
    def digest(self) -> bytes:
        """SHA-256 of the name, which on disk may be no text."""
        return hashlib.sha256(self.name.encode("utf-8", "surrogateescape")).digest()


def open_source(source: Source) -> list[SourcePicture]:
    """The pictures of a source, in the order of their folder.

    Raises:
        InputError: a folder is missing or holds none, or a picture has no depth map.
    """
    if source.clean is not None:
        targets: list[tuple[Path, Path | None]] = [(path, None) for path in list_pictures(source.clean, recursive=True)]
    else:
        assert source.inputs is not None
        assert source.targets is not None
        pairs = pair_folders(source.inputs, source.targets, source.rule, recursive=True)
        targets = [(pair.target, pair.input) for pair in pairs]
    if not targets:
        raise InputError(f"{source.clean or source.inputs}: no pictures there")
    maps = list_pictures(source.depth, recursive=True) if source.depth is not None else []
    depths = {path.stem: path for path in maps}
    pictures = []
    for target, degraded in targets:
        if source.depth is not None and target.stem not in depths:
            raise InputError(f"{target.name}: no depth map of that stem in {source.depth}")
        pictures.append(SourcePicture(target, degraded, depths.get(target.stem), source, _size(target)))
    return pictures


def _size(file: Path) -> tuple[int, int]:
    """The sides by the header, or by all of the file where Pillow cannot tell; that names what is wrong with it."""
    try:
        with Image.open(file) as header:
            return header.size
    except (OSError, Image.DecompressionBombError):
        height, width = load_rgb(file).shape[:2]
        return width, height
