"""TIFF: reads 16 bits per sample, which Pillow lowers to 8 or refuses; writes 8 and 16 bits with all metadata.

Strips and tiles, both planar configurations, both byte orders, grey and colour with or without alpha. Compressed
strips are unpacked by Pillow, which is handed each one as a grey picture of plain bytes, so every lossless scheme that
libtiff knows can be read. Pillow's own writer loses EXIF when it compresses, hence ours.
References: TIFF 6.0, sections 8, 14, 15 and 18; Adobe's deflate as compression 8.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from undegrade.core import exif
from undegrade.core.errors import InputError
from undegrade.core.formats import Samples

__all__ = ["Page", "decode", "is_tiff", "pages", "write"]

# Tag numbers, TIFF 6.0 section 8.
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIPS, SAMPLES, STRIP_ROWS, STRIP_BYTES, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339

WHITE_IS_ZERO, BLACK_IS_ZERO, COLOUR = 0, 1, 2
RAW, DEFLATE, SPLIT = 1, 8, 2
"""Compression: none, Adobe deflate. Planar configuration: samples in separate planes."""
PREMULTIPLIED, ALPHA = 1, 2
"""Meanings of an extra sample; 0 is unspecified and taken as alpha, which is what Photoshop and ImageMagick mean."""
STRIP_TARGET = 1 << 20
"""Bytes in a strip that we write, before compression."""


class Page(NamedTuple):
    """One picture inside a TIFF file: its tags and how its samples are stored."""

    tags: Directory
    width: int
    height: int
    bits: tuple[int, ...]
    format: int
    photometric: int


def is_tiff(start: bytes) -> bool:
    """Whether these first bytes are those of a TIFF (or BigTIFF) file."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def pages(data: bytes) -> list[Page]:
    """The tags of every page.

    Raises:
        InputError: the file's structure is damaged.
    """
    found, seen = [], set()
    try:
        file = io.BytesIO(data)
        big = data[2:4] in (b"+\0", b"\0+")
        tags = Directory(data[: 16 if big else 8])
        while tags.next and tags.next not in seen:
            seen.add(tags.next)
            file.seek(tags.next)
            page = Directory(data[: 16 if big else 8])
            page.load(file)
            tags = page
            bits = _several(page.get(BITS, 1))
            samples = int(page.get(SAMPLES, len(bits)))
            found.append(
                Page(
                    page,
                    int(page[WIDTH]),
                    int(page[HEIGHT]),
                    bits if len(bits) == samples else bits[:1] * samples,
                    _several(page.get(FORMAT, 1))[0],
                    int(page.get(PHOTOMETRIC, WHITE_IS_ZERO)),
                )
            )
    except (KeyError, TypeError, ValueError, SyntaxError, OSError, struct.error) as error:
        raise InputError(f"the TIFF structure is damaged ({error})") from error
    return found


def decode(data: bytes, page: Page) -> NDArray[np.uint16]:
    """The (H, W, C) samples of a page; C is 1, 2 (with alpha), 3 or 4 (with alpha, not premultiplied).

    Raises:
        InputError: the page is damaged, or of a kind that is not handled.
    """
    tags, colours = page.tags, {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, COLOUR: 3}.get(page.photometric)
    channels = len(page.bits)
    if set(page.bits) != {16} or page.format != 1 or colours is None or channels not in (colours, colours + 1):
        raise InputError(
            f"TIFF with bits {page.bits}, sample format {page.format}, photometric {page.photometric}: 16-bit "
            "unsigned grey or RGB, with or without alpha, is handled; convert the file"
        )
    tiled = TILES in tags
    block = (
        (int(tags[TILE_HEIGHT]), int(tags[TILE_WIDTH]))
        if tiled
        else (min(int(tags.get(STRIP_ROWS, page.height)), page.height), page.width)
    )
    split = int(tags.get(PLANAR, 1)) == SPLIT and channels > 1
    corners = [
        (plane, y, x)
        for plane in range(channels if split else 1)
        for y in range(0, page.height, block[0])
        for x in range(0, page.width, block[1])
    ]
    try:
        offsets = _several(tags[TILES if tiled else STRIPS])
        lengths = _several(tags[TILE_BYTES if tiled else STRIP_BYTES])
    except KeyError as error:
        raise InputError("the TIFF structure is damaged (no strips)") from error
    if len(offsets) < len(corners) or len(lengths) < len(corners):
        raise InputError("the TIFF file is cut off (strips are missing)")

    samples = np.empty((page.height, page.width, channels), np.uint16)
    for (plane, y, x), offset, length in zip(corners, offsets, lengths, strict=False):
        rows = block[0] if tiled else min(block[0], page.height - y)
        shape = (rows, block[1], 1 if split else channels)
        part = _block(data[offset : offset + length], shape, page)
        planes = slice(plane, plane + 1) if split else slice(None)
        samples[y : y + rows, x : x + block[1], planes] = part[: page.height - y, : page.width - x]

    if page.photometric == WHITE_IS_ZERO:
        samples[..., 0] = 65535 - samples[..., 0]
    if channels > colours and PREMULTIPLIED in _several(tags.get(EXTRA, 0)):
        alpha = np.maximum(samples[..., colours:], 1).astype(np.float32)
        for colour in range(colours):
            plain = samples[..., colour : colour + 1] * (65535 / alpha)
            samples[..., colour : colour + 1] = np.minimum(np.rint(plain), 65535)
    return samples


