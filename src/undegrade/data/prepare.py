"""Laying data sets out in the two folders ``input`` and ``target``, whole or cut into crops for faster reading."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from undegrade.core.decode import decode
from undegrade.core.errors import InputError, MissingExtraError, UsageError
from undegrade.core.names import folded, same_file
from undegrade.core.replacing import replacing
from undegrade.data.folders import Key, Matching, Pair, listed, uneven
from undegrade.data.locate import locate

__all__ = ["Prepared", "crop_corners", "prepare", "prepare_data"]


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Attributes:
        pairs: how many pairs were read.
        files: how many pairs (of clean pictures, in a clean set) were written; more than read when cut into crops.
        skipped: name -> why nothing was written.
    """

    pairs: int
    files: int
    skipped: dict[str, str]


def prepare_data(
    root: Path | str | None,
    out: Path | str,
    *,
    inputs: Path | str | None = None,
    targets: Path | str | None = None,
    layout: str | None = None,
    split: str = "test",
    pairing: Key | str = "stem",
    scale: int = 1,
    crop: int | None = None,
    stride: int | None = None,
    recursive: bool = False,
) -> Prepared:
    """Lays a data set out: see `undegrade.data.locate.locate` for how it is named, `prepare` for the rest."""
    found = locate(
        root,
        inputs=inputs,
        targets=targets,
        layout=layout,
        split=split,
        pairing=pairing,
        recursive=recursive,
        scale=scale,
    )
    return prepare(found.matching, out, crop=crop, stride=stride, scale=found.scale, border=found.border)


