"""TIFF: reads 16 bits and extra samples, which Pillow lowers, drops or refuses; writes 8 and 16 bits with all metadata.

Strips and tiles, both planar configurations, both byte orders, grey and colour with or without alpha. Compressed
strips are unpacked by Pillow, which is handed each one as a grey picture of plain bytes, so every lossless scheme that
libtiff knows can be read. Pillow's own writer loses EXIF when it compresses, hence ours.
References: TIFF 6.0, sections 8, 14, 15 and 18; Adobe's deflate as compression 8.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from undegrade.core import exif
from undegrade.core.errors import InputError
from undegrade.core.formats import Samples

__all__ = ["Page", "decode", "is_tiff", "pages", "write"]

# Tag numbers, TIFF 6.0 section 8.
SUBFILE, FURTHER = 254, 330
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIPS, SAMPLES, STRIP_ROWS, STRIP_BYTES, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT = 320, 322, 323, 324, 325, 338, 339

WHITE_IS_ZERO, BLACK_IS_ZERO, COLOUR, PALETTE, INKS = 0, 1, 2, 3, 5
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, COLOUR: 3}
"""Samples of a pixel without the extra ones."""
RAW, DEFLATE, SPLIT, LOSSY = 1, 8, 2, (6, 7)
"""Compression: none, Adobe deflate. Planar configuration: samples in separate planes. Compression: the two of JPEG."""
UNSPECIFIED, PREMULTIPLIED, ALPHA = 0, 1, 2
"""Meanings of an extra sample; unspecified is taken as alpha, which is what Photoshop and ImageMagick mean."""
REDUCED = 1
"""Bit of the kind of page that says: a thumbnail of another one."""
SIGNED = 2
"""Format of a sample: a number that may be negative."""
LARGEST_TILE = 1 << 24
"""Pixels; a larger tile may not be larger than its picture."""
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

    @property
    def thumbnail(self) -> bool:
        """Whether it is a smaller copy of another page."""
        return bool(int(self.tags.get(SUBFILE, 0)) & REDUCED)

    @property
    def ours(self) -> bool:
        """Whether ``decode`` is to read or refuse it: Pillow would take only 8 bits, no alpha, no sign from it."""
        if max(self.bits) > 8 or self.format == SIGNED:
            return True
        colours = {**COLOURS, INKS: 4}.get(self.photometric, len(self.bits))
        extra = _several(self.tags.get(EXTRA, UNSPECIFIED))
        # Of grey and alpha in separate planes, Pillow makes one plane.
        split = int(self.tags.get(PLANAR, 1)) == SPLIT
        known = {1: set() if split else {ALPHA}, 3: {ALPHA, PREMULTIPLIED}}.get(colours, set())
        lost = len(self.bits) > colours and (len(extra) > 1 or extra[0] not in known)
        return lost and set(self.bits) == {8} and int(self.tags.get(COMPRESSION, RAW)) not in LOSSY


def is_tiff(start: bytes) -> bool:
    """Whether these first bytes are those of a TIFF (or BigTIFF) file."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def pages(data: bytes) -> list[Page]:
    """The tags of every page.

    Raises:
        InputError: the file's structure is damaged, or it is a BigTIFF of the rare byte order that Pillow cannot read.
    """
    if data[:4] == b"MM\0+":
        raise InputError("BigTIFF with the high byte first is not handled; convert the file")
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


