"""Picture files: metadata survives, orientation is applied once, nothing is lowered, damage is one line."""

from __future__ import annotations

import errno
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, IptcImagePlugin, PngImagePlugin, TiffImagePlugin

import undegrade
from undegrade.core import decode, encode, exif, image, png16
from undegrade.core.errors import InputError, MissingExtraError, UsageError
from undegrade.core.formats import FORMATS, Frame, Metadata

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" title="hello"/></x:xmpmeta>'


def colours(height: int = 21, width: int = 30, dtype: type = np.uint8) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    values = np.stack([x / width, y / height, (x + y) % 9 / 9], 2)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def photograph(path: Path, turned: int = 1, xmp: bytes = XMP) -> Path:
    """A file as a camera writes it, with orientation, date, place, resolution and profile."""
    picture = Image.fromarray(colours())
    exif = Image.Exif()
    exif[271], exif[272], exif[274], exif[33432] = "Maker", "Model", turned, "Somebody"
    exif[282], exif[283], exif[296] = 300.0, 300.0, 2
    exif[0x8769] = {36867: "2020:02:03 04:05:06", 33434: 0.004, 0xA002: 30, 0xA003: 21}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    if path.suffix == ".tif":
        exif[700] = xmp
    exif.load(exif.tobytes())
    options = dict(FORMATS[encode.format_of(path)].options)
    if path.suffix not in (".tif", ".png"):
        options["xmp"] = xmp
    picture.save(path, exif=exif, icc_profile=ICC, dpi=(300, 300), **options)
    return path


def restored(source: Path, target: Path) -> Image.Image:
    image.save(image.read(source), target)
    return Image.open(io.BytesIO(target.read_bytes()))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
@pytest.mark.parametrize("output", [".jpg", ".png", ".tif", ".webp", ".avif"])
def test_metadata_survives(tmp_path: Path, suffix: str, output: str) -> None:
    result = restored(photograph(tmp_path / f"a{suffix}"), tmp_path / f"b{output}")
    exif = result.getexif()
    assert exif[271] == "Maker"
    assert exif[33432] == "Somebody"
    assert exif.get(274, 1) == 1
    assert exif.get_ifd(0x8769)[36867] == "2020:02:03 04:05:06"
    assert float(exif.get_ifd(0x8769)[33434]) == pytest.approx(0.004)
    assert exif.get_ifd(0x8825)[1] == "N"
    assert [float(part) for part in exif.get_ifd(0x8825)[2]] == [48, 8, 0]
    assert result.info["icc_profile"] == ICC
    dpi = result.info.get("dpi") or (exif[282], exif[283])
    assert [float(part) for part in dpi] == pytest.approx([300, 300], abs=0.01)
    if suffix != ".png":  # Pillow wrote none there
        packet = result.info.get("xmp") or result.info["XML:com.adobe.xmp"]
        packet = packet.encode() if isinstance(packet, str) else packet
        assert b'title="hello"' in packet
        assert b"Orientation" not in packet


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_metadata_survives_in_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    source = image.read(photograph(tmp_path / "a.jpg"))
    deep = image.read(colours(dtype=np.uint16))
    deep = image.replace(deep, metadata=source.metadata)
    image.save(deep, tmp_path / f"b{suffix}")
    again = image.read(tmp_path / f"b{suffix}")
    assert again.dtype == "uint16"
    assert np.array_equal(image.load_rgb(tmp_path / f"b{suffix}"), colours(dtype=np.uint16))
    assert again.metadata.icc == ICC
    assert again.metadata.dpi == pytest.approx((300, 300), abs=0.01)
    assert b'title="hello"' in again.metadata.xmp
    with Image.open(tmp_path / f"b{suffix}") as other:  # another reader finds the same
        exif = other.getexif()
        assert exif[271] == "Maker"
        assert exif.get_ifd(0x8769)[36867] == "2020:02:03 04:05:06"
        assert exif.get_ifd(0x8825)[1] == "N"
        assert other.info["icc_profile"] == ICC
    image.save(again, tmp_path / f"c{suffix}")
    third = image.read(tmp_path / f"c{suffix}")
    assert third.metadata == again.metadata


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_orientation_is_applied_once(tmp_path: Path, turned: int, suffix: str) -> None:
    source = photograph(tmp_path / f"a{suffix}", turned, XMP.replace(b"6", str(turned).encode()))
    stored = Image.fromarray(colours())
    stored.getexif()[274] = turned
    upright = np.asarray(ImageOps.exif_transpose(stored))
    assert np.array_equal(image.load_rgb(source), upright)
    result = restored(source, tmp_path / f"b{suffix}")
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(result)), upright)
    assert np.array_equal(image.load_rgb(tmp_path / f"b{suffix}"), upright)
    part = result.getexif().get_ifd(0x8769)
    assert (part[0xA003], part[0xA002]) == upright.shape[:2]
    given = Image.open(source)
    assert image.read(given).size == upright.shape[:2]
    given.close()