def prepare(
    matching: Matching,
    out: Path | str,
    *,
    crop: int | None = None,
    stride: int | None = None,
    scale: int = 1,
    border: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Prepared:
    """Writes ``out/input`` and ``out/target`` with equal names; a clean set goes into ``out`` itself.

    Files are copied untouched where nothing has to be cut, and written as 8-bit PNG otherwise. Existing files are kept,
    and not counted. Pairs whose sizes do not fit are skipped either way.

    Args:
        matching: pairs, of `Layout.locate` or `match_folders`.
        out: folder to write to.
        crop: side of square crops of the input; None keeps pictures whole.
        stride: distance between crops; None for crops side by side. The last row and column end at the border.
        scale: how many times larger targets are.
        border: pixels to cut from every side of a target.
        progress: called with the name of every pair that is done.

    Raises:
        UsageError: crop, stride or scale below 1, a stride without a crop, inputs without a target, two for one name,
            or by order more on one side; two names that the disk takes for one, of which the first is written.
    """
    if (crop is not None and crop < 1) or (stride is not None and stride < 1):
        raise UsageError(f"crop={crop}, stride={stride}: both must be at least 1 pixel")
    if stride is not None and crop is None:
        raise UsageError(f"stride={stride}: is the distance between crops: give crop too")
    if scale < 1:
        raise UsageError(f"scale={scale}: targets are 1 or more times as large as inputs")
    if matching.uneven:
        raise UsageError(uneven(matching))
    if matching.lonely_inputs:
        raise UsageError(
            f"{len(matching.lonely_inputs)} inputs have no target, first '{matching.lonely_inputs[0].name}': "
            "undegrade data check lists them"
        )
    whole = crop is None and border == 0
    how = _Cut(crop, stride or crop or 0, scale, border)
    _refuse_doubles(matching, Path(out), whole)
    written, skipped, alike = 0, {}, dict[str, Path]()
    for pair in matching.pairs:
        try:
            if whole:
                written += _copy(pair, Path(out), how)
            else:
                written += _cut(pair, Path(out), how)
            _refuse_lost(pair, Path(out), whole, "_000" if crop else "", alike)
        except (InputError, MissingExtraError) as error:
            skipped[pair.name] = str(error)
        if progress is not None:
            progress(pair.name)
    return Prepared(len(matching.pairs), written, skipped)


def _places(pair: Pair, out: Path, suffixes: tuple[str, str], place: str = "") -> tuple[Path, Path]:
    name = pair.name.replace("/", "-") + place
    if pair.input == pair.target:
        return out / f"{name}{suffixes[0]}", out / f"{name}{suffixes[1]}"
    return out / "input" / f"{name}{suffixes[0]}", out / "target" / f"{name}{suffixes[1]}"


def _suffixes(pair: Pair, whole: bool) -> tuple[str, str]:
    return (pair.input.suffix, pair.target.suffix) if whole else (".png", ".png")


def _refuse_doubles(matching: Matching, out: Path, whole: bool) -> None:
    """Raises a UsageError where two files would get one name: only the first of them would be written."""
    claims = dict(matching.ambiguous or {})
    files: dict[Path, list[Path]] = {}
    for pair in matching.pairs:
        places = _places(pair, out, _suffixes(pair, whole))
        for place, source in set(zip(places, (pair.input, pair.target), strict=True)):
            files.setdefault(place, []).append(source)
    claims |= {place.stem: tuple(inputs) for place, inputs in files.items() if len(set(inputs)) > 1}
    if claims:
        name, several = next(iter(claims.items()))
        raise UsageError(f"'{name}' is claimed by {listed(several)}: keep one file for each name")


def _refuse_lost(pair: Pair, out: Path, whole: bool, place: str, alike: dict[str, Path]) -> None:
    """Raises a UsageError where the disk takes a file of this pair for one of another, as ``a.png`` for ``A.png``.

    Disks that do not, and so hold both, refuse nothing; ``alike`` keeps what was written, by the folded name.
    """
    for file in _places(pair, out, _suffixes(pair, whole), place):
        other = alike.setdefault(folded(str(file)), file)
        if other != file and same_file(file, other):
            raise UsageError(f"{file}: this disk takes it for {other.name}: give one of the two another name")


def _copy(pair: Pair, out: Path, how: _Cut) -> bool:
    places = _places(pair, out, _suffixes(pair, whole=True))
    ways = dict(zip((pair.input, pair.target), places, strict=True))
    for source in ways:
        try:
            source.open("rb").close()
        except OSError as error:  # found here and not by the copy, whose errors may be the target's and end the run
            raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error
    if pair.input != pair.target:
        _fitting_pictures(pair, how)  # decoded, since a header tells the size before any rotation by EXIF
    written = [_written(place, partial(shutil.copyfile, source)) for source, place in ways.items()]
    return any(written)


def _written(file: Path, write: Callable[[Path], object]) -> bool:
    """Whether the file was missing; it is written whole or, after a kill, not at all."""
    if file.exists():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as whole:
        write(whole)
    return True


@dataclass(frozen=True)
class _Cut:
    """The numbers of `prepare`."""

    crop: int | None
    stride: int
    scale: int
    border: int


def _fitting_pictures(pair: Pair, how: _Cut) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Input and target, its border cut; an InputError where the target is not ``scale`` times as large."""
    low, high = _load(pair.input), _load(pair.target)
    if pair.input == pair.target:
        return low, high
    if border := how.border:
        high = high[border:-border, border:-border]
    height, width = (side * how.scale for side in low.shape[:2])
    if high.shape[:2] != (height, width):
        raise InputError(
            f"{pair.name}: a target of {width}x{height} is needed, not {high.shape[1]}x{high.shape[0]}: leave the pair "
            f"out, or say by another scale than {how.scale} how many times larger targets are"
        )
    return low, high


def _cut(pair: Pair, out: Path, how: _Cut) -> int:
    low, high = _fitting_pictures(pair, how)
    crop, scale = how.crop, how.scale
    height, width = low.shape[:2]
    if crop is None:
        return int(_write(pair, out, "", low, high))
    if min(height, width) < crop:
        raise InputError(f"{pair.name}: {width}x{height} is smaller than a crop of {crop}")
    written = 0
    for number, (top, left) in enumerate(crop_corners(height, width, crop, how.stride)):
        below, right = top + crop, left + crop
        part = low[top:below, left:right]
        whole = high[top * scale : below * scale, left * scale : right * scale]
        written += _write(pair, out, f"_{number:03d}", part, whole)
    return written


def crop_corners(height: int, width: int, crop: int, stride: int) -> Iterator[tuple[int, int]]:
    """(top, left) of crops that cover a picture: one every ``stride`` pixels, the last flush with the border.

    >>> list(crop_corners(4, 10, 4, 4))
    [(0, 0), (0, 4), (0, 6)]
    """
    tops, lefts = ([*range(0, size - crop, stride), size - crop] for size in (height, width))
    return ((top, left) for top in tops for left in lefts)


def _load(file: Path) -> NDArray[np.uint8]:
    """The first frame as 8-bit (H, W, 3), or (H, W) of a grey file; alpha is dropped."""
    samples = next(decode(file)[1]).samples
    deep = samples.dtype != np.uint8
    array = ((samples.astype(np.uint32) * 255 + 32767) // 65535 if deep else samples).astype(np.uint8)
    return array[..., :3] if array.shape[2] > 2 else array[..., 0]


def _write(pair: Pair, out: Path, place: str, low: NDArray[np.uint8], high: NDArray[np.uint8]) -> bool:
    places = _places(pair, out, (".png", ".png"), place)
    written = [
        _written(file, partial(Image.fromarray(array).save, format="PNG"))
        for file, array in zip(places, (low, high), strict=True)
    ]
    return any(written)
