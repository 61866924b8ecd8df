"""What picture file formats can hold, and a decoded picture with its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORMATS", "LARGEST_DPI", "SUFFIXES", "Format", "Frame", "Metadata", "Samples"]

Samples = NDArray[np.uint8] | NDArray[np.uint16]
LARGEST_DPI = 100_000_000
"""Dots per inch: PNG and BMP hold hardly more, and a file that tells of more is mistaken."""


@dataclass(frozen=True)
class Format:
    """What a file format can hold.

    Attributes:
        suffixes: of file names, lower case, the usual one first.
        deep: 16 bits per sample.
        alpha: transparency.
        many: several frames or pages.
        largest_dpi: the largest resolution that a field outside EXIF holds; 0 where there is none.
        grey: pictures of one colour as such, not as equal red, green and blue.
        largest: the longest side, in pixels; None: whatever memory holds.
        options: how Pillow is told to write: as good as lossless where the format is not.
    """

    suffixes: tuple[str, ...]
    deep: bool = False
    alpha: bool = True
    many: bool = False
    largest_dpi: int = LARGEST_DPI
    grey: bool = True
    largest: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


FORMATS = {
    # Level 4, as for 16 bits: for photographs much faster than Pillow's 6, and hardly larger.
    "PNG": Format((".png", ".apng"), deep=True, many=True, options={"compress_level": 4}),
    "TIFF": Format((".tif", ".tiff"), deep=True, many=True),
    "JPEG": Format(
        (".jpg", ".jpeg", ".jfif", ".jpe"),
        alpha=False,
        largest_dpi=65535,
        largest=65500,
        options={"quality": 95, "subsampling": "4:4:4"},
    ),
    "WEBP": Format(
        (".webp",),
        many=True,
        largest_dpi=0,
        grey=False,
        largest=16383,
        options={"lossless": True, "exact": True, "method": 2},
    ),
    "AVIF": Format(
        (".avif",), many=True, largest_dpi=0, grey=False, largest=65536, options={"quality": 90, "subsampling": "4:4:4"}
    ),
    "BMP": Format((".bmp",), alpha=False),
    "HEIF": Format((".heic", ".heif", ".hif"), largest_dpi=0, options={"quality": 95, "chroma": 444}),
}
"""Formats that are written. GIF is read as well, but holds only 256 colours."""
SUFFIXES = frozenset(suffix for held in FORMATS.values() for suffix in held.suffixes) | {".gif"}
"""File names that are taken for pictures when a folder is read."""


@dataclass(frozen=True)
class Metadata:
    """What a file says about its picture.

    Attributes:
        format: a key of ``FORMATS``, or ``"GIF"``.
        exif: EXIF block without the orientation, which is applied to the pixels; empty when there is none.
        icc, xmp: colour profile and XMP packet; empty when there is none.
        iptc: captions and keywords, as IPTC's records (IIM 4.2); empty when there are none.
        dpi: resolution across and down.
        frames: how many the file holds.
        duration: of an animation's frame, in milliseconds.
        loop: repeats of an animation, 0 for ever.
        quantisation: the 64 numbers of a JPEG file's luma table, in any order; empty for other files.
        cicp: of a PNG file, the four bytes that name its colours and go before a profile; empty when there are none.
    """

    format: str = "PNG"
    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    dpi: tuple[float, float] | None = None
    frames: int = 1
    duration: float | None = None
    loop: int | None = None
    quantisation: tuple[int, ...] = ()
    cicp: bytes = b""


@dataclass(frozen=True)
class Frame:
    """A decoded picture, upright.

    Attributes:
        samples: (H, W, C) of uint8 or uint16; C is 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
        metadata: what the file says.
        notes: what was changed on the way in, one sentence each.
        report: what was found out about the picture and done with it, as plain values for JSON.
    """

    samples: Samples
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