@pytest.mark.parametrize("turned", [1, 3, 6, 8])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_orientation_in_sixteen_bits(tmp_path: Path, turned: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[274] = turned
    array = colours(dtype=np.uint16)
    if suffix == ".png":
        data = b"".join(png16.encode(array, {b"eXIf": exif.tobytes()[6:]}))
        (tmp_path / "a.png").write_bytes(data)
    else:
        with (tmp_path / "a.tif").open("wb") as file:
            encode.tiff.write(file, [(array, {274: turned})])
    turns = {1: array, 3: array[::-1, ::-1], 6: np.rot90(array, -1), 8: np.rot90(array)}
    assert np.array_equal(image.load_rgb(tmp_path / f"a{suffix}"), turns[turned])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".avif", ".bmp", ".jpg"])
def test_modes_and_formats(tmp_path: Path, mode: str, suffix: str) -> None:
    """Grey stays grey where the format knows grey; transparency stays or the format is refused."""
    source = Image.fromarray(np.dstack([colours(), np.full((21, 30), 99, np.uint8)]))
    source = (source if mode.endswith("A") else source.convert("RGB")).convert(mode)
    picture = image.read(source)
    assert picture.grey == (mode in ("1", "L", "LA"))
    if mode.endswith("A") and not FORMATS[encode.format_of(f"x{suffix}")].alpha:
        with pytest.raises(InputError, match="transparency"):
            image.save(picture, tmp_path / f"a{suffix}")
        return
    image.save(picture, tmp_path / f"a{suffix}")
    again = image.read(tmp_path / f"a{suffix}")
    if suffix not in (".webp", ".avif"):
        assert again.grey == picture.grey
    assert (again.alpha is None) == (picture.alpha is None)
    worst = (again.pixels - picture.pixels).abs().max().item()
    assert worst <= (0.2 if suffix in (".jpg", ".avif") else 0)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".bmp"])