def decode(data: bytes, page: Page) -> Samples:
    """The (H, W, C) samples of a page of 8 or 16 bits; C is 1, 2 (with alpha), 3 or 4 (with alpha, not premultiplied).

    Raises:
        InputError: the page is damaged, or of a kind that is not handled.
    """
    tags, colours = page.tags, COLOURS.get(page.photometric)
    channels = len(page.bits)
    if (
        set(page.bits) not in ({8}, {16})
        or page.format != 1
        or colours is None
        or channels not in (colours, colours + 1)
    ):
        raise InputError(
            f"TIFF with bits {page.bits}, sample format {page.format}, photometric {page.photometric}: "
            "unsigned grey or RGB of 8 or 16 bits, with or without alpha, is handled; convert the file"
        )
    tiled = TILES in tags
    block = (
        (int(tags[TILE_HEIGHT]), int(tags[TILE_WIDTH]))
        if tiled
        else (min(int(tags.get(STRIP_ROWS, page.height)), page.height), page.width)
    )
    if block[0] * block[1] > max(LARGEST_TILE, page.height * page.width):
        raise InputError(f"the TIFF structure is damaged (tiles of {block[1]} x {block[0]})")
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

    shape = (page.height, page.width, channels)
    samples: Samples = np.empty(shape, np.uint8) if page.bits[0] == 8 else np.empty(shape, np.uint16)
    white = np.iinfo(samples.dtype).max
    for (plane, y, x), offset, length in zip(corners, offsets, lengths, strict=False):
        rows = block[0] if tiled else min(block[0], page.height - y)
        part = _block(data[offset : offset + length], (rows, block[1], 1 if split else channels), page)
        planes = slice(plane, plane + 1) if split else slice(None)
        samples[y : y + rows, x : x + block[1], planes] = part[: page.height - y, : page.width - x]

    if page.photometric == WHITE_IS_ZERO:
        samples[..., 0] = white - samples[..., 0]
    if channels > colours and PREMULTIPLIED in _several(tags.get(EXTRA, 0)):
        alpha = np.maximum(samples[..., colours:], 1).astype(np.float32)
        for colour in range(colours):
            plain = samples[..., colour : colour + 1] * (white / alpha)
            samples[..., colour : colour + 1] = np.minimum(np.rint(plain), white)
    return samples


def write(file: BinaryIO, frames: Iterable[tuple[Samples, Mapping[int, Any]]]) -> None:
    """Writes (H, W, C) samples as the pages of a TIFF file: little-endian, strips, deflate, predictor 2.

    Args:
        file: opened for writing at its start.
        frames: samples of uint8 or uint16, with C of 1, 2 (with alpha), 3 or 4 (with alpha), and further tags of the
            page: number -> value; a dict is written as a sub-directory (EXIF, GPS).

    Raises:
        InputError: the file would pass 4 GB.
    """
    link = 4  # where the offset of the next page's directory is written
    for samples, tags in frames:
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


def _block(packed: bytes, shape: tuple[int, int, int], page: Page) -> Samples:
    """One strip or tile as (rows, columns, samples)."""
    rows, columns, channels = shape
    size = page.bits[0] // 8
    length = columns * channels * size
    compression = int(page.tags.get(COMPRESSION, RAW))
    plain = packed if compression == RAW else _unpack(packed, rows, length, compression)
    if len(plain) < rows * length:
        raise InputError("the TIFF file is cut off")
    order = "<" if page.tags.prefix == b"II" else ">"
    samples: Samples = np.frombuffer(plain, f"{order}u{size}", rows * columns * channels).reshape(shape)
    predictor = int(page.tags.get(PREDICTOR, 1)) if compression != RAW else 1
    if predictor == 2:
        return np.add.accumulate(samples, axis=1, dtype=samples.dtype.newbyteorder("="))
    if predictor != 1:
        raise InputError(f"TIFF predictor {predictor} is not handled; convert the file")
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
    # The limit is for pixels and has been kept: here bytes would count as such.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(file, formats=["TIFF"]) as image:
            return image.tobytes()
    except (OSError, SyntaxError, ValueError, KeyError) as error:
        raise InputError(f"the TIFF data is damaged or packed in an unknown way ({compression}: {error})") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _packed_strips(samples: Samples, rows: int) -> Iterator[bytes]:
    for y in range(0, len(samples), rows):
        strip = samples[y : y + rows]
        differences = np.concatenate([strip[:, :1], strip[:, 1:] - strip[:, :-1]], axis=1)
        yield zlib.compress(differences.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes(), 4)
