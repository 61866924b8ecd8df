"""Pictures written to files: depth, transparency and metadata are kept or the format is refused."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from undegrade.core import exif, png16, tiff
from undegrade.core.decode import pillow_formats
from undegrade.core.errors import InputError, MissingExtraError, UsageError
from undegrade.core.formats import FORMATS, Frame, Metadata, Samples
from undegrade.core.names import exists, is_file

__all__ = ["check_fits", "encode", "format_of", "left_out", "parts", "to_pil", "write", "write_beside"]

LONGEST_EXIF = 65533
"""Bytes of a block that one segment of a JPEG file takes."""
LONGEST_XMP = 65504
"""Bytes of a packet that one segment of a JPEG file takes."""


def format_of(path: str | Path) -> str:
    """The format that a file name's suffix stands for.

    Raises:
        UsageError: none that is written.
    """
    suffix = Path(path).suffix.lower()
    for name, held in FORMATS.items():
        if suffix in held.suffixes:
            return name
    known = ", ".join(held.suffixes[0] for held in FORMATS.values())
    raise UsageError(f"{path}: files of kind '{suffix}' are not written: choose one of {known}")


def check_fits(path: str | Path, deep: bool, alpha: bool, count: int, longest: int) -> None:
    """Whether the format of ``path`` holds such a picture.

    Args:
        path: of the file to be written.
        deep, alpha: whether there are 16 bits, and transparency.
        count: of frames.
        longest: side, in pixels.

    Raises:
        InputError: it does not.
        UsageError: no such format.
        MissingExtraError: it needs an optional package.
    """
    _check(format_of(path), deep, alpha, count, longest)


def left_out(frames: Iterable[Frame], kind: str) -> tuple[str, ...]:
    """What a format has no place for, one sentence each."""
    told = []
    captions = [frame.metadata.iptc for frame in frames if frame.metadata.iptc]
    if captions and kind != "TIFF" and not (kind == "JPEG" and all(map(exif.iptc_segment, captions))):
        why = "too long for JPEG, .tif holds it" if kind == "JPEG" else f"{kind} has no place, .jpg and .tif have"
        told.append(f"IPTC text (captions, keywords) is left out: {why}")
    gone = [name for frame in frames if kind == "JPEG" for name in _exif(frame, kind)[1]]
    if gone:
        told.append(f"of EXIF, {', '.join(gone)} is left out: too long for {kind}, .png and .tif hold it")
    if kind == "JPEG" and any(len(frame.metadata.xmp) > LONGEST_XMP for frame in frames):
        told.append("the XMP packet is left out: too long for JPEG, .png and .tif hold it")
    if kind == "TIFF" and any(frame.metadata.duration for frame in frames):
        told.append("the times of an animation are left out: TIFF holds pages, .png and .webp hold times")
    if any(frame.metadata.icc and not _fitting_icc(frame) for frame in frames):
        told.append("the colour profile is left out: it is made for other channels than the picture has")
    if kind != "PNG" and any(frame.metadata.cicp for frame in frames):
        told.append(f"the chunk that names the colours (cICP) is left out: {kind} has no place, .png has")
    if any(_fitting_icc(frame) and not _fitting_icc(frame, kind) for frame in frames):
        told.append(f"the colour profile, one for grey, is left out: {kind} keeps grey as RGB, .png and .tif do not")
    return tuple(told)


def write(frames: Sequence[Frame], path: str | Path) -> None:
    """Writes frames in the format of the path's suffix: into a file beside it, which is then renamed.

    Raises:
        InputError: the frames do not fit into the format, or the file cannot be written.
        UsageError: no such format.
    """
    path = Path(path)
    part = write_beside(frames, path)
    try:
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def write_beside(frames: Sequence[Frame], path: Path, *, sync: bool = False) -> Path:
    """Writes frames into a hidden new file beside ``path``, in the format of its suffix; the new file's path.

    Args:
        frames: the pictures.
        path: the name that the file is to take later; unfinished files of this name are found by ``parts``.
        sync: return only when the disk has the content, which renaming alone does not promise.

    Raises:
        InputError: the frames do not fit into the format, or the file cannot be written; nothing is left behind.
        UsageError: no such format.
    """
    kind = format_of(path)
    if exists(path) and not is_file(path):
        raise InputError(f"{path}: exists and is not a file")
    part = path.with_name(f"{_part_prefix(path)}{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:  # a new file: links that lie there are not followed
            _write(frames, file, kind)
            file.flush()
            if sync:
                os.fsync(file.fileno())
    except BaseException as error:
        with suppress(OSError):  # where nothing can be written, nothing can be removed either
            part.unlink(missing_ok=True)
        if isinstance(error, InputError):
            raise InputError(f"{path}: {error}") from error
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise
    return part


def parts(path: Path) -> list[Path]:
    """The unfinished files of ``path`` that a killed process left behind."""
    prefix = _part_prefix(path)
    try:
        return [found for found in path.parent.iterdir() if found.name.startswith(prefix) and found.suffix == ".part"]
    except OSError:
        return []


def _part_prefix(path: Path) -> str:
    """The start of the hidden names; short, since the name itself may be as long as the disk allows."""
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}."


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be written ({error.strerror or error})")


def encode(frames: Sequence[Frame], kind: str) -> bytes:
    """The content of a file of the format ``kind``, a key of ``FORMATS``.

    Raises:
        InputError: the frames do not fit into the format.
    """
    file = io.BytesIO()
    _write(frames, file, kind)
    return file.getvalue()


def to_pil(frame: Frame) -> Image.Image:
    """The frame as a PIL image with the metadata in ``info``; 16 bits are kept for grey and are an error otherwise."""
    samples = frame.samples
    if samples.dtype == np.uint16 and samples.shape[2] > 1:
        raise InputError("PIL images hold no 16-bit colour")
    image = _image(samples)
    held = frame.metadata
    entries = {"exif": held.exif, "icc_profile": _fitting_icc(frame), "xmp": held.xmp, "dpi": held.dpi}
    image.info.update({key: value for key, value in entries.items() if value})
    return image


def _write(frames: Sequence[Frame], file: BinaryIO, kind: str) -> None:
    deep = any(frame.samples.dtype == np.uint16 for frame in frames)
    alpha = any(frame.samples.shape[2] in (2, 4) for frame in frames)
    _check(kind, deep, alpha, len(frames), max(max(frame.samples.shape[:2]) for frame in frames))
    first = frames[0]
    held = _fitting(first, kind)
    if kind == "TIFF":
        told = (_fitting(frame, kind) for frame in frames)
        tags = (exif.tiff_tags(page.exif, page.icc, page.xmp, page.iptc, page.dpi) for page in told)
        tiff.write(file, zip((frame.samples for frame in frames), tags, strict=True))
    elif deep:
        chunks = exif.png_chunks(held.exif, held.icc, held.xmp, held.cicp, held.dpi)
        for piece in png16.encode(first.samples.astype(np.uint16, copy=False), chunks):
            file.write(piece)
    else:
        images = [_image(frame.samples) for frame in frames]
        if len(images) > 1:
            images = _alike(images)
        options = FORMATS[kind].options | _told(held, kind) | _sequence(frames, images, kind)
        try:
            images[0].save(file, kind, **options)
        except (ValueError, TypeError, RuntimeError, struct.error) as error:  # too many pixels or metadata
            raise InputError(f"{kind} cannot hold this picture ({error})") from error


def _check(kind: str, deep: bool, alpha: bool, count: int, longest: int) -> None:
    held = FORMATS[kind]
    if kind not in pillow_formats():
        raise MissingExtraError(f"writing {kind}", "heif")
    if deep and not held.deep:
        raise InputError(f"{kind} holds 8 bits, the picture has 16: choose .png or .tif")
    if alpha and not held.alpha:
        raise InputError(f"{kind} holds no transparency, which the picture has: choose .png, .tif or .webp")
    if count > 1 and not held.many:
        raise InputError(f"{kind} holds one picture, there are {count}: choose .png, .webp or .tif")
    if held.largest is not None and longest > held.largest:
        raise InputError(f"{kind} holds {held.largest} pixels a side, the picture has {longest}: choose .png or .tif")
    if count > 1 and deep and kind == "PNG":
        raise InputError(f"PNG holds one 16-bit picture, there are {count}: choose .tif")


def _told(held: Metadata, kind: str) -> dict[str, Any]:
    """The metadata as Pillow's arguments of ``save``."""
    told: dict[str, Any] = {"icc_profile": held.icc, "dpi": held.dpi}
    if kind == "PNG" and (held.xmp or held.cicp):
        told["pnginfo"] = PngImagePlugin.PngInfo()
        if held.cicp:
            told["pnginfo"].add(b"cICP", held.cicp)
        if held.xmp:
            told["pnginfo"].add_itxt("XML:com.adobe.xmp", held.xmp.decode("utf-8", "replace"))
    if kind != "BMP":
        told["exif"] = held.exif
    if kind not in ("BMP", "PNG"):
        told["xmp"] = held.xmp
    if kind == "JPEG" and held.iptc:
        told["extra"] = exif.iptc_segment(held.iptc)
    return {name: value for name, value in told.items() if value}