def test_sixteen_bits_into_eight_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match="16: choose"):
        image.save(image.read(colours(dtype=np.uint16)), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_cmyk_through_its_profile_or_plainly(tmp_path: Path) -> None:
    source = Image.fromarray(colours()).convert("CMYK")
    source.save(tmp_path / "a.jpg", quality=100)
    picture = image.read(tmp_path / "a.jpg")
    assert "plain formula" in picture.notes[0]
    assert np.abs(np.asarray(image.like(picture, picture.pixels)).astype(int) - colours()).max() < 12
    source.save(tmp_path / "b.jpg", icc_profile=ICC)  # a profile of other channels cannot be used
    odd = image.read(tmp_path / "b.jpg")
    assert "plain formula" in odd.notes[0]
    assert odd.metadata.icc == b""


def test_grey_profile_is_not_put_into_colour() -> None:
    grey = ICC[:16] + b"GRAY" + ICC[20:]
    frame = Frame(colours(), Metadata(icc=grey))
    assert "icc_profile" not in encode.to_pil(frame).info
    assert encode.to_pil(Frame(colours()[..., :1], Metadata(icc=grey))).info["icc_profile"] == grey


def animation(count: int = 3) -> list[Image.Image]:
    return [Image.fromarray(np.roll(colours(), 5 * index, 1)) for index in range(count)]


@pytest.mark.parametrize(
    ("suffix", "output"),
    [(".gif", ".png"), (".gif", ".webp"), (".webp", ".webp"), (".png", ".png"), (".avif", ".avif")],
)
def test_animation_frame_by_frame(tmp_path: Path, suffix: str, output: str) -> None:
    first, *rest = animation()
    options = FORMATS[encode.format_of(f"a{suffix}")].options if suffix != ".gif" else {}
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=rest, duration=[40, 80, 120], loop=0, **options)
    pictures = list(image.frames(tmp_path / f"a{suffix}"))
    assert len(pictures) == 3
    image.save(pictures, tmp_path / f"b{output}")
    with Image.open(tmp_path / f"b{output}") as result:
        assert result.n_frames == 3
        durations = []
        for index in range(3):
            result.seek(index)
            result.load()
            durations.append(result.info["duration"])
        assert durations == pytest.approx([40, 80, 120])
    again = list(image.frames(tmp_path / f"b{output}"))
    for before, after in zip(pictures, again, strict=True):
        worst = (before.pixels - after.pixels).abs().max().item()
        assert worst <= (0.2 if output == ".avif" else 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pages_of_a_tiff(tmp_path: Path, dtype: type) -> None:
    pages = [image.read(colours(10 + 3 * index, 12, dtype)) for index in range(3)]
    image.save(pages, tmp_path / "a.tif")
    again = list(image.frames(tmp_path / "a.tif"))
    assert [page.size for page in again] == [(10, 12), (13, 12), (16, 12)]
    assert all(page.dtype == np.dtype(dtype).name for page in again)
    for before, after in zip(pages, again, strict=True):
        assert (before.pixels == after.pixels).all()
    with pytest.raises(InputError, match=r"holds 3 frames: choose one in Python with frame=0\.\.2"):
        image.read(tmp_path / "a.tif")
    assert image.read(tmp_path / "a.tif", frame=1).size == (13, 12)
    with pytest.raises(UsageError, match="frame=3"):
        image.read(tmp_path / "a.tif", frame=3)
    with pytest.raises(InputError, match="choose"):
        image.save(again, tmp_path / "b.jpg")
    with pytest.raises(InputError, match=r"choose \.tif"):
        image.save(again, tmp_path / "b.png")


def bomb(width: int, height: int, bits: int) -> bytes:
    """A PNG of a few bytes that claims to be large."""
    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(5000))), (b"IEND", b"")]
    return png16.SIGNATURE + b"".join(png16._chunk(name, content) for name, content in chunks)


@pytest.mark.parametrize("bits", [8, 16])
def test_bombs_are_refused_before_decoding(bits: int) -> None:
    with pytest.raises(InputError, match="10000 megapixels, the limit is 300"):
        image.read(bomb(100_000, 100_000, bits))
    with pytest.raises(InputError, match="limit is 0"):
        image.read(bomb(30, 30, bits), max_pixels=800)


