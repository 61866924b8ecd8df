"""Picture files that are legal but seldom: odd types of tags, large profiles, previews, uneven resolutions."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin, TiffTags
from test_image_files import colours

from undegrade.core import decode, encode, exif, image
from undegrade.core.errors import InputError
from undegrade.core.formats import Frame, Metadata

GREY = b"\0" * 16 + b"GRAY" + b"\0" * 108
"""As much of a profile as is looked at."""


def with_chunks(png: bytes, chunks: dict[bytes, bytes]) -> bytes:
    """The PNG file with further chunks behind its header."""
    added = b"".join(
        struct.pack(">I", len(held)) + kind + held + struct.pack(">I", zlib.crc32(kind + held))
        for kind, held in chunks.items()
    )
    return png[:33] + added + png[33:]


def only(path: Path) -> Frame:
    (frame,) = decode.decode(path)[1]
    return frame


def test_a_thumbnail_may_be_the_first_page(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(colours(7, 10), photometric="rgb", subfiletype=1)
        file.write(colours(), photometric="rgb", subfiletype=0)
    frame = only(tmp_path / "a.tif")
    assert np.array_equal(frame.samples, colours())
    assert "thumbnail" in frame.notes[0]


def test_a_raw_file_is_no_picture_though_its_preview_is(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(colours(7, 10), photometric="rgb", subfiletype=1, subifds=1)
        file.write(colours(dtype=np.uint16), photometric="rgb", subfiletype=0)
    with pytest.raises(InputError, match="only a preview"):
        decode.decode(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_a_tag_of_an_odd_type_does_not_keep_a_picture_from_being_turned(
    tmp_path: Path, turned: int, suffix: str
) -> None:
    entries = TiffImagePlugin.ImageFileDirectory_v2()
    entries.tagtype[256] = entries.tagtype[282] = TiffTags.ASCII
    entries[256], entries[274], entries[282] = "wide", turned, "fine"
    block = b"Exif\0\0II*\0\x08\0\0\0" + entries.tobytes(8)
    Image.fromarray(colours()).save(tmp_path / f"a{suffix}", exif=block, lossless=True)
    stored = Image.fromarray(colours())
    stored.getexif()[274] = turned
    assert np.array_equal(only(tmp_path / f"a{suffix}").samples, np.asarray(ImageOps.exif_transpose(stored)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_limit_counts_all_frames_of_an_animation(kind: str) -> None:
    file = io.BytesIO()
    pages = [Image.new("RGB", (20, 20), (90 * number, 0, 0)) for number in range(3)]
    pages[0].save(file, kind, save_all=True, append_images=pages[1:])
    assert decode.decode(file.getvalue(), max_pixels=1200)[0] == 3
    with pytest.raises(InputError, match=r"0\.0012 megapixels, the limit is 0\.001199"):
        decode.decode(file.getvalue(), max_pixels=1199)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_limit_counts_pixels_and_not_bytes(tmp_path: Path, dtype: type) -> None:
    samples = np.dstack([colours(100, 100, dtype), colours(100, 100, dtype)[..., 0]])  # with alpha
    tifffile.imwrite(
        tmp_path / "a.tif", samples, compression="zlib", rowsperstrip=100, photometric="rgb", extrasamples=[0]
    )
    (frame,) = decode.decode(tmp_path / "a.tif", max_pixels=10_000)[1]
    assert np.array_equal(frame.samples, samples)
    with pytest.raises(InputError, match="megapixels, the limit is"):
        decode.decode(tmp_path / "a.tif", max_pixels=9_999)


def test_tiles_far_larger_than_the_picture_are_damage(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", colours(dtype=np.uint16), photometric="rgb", tile=(32, 32))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    for tag in (322, 323):
        entry = data.index(struct.pack("<HHI", tag, 4, 1))
        data[entry + 8 : entry + 12] = struct.pack("<I", 65520)
    with pytest.raises(InputError, match=r"damaged \(tiles of 65520 x 65520\)"):
        decode.decode(bytes(data))


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_inks_with_a_further_channel_are_refused(tmp_path: Path, extra: int) -> None:
    samples = np.dstack([colours(), colours()[..., :2]])
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="separated", extrasamples=[extra], planarconfig="contig")
    with pytest.raises(InputError, match="photometric 5: unsigned grey or RGB"):
        decode.decode(tmp_path / "a.tif")


def test_numbers_with_a_sign_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", colours()[..., 0].astype(np.int8), photometric="minisblack")
    with pytest.raises(InputError, match="sample format 2"):
        decode.decode(tmp_path / "a.tif")


@pytest.mark.parametrize("output", [".webp", ".avif"])
def test_a_profile_for_grey_does_not_fit_grey_kept_as_rgb(tmp_path: Path, output: str) -> None:
    frame = Frame(colours()[..., :1], Metadata(icc=GREY))
    kind = encode.format_of(f"a{output}")
    encode.write([frame], tmp_path / f"a{output}")
    with Image.open(tmp_path / f"a{output}") as opened:
        assert opened.mode == "RGB"
        assert not opened.info.get("icc_profile")
    assert "for grey, is left out" in encode.left_out([frame], kind)[0]
    assert encode.left_out([frame], "PNG") == ()


def test_large_profiles_are_read(tmp_path: Path) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + b"\0" * (2 << 20)
    Image.fromarray(colours()).save(tmp_path / "a.png", icc_profile=icc)
    assert only(tmp_path / "a.png").metadata.icc == icc


@pytest.mark.parametrize(("suffix", "width"), [(".jpg", 65501), (".webp", 16384), (".avif", 65537)])
def test_a_side_too_long_for_the_format_is_refused_beforehand(suffix: str, width: int) -> None:
    encode.check_fits(f"a{suffix}", deep=False, alpha=False, count=1, longest=width - 1)
    with pytest.raises(InputError, match=rf"holds {width - 1} pixels a side, the picture has {width}"):
        encode.check_fits(f"a{suffix}", deep=False, alpha=False, count=1, longest=width)
    encode.check_fits("a.png", deep=False, alpha=False, count=1, longest=width)


@pytest.mark.parametrize("output", [".jpg", ".png", ".tif", ".webp"])
def test_untyped_bytes_stay_untyped(tmp_path: Path, output: str) -> None:
    entries = Image.Exif()
    comment = (bytearray(b"ASCII\0\0\0hello"),)
    entries[0x8769] = {37510: comment, 41729: (bytearray(b"\1"),)}
    Image.fromarray(colours()).save(tmp_path / "a.jpg", exif=entries.tobytes())
    image.save(image.read(tmp_path / "a.jpg"), tmp_path / f"b{output}")
    data = (tmp_path / f"b{output}").read_bytes()
    forms = [tag.to_bytes(2, order) + (7).to_bytes(2, order) for tag in (37510, 41729) for order in ("little", "big")]
    assert sum(form in data for form in forms) == 2
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.getexif().get_ifd(0x8769)[37510] == b"ASCII\0\0\0hello"


@pytest.mark.parametrize("output", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("turned", [3, 6])
def test_an_uneven_resolution_turns_with_the_picture(tmp_path: Path, turned: int, suffix: str, output: str) -> None:
    entries = Image.Exif()
    entries[274], entries[271], entries[282], entries[283], entries[296] = turned, "Maker", 200.0, 100.0, 2
    Image.fromarray(colours()).save(tmp_path / f"a{suffix}", exif=entries, dpi=(200, 100))
    image.save(image.read(tmp_path / f"a{suffix}"), tmp_path / f"b{output}")
    with Image.open(tmp_path / f"b{output}") as opened:
        tags = opened.getexif()
        expected = [100, 200] if turned == 6 else [200, 100]
        assert [float(tags[tag]) for tag in (282, 283)] == pytest.approx(expected, abs=0.01)
        if output != ".webp":
            assert [float(part) for part in opened.info["dpi"]] == pytest.approx(expected, abs=0.01)


def test_an_uneven_resolution_of_sixteen_bits_turns_too(tmp_path: Path) -> None:
    with (tmp_path / "a.tif").open("wb") as file:
        encode.tiff.write(file, [(colours(dtype=np.uint16), {274: 6, 282: 200.0, 283: 100.0, 296: 2})])
    assert only(tmp_path / "a.tif").metadata.dpi == (100, 200)


def test_equal_pages_are_not_dropped(tmp_path: Path) -> None:
    pages = [Frame(colours())] * 4
    with pytest.raises(InputError, match="drops a page"):
        encode.write(pages, tmp_path / "a.webp")
    encode.write(pages, tmp_path / "a.png")
    assert decode.decode(tmp_path / "a.png")[0] == 4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", [2, 4])
def test_a_packet_or_profile_of_an_odd_type_is_read_or_left_out(tmp_path: Path, dtype: type, kind: int) -> None:
    text = b"<x>tiff</x>\0"
    value = text.decode() if kind == 2 else tuple(range(3))
    tags = [(tag, kind, len(value) if kind == 4 else 0, value, True) for tag in (exif.XMP, exif.ICC)]
    tifffile.imwrite(tmp_path / "a.tif", colours(dtype=dtype), photometric="rgb", extratags=tags)
    metadata = only(tmp_path / "a.tif").metadata
    assert metadata.xmp.startswith(text[:-1] if kind == 2 else b"")
    image.save(image.read(tmp_path / "a.tif"), tmp_path / "b.png")


@pytest.mark.parametrize("packed", [{}, {"compression": "zlib"}, {"compression": "zlib", "tile": (16, 16)}])
def test_alpha_in_a_plane_of_its_own_is_not_mixed_with_grey(tmp_path: Path, packed: dict[str, Any]) -> None:
    planes = np.moveaxis(colours()[..., :2], 2, 0)
    tifffile.imwrite(
        tmp_path / "a.tif",
        planes,
        photometric="minisblack",
        planarconfig="separate",
        extrasamples=["unassalpha"],
        **packed,
    )
    assert np.array_equal(only(tmp_path / "a.tif").samples, colours()[..., :2])


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("PNG", b"tEXt", b"tExt"),  # its checksum is wrong now
        ("TIFF", struct.pack("<HHIH", 262, 3, 1, 2), struct.pack("<HHIH", 262, 3, 1, 9)),  # ICC's Lab
        ("JPEG", b"\xff\xc0", b"\xff\x00"),
    ],
)
def test_a_file_that_cannot_be_opened_is_called_what_it_is(kind: str, place: bytes, value: bytes) -> None:
    told, file = PngImagePlugin.PngInfo(), io.BytesIO()
    told.add_text("Title", "x")
    Image.fromarray(colours()).save(file, kind, pnginfo=told)
    data = file.getvalue()
    assert place in data
    with pytest.raises(InputError, match=f"this {kind} file is damaged or of a rare kind"):
        list(decode.decode(data.replace(place, value))[1])


def test_a_profile_for_other_channels_is_left_out_and_told() -> None:
    frame = Frame(colours(), Metadata(icc=GREY))
    (told,) = encode.left_out([frame], "PNG")
    assert "made for other channels" in told
    (made,) = decode.decode(encode.encode([frame], "PNG"))[1]
    assert made.metadata.icc == b""
    assert encode.left_out([Frame(colours()[..., :1], Metadata(icc=GREY))], "PNG") == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("chunks", "told"),
    [
        ({b"gAMA": struct.pack(">I", 100_000)}, True),  # linear light
        ({b"gAMA": struct.pack(">I", 45_455)}, False),
        ({b"sRGB": b"\0", b"gAMA": struct.pack(">I", 100_000)}, False),
        ({b"cICP": bytes([9, 16, 0, 1]), b"gAMA": struct.pack(">I", 100_000)}, False),
        ({}, False),
    ],
)
def test_a_gamma_that_is_left_out_is_told(dtype: type, chunks: dict[bytes, bytes], told: bool) -> None:
    (frame,) = decode.decode(with_chunks(encode.encode([Frame(colours(dtype=dtype))], "PNG"), chunks))[1]
    assert np.array_equal(frame.samples, colours(dtype=dtype))
    assert any("gamma chunk (1) is left out" in note for note in frame.notes) == told


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_names_the_colours_comes_through_or_is_told(dtype: type) -> None:
    """Pillow drops the chunk cICP; without it, a picture of BT.2100 is shown as sRGB."""
    named = bytes([9, 16, 0, 1])
    held = Metadata(xmp=b"<x/>")
    (frame,) = decode.decode(with_chunks(encode.encode([Frame(colours(dtype=dtype), held)], "PNG"), {b"cICP": named}))[
        1
    ]
    assert frame.metadata.cicp == named
    (again,) = decode.decode(encode.encode([frame], "PNG"))[1]
    assert (again.metadata.cicp, again.metadata.xmp) == (named, b"<x/>")
    assert encode.left_out([frame], "PNG") == ()
    (told,) = encode.left_out([frame], "TIFF")
    assert "(cICP) is left out" in told


@pytest.mark.parametrize("largest", [255, 65535])
def test_a_colour_map_of_eight_bits_is_not_black(tmp_path: Path, largest: int) -> None:
    """TIFF says 16 bits, old programs wrote 8."""
    plain = Image.fromarray(colours()).quantize(16)
    plain.save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    with Image.open(tmp_path / "a.tif") as file:
        numbers = file.tag_v2[320]
    stored = struct.pack(f"<{len(numbers)}H", *numbers)
    assert stored in data
    scaled = struct.pack(f"<{len(numbers)}H", *(number // 256 * (largest // 255) for number in numbers))
    (tmp_path / "a.tif").write_bytes(data.replace(stored, scaled))
    assert np.array_equal(only(tmp_path / "a.tif").samples, np.asarray(plain.convert("RGB")))