def _sequence(frames: Sequence[Frame], images: list[Image.Image], kind: str) -> dict[str, Any]:
    """Pillow's arguments of ``save`` for several frames."""
    if len(images) < 2:
        return {}
    options: dict[str, Any] = {"save_all": True, "append_images": images[1:]}
    durations, held = [frame.metadata.duration for frame in frames], frames[0].metadata
    if set(durations) != {None}:  # a frame of a GIF may leave out that it has no time; pages have none
        once = held.loop is None and held.format == "GIF"  # its word for how often; without it, it plays once
        options |= {"duration": [round(duration or 0) for duration in durations], "loop": 1 if once else held.loop or 0}
    elif kind == "WEBP" and any(one == other for one, other in pairwise(images)):
        raise InputError("WEBP drops a page that equals the one before it: choose .png or .tif")
    return options


def _alike(images: list[Image.Image]) -> list[Image.Image]:
    """The frames of an animation in the one mode that holds them all."""
    if len({image.size for image in images}) > 1:
        raise InputError("the pages differ in size: choose .tif")
    modes = {image.mode for image in images}
    colour, alpha = bool(modes & {"RGB", "RGBA"}), bool(modes & {"LA", "RGBA"})
    mode = ("RGBA" if alpha else "RGB") if colour else ("LA" if alpha else "L")
    return [image.convert(mode) for image in images]