def test_pillow_own_limit_does_not_stand_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(colours()).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert image.read(tmp_path / "a.png").size == (21, 30)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp", ".avif", "16.png", "16.tif"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_truncated_files_are_one_line(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    image.save(image.read(colours(200, 300, np.uint16 if "16" in suffix else np.uint8)), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError) as caught:
        list(image.frames(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_noise_in_files_never_escapes_as_another_error(tmp_path: Path) -> None:
    """Flipped bytes either still decode or are an InputError."""
    generator = np.random.default_rng(0)
    for suffix in (".jpg", ".png", ".tif", ".webp", "16.png", "16.tif"):
        path = tmp_path / f"a{suffix}"
        if "16" in suffix:
            image.save(image.read(colours(dtype=np.uint16)), path)
        else:
            photograph(path)
        good = path.read_bytes()
        refused = 0
        for _ in range(60):
            data = bytearray(good)
            for place in generator.integers(0, min(len(data), 700), 4):
                data[place] ^= int(generator.integers(1, 256))
            try:
                list(image.frames(bytes(data), max_pixels=10**6))
            except InputError:
                refused += 1
        assert refused > 0


def test_text_named_png(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("this is no picture")
    with pytest.raises(InputError, match=r"a\.png: not a picture"):
        image.read(tmp_path / "a.png")


def test_deep_avif_is_noted(tmp_path: Path) -> None:
    """Pillow reads 10 and 12 bits as 8 without a word; the word comes from the file's own configuration record."""
    image.save(image.read(colours()), tmp_path / "a.avif")
    data = (tmp_path / "a.avif").read_bytes()
    assert image.read(data).notes == ()
    place = data.index(b"av1C") + 6
    claimed = data[:place] + bytes([data[place] | 0x40]) + data[place + 1 :]
    assert decode._deep_avif(claimed)
    assert not decode._deep_avif(data)


def test_heic(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    assert "HEIF" in decode.pillow_formats()
    red, green = (Image.new("RGB", (64, 64), colour) for colour in ("red", "lime"))
    red.save(tmp_path / "two.HIF", "HEIF", save_all=True, append_images=[green], primary_index=1)
    picture = image.read(tmp_path / "two.HIF")  # without EXIF, which is no damage
    assert picture.notes == ("the further pictures in this file (preview, depth or gain map) are left out",)
    assert picture.pixels.mean((1, 2)).round().tolist() == [0, 1, 0]
    (tmp_path / "cut.heic").write_bytes((tmp_path / "two.HIF").read_bytes()[:60])
    with pytest.raises(InputError, match="the HEIC file is damaged"):
        image.read(tmp_path / "cut.heic")


def test_heic_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    for module in (decode, encode):
        monkeypatch.setattr(module, "pillow_formats", lambda: frozenset(Image.OPEN) - {"HEIF"})
    with pytest.raises(MissingExtraError, match=r"undegrade\[heif\]"):
        image.read(tmp_path / "a.heic")
    with pytest.raises(MissingExtraError, match=r"undegrade\[heif\]"):
        image.save(image.read(colours()), tmp_path / "b.heic")


def test_folder_and_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(InputError) as caught:
            image.read(path)
        assert str(path) in str(caught.value)


def test_unknown_suffix_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.gif"):
        image.save(image.read(colours()), tmp_path / "a.gif")


def test_too_wide_for_a_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="WEBP holds 16383 pixels a side"):
        image.save(image.read(np.zeros((1, 20_000, 3), np.uint8)), tmp_path / "a.webp")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("tag", "name"), [(270, "ImageDescription"), (37500, "MakerNote")])
def test_exif_too_long_for_jpeg_costs_its_longest_tags_alone(tmp_path: Path, tag: int, name: str) -> None:
    """The work that was done is not lost for it."""
    entries, long = Image.Exif(), "x" * 70_000
    entries[272] = "camera"
    entries[0x8769] = {36867: "2020:01:01 00:00:00"} | ({tag: long.encode()} if tag == 37500 else {})
    if tag == 270:
        entries[tag] = long
    frame = Frame(colours(), Metadata(exif=entries.tobytes()))
    encode.write([frame], tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as file:
        kept = file.getexif()
        assert (kept[272], dict(kept.get_ifd(0x8769))) == ("camera", {36867: "2020:01:01 00:00:00"})
        assert tag not in kept
    (told,) = encode.left_out([frame], "JPEG")
    assert told == f"of EXIF, {name} is left out: too long for JPEG, .png and .tif hold it"
    assert encode.left_out([frame], "PNG") == ()


def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"before")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match="No space left"):
        image.save(image.read(colours()), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"before"


def test_stopping_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        image.save(image.read(colours()), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_no_disk_takes_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.png: cannot be written"):
        image.save(image.read(colours()), tmp_path / f"{'x' * 300}.png")
    assert not list(tmp_path.iterdir())


def test_devices_are_not_replaced() -> None:
    with pytest.raises(InputError, match=r"\.png|kind"):
        image.save(image.read(colours()), "/dev/full.png/a.png")


def test_phone_files_with_several_pictures(tmp_path: Path) -> None:
    first, *rest = animation()
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=rest, quality=95)
    picture = image.read(file.getvalue())
    assert "left out" in picture.notes[0]
    assert picture.metadata.format == "JPEG"


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize("output", [".jpg", ".png", ".tif", ".webp"])
def test_text_beyond_ascii_keeps_its_bytes(tmp_path: Path, suffix: str, output: str) -> None:
    rights = "© 2024 Jürgen Müller".encode()
    entries = Image.Exif()
    entries[33432] = rights
    source = tmp_path / f"a{suffix}"
    Image.fromarray(colours()).save(source, exif=entries)
    result = restored(source, tmp_path / f"b{output}")
    assert result.getexif()[33432].encode("latin-1") == rights
    assert rights in (tmp_path / f"b{output}").read_bytes()


def test_pages_keep_their_own_metadata(tmp_path: Path) -> None:
    grey = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:16] + b"GRAY" + ICC[20:]
    first = Frame(colours(), Metadata("TIFF", icc=ICC, dpi=(300.0, 300.0), frames=2))
    second = Frame(colours()[..., :1], Metadata("TIFF", icc=grey, dpi=(600.0, 600.0), frames=2))
    encode.write([first, second], tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as file:
        told = []
        for index in range(2):
            file.seek(index)
            told.append((file.mode, float(file.info["dpi"][0]), file.info["icc_profile"]))
    assert told == [("RGB", 300.0, ICC), ("L", 600.0, grey)]


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_xmp_in_utf_16_becomes_utf_8(tmp_path: Path, order: str, mark: str, suffix: str) -> None:
    text = '<?xml version="1.0" encoding="UTF-16"?><r tiff:Orientation="6" title="h\u00e9llo \u96ea" encoding="own"/>'
    told = PngImagePlugin.PngInfo()
    told.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + (mark + text).encode(order))
    Image.fromarray(colours()).save(tmp_path / "a.png", pnginfo=told)
    image.save(image.read(tmp_path / "a.png"), tmp_path / f"b{suffix}")
    expected = '<?xml version="1.0"?><r title="h\u00e9llo \u96ea" encoding="own"/>'
    assert image.read(tmp_path / f"b{suffix}").metadata.xmp.decode() == expected


@pytest.mark.parametrize("quote", ['"', "'"])
def test_no_orientation_stays_in_xmp(tmp_path: Path, quote: str) -> None:
    packet = XMP.replace(b'"6"', f"{quote}6{quote}".encode())
    result = restored(photograph(tmp_path / "a.jpg", turned=6, xmp=packet), tmp_path / "b.jpg")
    assert b"Orientation" not in result.info["xmp"]
    assert b"hello" in result.info["xmp"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_an_extra_sample_of_tiff_is_alpha(tmp_path: Path, dtype: type, channels: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    samples = np.concatenate([colours(dtype=dtype)[..., : channels - 1], colours(dtype=dtype)[..., 1:2]], 2)
    kind = "rgb" if channels == 4 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric=kind, extrasamples=[0], planarconfig="contig")
    (frame,) = decode.decode(tmp_path / "a.tif")[1]
    assert np.array_equal(frame.samples, samples)


def test_a_thumbnail_page_is_left_out_and_told(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    deep = colours(dtype=np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(deep, photometric="rgb")
        file.write(colours(7, 10), photometric="rgb", subfiletype=1)
    count, frames = decode.decode(tmp_path / "a.tif")
    (frame,) = frames
    assert count == 1
    assert np.array_equal(frame.samples, deep)
    assert "thumbnail" in frame.notes[0]


def test_pages_of_different_depth(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(colours(dtype=np.uint16), photometric="rgb")
        file.write(colours(), photometric="rgb")
    count, frames = decode.decode(tmp_path / "a.tif")
    assert [frame.samples.dtype for frame in frames] == [np.uint16, np.uint8]
    assert count == 2


@pytest.mark.parametrize("loop", [None, 0, 3])
def test_an_animation_plays_as_often_as_before(tmp_path: Path, loop: int | None) -> None:
    frames = [Image.fromarray(colours() // part) for part in (1, 2)]
    told = {} if loop is None else {"loop": loop}
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=80, **told)
    encode.write(list(decode.decode(tmp_path / "a.gif")[1]), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as file:
        assert file.info["loop"] == (1 if loop is None else loop)


@pytest.mark.parametrize("resolution", [(0, 0), (300, 0)])
def test_a_resolution_that_is_none_is_left_out(resolution: tuple[int, int]) -> None:
    entries = Image.Exif()
    entries[282] = entries[283] = TiffImagePlugin.IFDRational(*resolution)
    entries[296] = 2
    assert exif.dpi(entries.tobytes()) is None


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_frame_that_tells_no_time_leaves_the_others_theirs(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(colours() // part) for part in (1, 2, 3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[0, 80, 240])
    encode.write(list(decode.decode(tmp_path / "a.gif")[1]), tmp_path / f"b{suffix}")
    times = [frame.metadata.duration for frame in decode.decode(tmp_path / f"b{suffix}")[1]]
    assert times == [0, 80, 240]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("down", [(0, 0), (1, 0), (1 << 31, 1)])
def test_a_resolution_that_only_one_side_has_hinders_nothing(
    tmp_path: Path, down: tuple[int, int], dtype: type
) -> None:
    Image.fromarray(colours(dtype=dtype)[..., 0]).save(tmp_path / "a.tif", dpi=(300, 7))
    data = (tmp_path / "a.tif").read_bytes()
    assert data.count(struct.pack("<II", 7, 1)) == 1
    (frame,) = decode.decode(data.replace(struct.pack("<II", 7, 1), struct.pack("<II", *down)))[1]
    assert frame.metadata.dpi is None
    for kind in ("PNG", "TIFF"):
        assert next(decode.decode(encode.encode([frame], kind))[1]).metadata.dpi is None


@pytest.mark.parametrize("dpi", [(300, 150), (100_000, 100_000)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF", "BMP"])
def test_the_resolution_is_kept_alone(kind: str, dpi: tuple[int, int]) -> None:
    (kept,) = decode.decode(encode.encode([Frame(colours(), Metadata(dpi=dpi))], kind))[1]
    assert kept.metadata.dpi == pytest.approx(dpi, rel=1e-4)
    assert kept.metadata.exif == b""


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_clear_level_of_a_grey_png_of_few_bits(bits: int) -> None:
    levels = np.arange(8) % 2**bits
    row = int("".join(f"{level:0{bits}b}" for level in levels), 2).to_bytes(bits)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0),
        b"tRNS": struct.pack(">H", 1),
        b"IDAT": zlib.compress(b"\0" + row),
        b"IEND": b"",
    }
    data = png16.SIGNATURE + b"".join(chunk(kind, content) for kind, content in chunks.items())
    frame = next(decode.decode(data)[1])
    assert np.array_equal(frame.samples[0, :, 0], levels * (255 // (2**bits - 1)))
    assert np.array_equal(frame.samples[0, :, 1], np.where(levels == 1, 0, 255))


def test_exif_whose_directory_lies_nowhere_is_told(tmp_path: Path) -> None:
    data = photograph(tmp_path / "a.jpg").read_bytes()
    start = data.index(b"Exif\0\0") + 6
    assert not next(decode.decode(data)[1]).notes
    frame = next(decode.decode(data[: start + 4] + b"\x7f" * 4 + data[start + 8 :])[1])
    assert frame.metadata.exif == b""
    assert frame.notes == ("the EXIF block is damaged and is left out",)


def test_big_tiff_of_the_other_byte_order_is_one_line() -> None:
    with pytest.raises(InputError, match="BigTIFF with the high byte first"):
        decode.decode(b"MM\0+" + struct.pack(">HHQQ", 8, 0, 16, 0))


def test_palette_pages_among_others(tmp_path: Path) -> None:
    colours = Image.new("RGB", (9, 7), (200, 100, 50))
    pages = [colours, colours.convert("L"), colours.convert("P"), colours.convert("RGBA")]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    found = list(image.frames(tmp_path / "a.tif"))
    assert [(page.pixels.shape[0], page.alpha is not None) for page in found] == [
        (3, False),
        (1, False),
        (3, False),
        (3, True),
    ]


@pytest.mark.parametrize("moving", [1, 3])
def test_the_still_picture_of_an_animation_is_left_out_and_told(tmp_path: Path, moving: int) -> None:
    still, *rest = [Image.new("RGB", (9, 7), (60 * index, 0, 0)) for index in range(moving + 1)]
    still.save(tmp_path / "a.png", save_all=True, append_images=rest, default_image=True, duration=80, loop=2)
    pictures = list(image.frames(tmp_path / "a.png"))
    assert [round(float(picture.pixels[0, 0, 0]) * 255) for picture in pictures] == [60, 120, 180][:moving]
    assert "still picture" in pictures[0].notes[0]
    assert pictures[0].metadata.frames == moving
    assert [picture.metadata.duration for picture in pictures] == [80] * moving


@pytest.mark.parametrize("output", [".png", ".tif", ".jpg", ".webp"])
def test_a_tiff_without_a_resolution_gets_none(tmp_path: Path, output: str) -> None:
    Image.fromarray(colours()).save(tmp_path / "a.tif")
    picture = image.read(tmp_path / "a.tif")
    assert picture.metadata.dpi is None
    image.save(picture, tmp_path / f"b{output}")
    assert image.read(tmp_path / f"b{output}").metadata.dpi is None


@pytest.mark.parametrize("tagged", ["bytes", "numbers"])
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_captions_survive_where_there_is_a_place(tmp_path: Path, suffix: str, tagged: str) -> None:
    caption = b"\x1c\x02\x78\x00\x07caption"
    Image.fromarray(colours()).save(tmp_path / "a.tif", tiffinfo={33723: caption})
    if tagged == "numbers":  # as some programs have it
        data = bytearray((tmp_path / "a.tif").read_bytes())
        entry = data.index(struct.pack("<HHI", 33723, 7, 12))
        data[entry + 2 : entry + 8] = struct.pack("<HI", 4, 3)
        (tmp_path / "a.tif").write_bytes(data)
    picture = image.read(tmp_path / "a.tif")
    assert picture.metadata.iptc == caption
    image.save(picture, tmp_path / f"b{suffix}")
    assert image.read(tmp_path / f"b{suffix}").metadata.iptc == caption
    with Image.open(tmp_path / f"b{suffix}") as opened:
        assert IptcImagePlugin.getiptcinfo(opened) == {(2, 120): b"caption"}
    frame = image.to_frame(picture)
    assert encode.left_out([frame], encode.format_of(f"b{suffix}")) == ()
    assert "PNG has no place" in encode.left_out([frame], "PNG")[0]


def test_captions_too_long_for_a_segment_are_left_out() -> None:
    assert exif.iptc_segment(b"x" * 65600) == b""
    (told,) = encode.left_out([Frame(colours(), Metadata(iptc=b"x" * 65600))], "JPEG")
    assert "too long for JPEG, .tif holds it" in told


@pytest.mark.parametrize(("length", "kept"), [(65504, True), (65505, False)])
def test_an_xmp_packet_too_long_for_a_segment_is_left_out(length: int, kept: bool) -> None:
    frame = Frame(colours(), Metadata(xmp=b"x" * length))
    (found,) = decode.decode(encode.encode([frame], "JPEG"))[1]
    assert bool(found.metadata.xmp) == kept
    assert bool(encode.left_out([frame], "JPEG")) != kept
    assert encode.left_out([frame], "PNG") == ()


def test_a_jpeg_that_was_changed_in_memory_has_no_tables(tmp_path: Path) -> None:
    Image.fromarray(colours(64, 64)).save(tmp_path / "a.jpg", quality=20)
    assert image.read(Image.open(tmp_path / "a.jpg")).metadata.quantisation
    with Image.open(tmp_path / "a.jpg") as opened:
        opened.thumbnail((20, 20))
        assert image.read(opened).metadata.quantisation == ()
    picture = image.read(tmp_path / "a.jpg")
    assert picture.with_pixels(1 - picture.pixels).metadata.quantisation == ()


def test_one_frame_of_several(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), level) for level in (10, 200)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"holds 2 frames: choose one in Python with frame=0\.\.1"):
        undegrade.degrade(tmp_path / "a.tif", "dejpeg")
    spoilt = undegrade.degrade(tmp_path / "a.tif", "dejpeg", quality=90, frame=1)
    assert np.asarray(spoilt).mean() > 150
    restored = undegrade.restore(tmp_path / "a.tif", "dejpeg", frame=1)
    assert np.asarray(restored).mean() > 150


def test_times_that_pages_do_not_hold_are_told() -> None:
    frame = Frame(np.zeros((4, 4, 3), np.uint8), Metadata(duration=40.0))
    assert encode.left_out([frame], "TIFF") == (
        "the times of an animation are left out: TIFF holds pages, .png and .webp hold times",
    )
    assert encode.left_out([frame], "PNG") == ()


def test_exif_of_many_long_tags_is_left_out_of_jpeg(tmp_path: Path) -> None:
    entries = Image.Exif()
    entries[0x8769] = dict.fromkeys(range(50000, 50100), b"x" * 5000)
    frame = Frame(colours(), Metadata(exif=entries.tobytes()))
    encode.write([frame], tmp_path / "a.jpg")
    assert image.read(tmp_path / "a.jpg").metadata.exif == b""
    assert encode.left_out([frame], "JPEG")[0].startswith("of EXIF, everything is left out")
