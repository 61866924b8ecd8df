"""16-bit PNG and TIFF: our reader against files of OpenCV and tifffile, our files against their readers."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from undegrade.core import decode, exif, png16, tiff
from undegrade.core.errors import InputError

SHAPES = [(1, 1, 3), (3, 5, 1), (33, 40, 2), (40, 33, 3), (70, 83, 4)]


def samples(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Slopes with a little noise, so that every PNG filter is the best one somewhere."""
    generator = np.random.default_rng(seed)
    y, x, c = np.ogrid[: shape[0], : shape[1], : shape[2]]
    smooth = (y * 811 + x * 977 + c * 9001 + (x * y) % 257 * 13) % 65536
    noise = generator.integers(0, 1 + 60 * (y % 7), shape)
    return ((smooth + noise) % 65536).astype(np.uint16)


def bgr(array: np.ndarray) -> np.ndarray:
    return array[..., [2, 1, 0, 3][: array.shape[2]]] if array.shape[2] > 2 else array[..., 0]


@pytest.mark.parametrize("shape", SHAPES)
def test_png_round_trip_and_opencv_reads_it(shape: tuple[int, ...]) -> None:
    array = samples(shape)
    data = b"".join(png16.encode(array))
    assert np.array_equal(png16.decode(data), array)
    if shape[2] != 2:
        theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert theirs.dtype == np.uint16
        assert np.array_equal(theirs, bgr(array).squeeze() if shape == (1, 1, 1) else bgr(array))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[2] != 2])
@pytest.mark.parametrize("kind", range(5))
def test_png_filters_of_opencv(shape: tuple[int, ...], kind: int) -> None:
    array = samples(shape)
    done, data = cv2.imencode(".png", bgr(array), [cv2.IMWRITE_PNG_FILTER, 8 << kind])
    assert done
    assert np.array_equal(png16.decode(data.tobytes()), array)


def test_png_tells_dots_per_inch_across_and_down() -> None:
    chunks = exif.png_chunks(b"", b"", b"", b"", (100.0, 200.0))
    with Image.open(io.BytesIO(b"".join(png16.encode(samples((3, 5, 1)), chunks)))) as read:
        assert read.info["dpi"] == pytest.approx((100, 200), abs=0.02)


def test_png_mixed_filters_all_occur() -> None:
    array = samples((70, 83, 4))
    data = b"".join(png16.encode(array))
    packed = b"".join(content for name, content in png16._chunks(data) if name == b"IDAT")
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(70, -1)
    assert len(set(rows[:, 0])) >= 3


def png(header: tuple[int, ...], raw: bytes, *more: bytes) -> bytes:
    chunk = png16._chunk
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), *more, chunk(b"IDAT", zlib.compress(raw))]
    return png16.SIGNATURE + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize("shape", SHAPES)
def test_png_interlaced(shape: tuple[int, ...]) -> None:
    array = samples(shape)
    raw = b""
    for y, x, dy, dx in png16.PASSES:
        part = np.ascontiguousarray(array[y::dy, x::dx], ">u2")
        if part.size:
            raw += b"".join(b"\0" + row.tobytes() for row in part)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[shape[2]]
    data = png((shape[1], shape[0], 16, colour, 0, 0, 1), raw)
    assert np.array_equal(png16.decode(data), array)


def test_png_transparent_colour_becomes_alpha() -> None:
    array = samples((4, 5, 3))
    array[0, 1, 0] = array[2, 3, 0]  # one channel of the colour alone is not it
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    key = array[2, 3].astype(">u2").tobytes()
    decoded = png16.decode(png((5, 4, 16, 2, 0, 0, 0), raw, png16._chunk(b"tRNS", key)))
    assert decoded.shape == (4, 5, 4)
    assert decoded[2, 3, 3] == 0
    assert (decoded[..., 3] == 0).sum() == 1
    assert np.array_equal(decoded[..., :3], array)


@pytest.mark.parametrize("keep", [20, 60, 400, -30])
def test_png_cut_off_is_an_error(keep: int) -> None:
    data = b"".join(png16.encode(samples((40, 33, 3))))
    with pytest.raises(InputError, match="PNG"):
        png16.decode(data[:keep])