def _image(samples: Samples) -> Image.Image:
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def _fitting(frame: Frame, kind: str) -> Metadata:
    """The frame's metadata as they are true of it in a file of this kind."""
    held = frame.metadata
    xmp = b"" if kind == "JPEG" and len(held.xmp) > LONGEST_XMP else held.xmp
    return replace(held, icc=_fitting_icc(frame, kind), exif=_exif(frame, kind)[0], xmp=xmp, dpi=_dpi(held, kind))


def _dpi(held: Metadata, kind: str) -> tuple[float, float] | None:
    """The resolution, if this kind of file holds it outside EXIF."""
    return held.dpi if held.dpi is None or max(held.dpi) <= FORMATS[kind].largest_dpi else None


def _exif(frame: Frame, kind: str) -> tuple[bytes, tuple[str, ...]]:
    """The EXIF block for a file of this kind, and the names of the tags that are too long for it."""
    height, width = frame.samples.shape[:2]
    held = frame.metadata
    block = exif.resized(held.exif, width, height, None if _dpi(held, kind) else held.dpi)
    return exif.shortened(block, LONGEST_EXIF) if kind == "JPEG" else (block, ())


def _fitting_icc(frame: Frame, kind: str | None = None) -> bytes:
    """The colour profile, if it speaks of as many channels as the frame has, in a file too (ICC.1, section 7.2.6)."""
    grey = frame.samples.shape[2] <= 2
    icc = frame.metadata.icc
    keeps = not grey or kind is None or FORMATS[kind].grey
    return icc if icc[16:20] == (b"GRAY" if grey else b"RGB ") and keeps else b""