def write(file: BinaryIO, frames: Sequence[Samples], tags: Mapping[int, Any]) -> None:
    """Writes (H, W, C) samples as the pages of a TIFF file: little-endian, strips, deflate, predictor 2.

    Args:
        file: opened for writing at its start.
        frames: each of uint8 or uint16, with C of 1, 2 (with alpha), 3 or 4 (with alpha).
        tags: further tags for every page: number -> value; a dict is written as a sub-directory (EXIF, GPS).

    Raises:
        InputError: the file would pass 4 GB.
    """
    link = 4  # where the offset of the next page's directory is written
    for samples in frames:
        height, width, channels = samples.shape
        rows = max(1, min(height, STRIP_TARGET // (width * channels * samples.itemsize)))
        strips = list(_packed_strips(samples, rows))
        page = exif.tiff_directory(tags)
        page[WIDTH], page[HEIGHT] = width, height
        page[BITS], page[SAMPLES] = (8 * samples.itemsize,) * channels, channels
        page[COMPRESSION], page[PREDICTOR], page[PLANAR] = DEFLATE, 2, 1
        page[PHOTOMETRIC] = COLOUR if channels > 2 else BLACK_IS_ZERO
        if channels in (2, 4):
            page[EXTRA] = ALPHA
        page.tagtype[STRIPS] = page.tagtype[STRIP_BYTES] = TiffTags.LONG
        lengths = [len(strip) for strip in strips]
        # Counted from the end of the directory; Pillow adds where that is.
        page[STRIPS] = tuple(int(start) for start in np.cumsum([0, *lengths[:-1]]))
        page[STRIP_BYTES], page[STRIP_ROWS] = tuple(lengths), rows

        start = file.seek(0, io.SEEK_END)
        if start + sum(lengths) > 0xFFFF0000:
            raise InputError("the TIFF file would pass 4 GB: write PNG")
        if start:
            start += file.write(b"\0" * (start % 2))
            file.seek(link)
            file.write(struct.pack("<L", start))
            file.seek(start)
        page.save(file)
        link = (start or 8) + 2 + 12 * len(page)
        for strip in strips:
            file.write(strip)


def _several(value: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in value) if isinstance(value, tuple) else (int(value),)


def _block(packed: bytes, shape: tuple[int, int, int], page: Page) -> NDArray[np.uint16]:
    """One strip or tile as (rows, columns, samples)."""
    rows, columns, channels = shape
    length = columns * channels * 2
    compression = int(page.tags.get(COMPRESSION, RAW))
    plain = packed if compression == RAW else _unpack(packed, rows, length, compression)
    if len(plain) < rows * length:
        raise InputError("the TIFF file is cut off")
    order = "<" if page.tags.prefix == b"II" else ">"
    samples = np.frombuffer(plain, f"{order}u2", rows * columns * channels).reshape(shape)
    predictor = int(page.tags.get(PREDICTOR, 1)) if compression != RAW else 1
    if predictor == 2:
        return np.cumsum(samples, axis=1, dtype=np.uint16)
    if predictor != 1:
        raise InputError(f"TIFF predictor {predictor} is not handled for 16 bits; convert the file")
    return samples


def _unpack(packed: bytes, rows: int, length: int, compression: int) -> bytes:
    """A compressed strip as plain bytes: Pillow reads it as a grey 8-bit picture, a byte a pixel."""
    tags = Directory()
    tags[WIDTH], tags[HEIGHT], tags[BITS], tags[SAMPLES] = length, rows, 8, 1
    tags[COMPRESSION], tags[PHOTOMETRIC], tags[STRIP_ROWS] = compression, BLACK_IS_ZERO, rows
    tags[STRIPS], tags[STRIP_BYTES] = 0, len(packed)
    file = io.BytesIO()
    tags.save(file)
    file.write(packed)
    try:
        with Image.open(file, formats=["TIFF"]) as image:
            return image.tobytes()
    except (OSError, SyntaxError, ValueError, KeyError) as error:
        raise InputError(f"the TIFF data is damaged or packed in an unknown way ({compression}: {error})") from error


def _packed_strips(samples: Samples, rows: int) -> Iterator[bytes]:
    for y in range(0, len(samples), rows):
        strip = samples[y : y + rows]
        differences = np.concatenate([strip[:, :1], strip[:, 1:] - strip[:, :-1]], axis=1)
        yield zlib.compress(differences.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes(), 4)