def test_png_flipped_bit_is_an_error() -> None:
    data = bytearray(b"".join(png16.encode(samples((40, 33, 3)))))
    data[len(data) // 2] ^= 4
    with pytest.raises(InputError, match="damaged"):
        png16.decode(bytes(data))


@pytest.mark.parametrize("shape", SHAPES)
def test_tiff_round_trip_and_tifffile_reads_it(shape: tuple[int, ...]) -> None:
    pages = [samples(shape), samples((shape[0] + 3, *shape[1:]), seed=1)]
    file = io.BytesIO()
    tiff.write(file, [(page, {305: "somebody", 34665: {36867: "2020:01:01 00:00:00"}}) for page in pages])
    data = file.getvalue()
    for page, array in zip(tiff.pages(data), pages, strict=True):
        assert np.array_equal(tiff.decode(data, page), array)
    with tifffile.TiffFile(io.BytesIO(data)) as theirs:
        for page, array in zip(theirs.pages, pages, strict=True):
            assert np.array_equal(page.asarray().reshape(array.shape), array)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("packing", [(None, None), ("zlib", None), ("zlib", 2)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_layouts_of_tifffile(
    shape: tuple[int, ...], tile: object, planar: str, packing: tuple[object, object], order: str
) -> None:
    array = samples(shape)
    several = shape[2] > 1
    page = array if several else array[..., 0]
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        np.moveaxis(page, 2, 0) if several and planar == "separate" else page,
        compression=packing[0],
        predictor=packing[1],
        tile=tile,
        rowsperstrip=None if tile else 7,
        byteorder=order,
        photometric="rgb" if shape[2] > 2 else "minisblack",
        extrasamples=["unassalpha"] if shape[2] in (2, 4) else None,
        **({"planarconfig": planar} if several else {}),
    )
    data = file.getvalue()
    assert np.array_equal(tiff.decode(data, tiff.pages(data)[0]), array)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])  # none, LZW, deflate, PackBits
def test_tiff_compressions_of_opencv(compression: int) -> None:
    array = samples((70, 83, 4))
    done, data = cv2.imencode(".tif", bgr(array), [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    assert done
    page = tiff.pages(data.tobytes())[0]
    assert page.tags[259] == compression
    assert np.array_equal(tiff.decode(data.tobytes(), page), array)


def test_tiff_premultiplied_alpha_is_undone() -> None:
    colour, alpha = samples((9, 8, 3)), np.full((9, 8, 1), 32768, np.uint16)
    mixed = np.rint(colour * (alpha / 65535)).astype(np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(file, np.concatenate([mixed, alpha], 2), photometric="rgb", extrasamples=["assocalpha"])
    decoded = tiff.decode(file.getvalue(), tiff.pages(file.getvalue())[0])
    assert np.abs(decoded[..., :3].astype(int) - colour).max() <= 2
    assert np.array_equal(decoded[..., 3:], alpha)


def test_tiff_white_is_zero_is_inverted() -> None:
    array = samples((9, 8, 1))
    file = io.BytesIO()
    tifffile.imwrite(file, array[..., 0], photometric="miniswhite")
    assert np.array_equal(tiff.decode(file.getvalue(), tiff.pages(file.getvalue())[0]), 65535 - array)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32])
def test_tiff_other_types_are_refused(dtype: type) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((4, 5, 3), dtype), photometric="rgb")
    with pytest.raises(InputError, match="unsigned grey or RGB of 8 or 16 bits"):
        tiff.decode(file.getvalue(), tiff.pages(file.getvalue())[0])


def test_tiff_cut_off_is_an_error() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, samples((40, 33, 3)), photometric="rgb", compression=None)
    data = file.getvalue()[:-500]
    with pytest.raises(InputError, match="cut off"):
        tiff.decode(data, tiff.pages(data)[0])


def test_png_may_be_padded_and_may_tell_of_frames_that_are_left_out() -> None:
    plain = b"".join(png16.encode(samples((9, 8, 3))))
    assert np.array_equal(png16.decode(plain + bytes(100)), samples((9, 8, 3)))
    moving = b"".join(png16.encode(samples((9, 8, 3)), {b"acTL": bytes([0, 0, 0, 2, 0, 0, 0, 0])}))
    (still,), (first,) = (decode.decode(data)[1] for data in (plain, moving))
    assert not still.notes
    assert "further frames" in first.notes[0]


@pytest.mark.parametrize("kind", [1, 2, 7])
def test_xmp_of_any_type(kind: int) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, samples((9, 8, 3)), photometric="rgb", extratags=[(700, kind, 5, b"<x/>\n", True)])
    (frame,) = decode.decode(file.getvalue())[1]
    assert frame.metadata.xmp.startswith(b"<x/>")
