"""PNG with 16 bits per sample, in numpy and zlib: Pillow reads and writes only 8 bits of colour.

Chunks, filters and interlacing as in the PNG specification (third edition), sections 5, 7.2, 8 and 9.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from undegrade.core.errors import InputError

__all__ = ["SIGNATURE", "coding", "decode", "encode", "header", "is_animation"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Colour type -> samples per pixel: grey, colour, grey and alpha, colour and alpha."""
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7: first row, first column, row step, column step of the seven passes."""
BAND = 1 << 21
"""Bytes filtered at a time while writing; bounds the memory, which is about twenty times as much."""


def header(data: bytes) -> tuple[int, int, int, int, bool]:
    """Width, height, bits per sample, colour type and interlacing of a PNG file.

    Raises:
        InputError: the file has no complete header.
    """
    if not data.startswith(SIGNATURE) or data[12:16] != b"IHDR" or len(data) < 33:
        raise InputError("the PNG header is damaged")
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    return width, height, bits, colour, bool(interlaced)


def is_animation(data: bytes) -> bool:
    """Whether the file holds more than one frame (specification, section 11.3.6)."""
    first = next(((kind, bytes(content[:4])) for kind, content in _chunks(data) if kind in (b"acTL", b"IDAT")), None)
    return first is not None and first[0] == b"acTL" and int.from_bytes(first[1], "big") > 1


def coding(data: bytes) -> bytes:
    """What the cICP chunk says: primaries, transfer, matrix and range of the colours; empty where there is none.

    Pillow passes over it (specification, section 11.3.2.6). It stands before the pixels.
    """
    try:
        for kind, content in _chunks(data):
            if kind == b"IDAT":
                break
            if kind == b"cICP" and len(content) == 4:
                return bytes(content)
    except InputError:  # whoever decodes the pixels tells of the damage, if it matters to them
        pass
    return b""


def decode(data: bytes) -> NDArray[np.uint16]:
    """The (H, W, C) samples of a 16-bit PNG file; C is 1, 2 (with alpha), 3 or 4 (with alpha).

    A colour that is declared transparent (tRNS) becomes an alpha channel.

    Raises:
        InputError: the file is damaged, cut off, or not of 16 bits.
    """
    width, height, bits, colour, interlaced = header(data)
    if bits != 16 or colour not in CHANNELS or not width or not height:
        raise InputError(f"not a 16-bit PNG (bits {bits}, colour type {colour})")
    channels = CHANNELS[colour]
    grids = [(0, 0, 1, 1)] if not interlaced else list(PASSES)
    sizes = [(-(-(height - y) // dy), -(-(width - x) // dx)) for y, x, dy, dx in grids]
    sizes = [(rows, columns) if rows > 0 and columns > 0 else (0, 0) for rows, columns in sizes]
    expected = sum(rows * (1 + columns * 2 * channels) for rows, columns in sizes)

    transparent = None
    unpacker, parts, size = zlib.decompressobj(), [], 0
    for kind, content in _chunks(data):
        if kind == b"IDAT":
            try:
                part = unpacker.decompress(content, expected - size) if size < expected else b""
            except zlib.error as error:
                raise InputError(f"the PNG data is damaged ({error})") from error
            parts.append(part)
            size += len(part)
        elif kind == b"tRNS" and colour in (0, 2):
            transparent = np.frombuffer(content[: 2 * channels], ">u2")
    if size < expected:
        raise InputError("the PNG file is cut off")
    raw = np.frombuffer(b"".join(parts), np.uint8)
    del parts

    samples = np.empty((height, width, channels), np.uint16)
    start = 0
    for (y, x, dy, dx), (rows, columns) in zip(grids, sizes, strict=True):
        line = columns * 2 * channels
        if not rows:
            continue
        band = raw[start : start + rows * (1 + line)].reshape(rows, 1 + line)
        start += band.size
        plain = _unfilter(band[:, 0], band[:, 1:], 2 * channels)
        samples[y::dy, x::dx] = plain.view(">u2").reshape(rows, columns, channels)
    if transparent is not None and transparent.size == channels:
        opaque = (samples != transparent).any(axis=2, keepdims=True)
        samples = np.concatenate([samples, opaque * np.uint16(65535)], axis=2)
    return samples


def encode(samples: NDArray[np.uint16], chunks: Mapping[bytes, bytes] | None = None, level: int = 4) -> Iterator[bytes]:
    """A 16-bit PNG file of (H, W, C) samples, in pieces to be written one after the other.

    Each row takes the filter with the smallest sum of absolute differences (specification, section 12.7).

    Args:
        samples: C is 1, 2 (with alpha), 3 or 4 (with alpha).
        chunks: further chunks, put before the picture: name -> content, for example ``{b"eXIf": ...}``.
        level: zlib's, 1 fast to 9 small.
    """
    height, width, channels = samples.shape
    colour = {count: kind for kind, count in CHANNELS.items()}[channels]
    yield SIGNATURE
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    for kind, content in (chunks or {}).items():
        yield _chunk(kind, content)
    packer = zlib.compressobj(level)
    length = width * channels * 2
    above, step = np.zeros((1, length), np.uint8), max(1, BAND // length)
    for start in range(0, height, step):
        band = np.ascontiguousarray(samples[start : start + step], ">u2").view(np.uint8)
        rows = band.reshape(len(band), length)
        packed = packer.compress(_filter(rows, above, 2 * channels).tobytes())
        above = rows[-1:]
        if packed:
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush())
    yield _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Name and content of every chunk; stops at the end of the file, which a cut-off file reaches too early."""
    view, position = memoryview(data), len(SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack(">I", view[position : position + 4])
        kind = bytes(view[position + 4 : position + 8])
        end = position + 8 + length
        content, checksum = view[position + 8 : end], view[end : end + 4]
        if len(checksum) < 4:
            yield kind, content
            return
        if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(checksum, "big"):
            raise InputError(f"the PNG data is damaged (checksum of {kind.decode('latin-1')})")
        yield kind, content
        if kind == b"IEND":  # what follows is not of the picture
            return
        position = end + 4


def _unfilter(kinds: NDArray[np.uint8], rows: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Rows of bytes without their filters; ``step`` is the bytes per pixel.

    Average and Paeth need the pixel on the left, which rules out whole rows at once. But the pixels of one
    anti-diagonal depend on earlier anti-diagonals only, so those are computed together, all rows at once.
    """
    if kinds.size and kinds.max() > 4:
        raise InputError(f"the PNG data is damaged (filter {kinds.max()})")
    height, length = rows.shape
    width = length // step
    # One row of zeros above and one pixel of zeros on the left stand for the neighbours outside.
    padded = np.zeros((height + 1, step + length), np.uint8)
    padded[1:, step:] = rows
    if not (kinds > 2).any():
        for y, kind in enumerate(kinds, start=1):
            if kind == 1:
                pixels = padded[y, step:].reshape(width, step)
                np.cumsum(pixels, axis=0, dtype=np.uint8, out=pixels)
            elif kind == 2:
                padded[y] += padded[y - 1]
        return np.ascontiguousarray(padded[1:, step:])

    stride = step + length
    flat = padded.reshape(-1)
    # 0 or 1 for every row, as a column: which neighbours its filter adds.
    sub, up, average, paeth = (np.ascontiguousarray((kinds == kind)[:, None]) for kind in (1, 2, 3, 4))
    for diagonal in range(height + width - 1):
        first, last = max(0, diagonal - width + 1), min(height - 1, diagonal)
        count, part = last - first + 1, slice(first, last + 1)
        corner = (first + 1) * stride + (diagonal - first + 1) * step

        def line(offset: int, count: int = count) -> NDArray[np.uint8]:
            return as_strided(flat[offset:], (count, step), (stride - step, 1))

        here = line(corner)
        a = line(corner - step).astype(np.int16)
        b = line(corner - stride).astype(np.int16)
        c = line(corner - stride - step).astype(np.int16)
        guess = a * sub[part] + b * up[part] + ((a + b) >> 1) * average[part] + _paeth(a, b, c) * paeth[part]
        here += guess.astype(np.uint8)
    return np.ascontiguousarray(padded[1:, step:])


def _paeth(a: NDArray[np.int16], b: NDArray[np.int16], c: NDArray[np.int16]) -> NDArray[np.int16]:
    """Of left ``a``, upper ``b`` and upper left ``c`` the one nearest to a + b - c (specification, section 9.4)."""
    from_a, from_b, from_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    return np.where((from_a <= from_b) & (from_a <= from_c), a, np.where(from_b <= from_c, b, c))


def _filter(rows: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Rows of bytes, each with its best filter and the filter's number in front."""
    up = np.concatenate([above, rows[:-1]]).astype(np.int16)
    left = np.pad(rows, ((0, 0), (step, 0)))[:, :-step].astype(np.int16)
    corner = np.pad(up, ((0, 0), (step, 0)))[:, :-step]
    guesses = (np.zeros_like(up), left, up, (left + up) >> 1, _paeth(left, up, corner))
    best = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    lowest = np.full(len(rows), np.iinfo(np.int64).max)
    for kind, guess in enumerate(guesses):
        difference = rows - guess.astype(np.uint8)
        cost = np.abs(difference.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64)
        better = cost < lowest
        best[better, 0] = kind
        best[better, 1:] = difference[better]
        lowest[better] = cost[better]
    return best
