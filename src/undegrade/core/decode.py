"""Picture files decoded into arrays with their metadata.

Pillow does the formats; 16-bit PNG and TIFF have their own modules beside this one. What happens to which kind of
file is told in docs/files.md.
"""

from __future__ import annotations

import io
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImagePalette, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from undegrade.core import exif, png16, tiff
from undegrade.core.alone import ALONE
from undegrade.core.errors import InputError, MissingExtraError, UndegradeError, UsageError
from undegrade.core.formats import Frame, Metadata

__all__ = ["MAX_PIXELS", "READABLE", "WAY_OUT", "check_pixels", "check_size", "decode", "opened", "pillow_formats"]

MAX_PIXELS = 300_000_000
"""Larger files are refused before anything is decoded; a few kilobytes can claim to be terapixels."""
WAY_OUT = "raise it with max_pixels (--max-pixels) if the file is to be trusted"
"""What to do about larger files, for messages."""
READABLE = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "HEIF")
SRGB_GAMMA = 0.45455
"""What a PNG file's gamma chunk says of sRGB, about 1 / 2.2."""
STARTS = {
    png16.SIGNATURE: "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
}
"""First bytes of files, by which those that cannot be opened are named."""


def decode(source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, Iterator[Frame]]:
    """The number of frames of a file, and the frames, each decoded when it is asked for.

    Args:
        source: path of the file, or its content.
        max_pixels: more pixels than this, all frames together, are refused.

    Raises:
        InputError: the file cannot be read; also raised while going through the frames.
        MissingExtraError: the format needs an optional package.
    """
    if source == "":
        raise InputError("'': an empty file name: give the path of a picture")
    name = "the picture" if isinstance(source, bytes) else str(source)
    with _in(name, max_pixels):
        count, read = _opened(source if isinstance(source, bytes) else _content(Path(source), max_pixels), max_pixels)
        if count == 1:
            return 1, _handed_over([read(0)])
    return count, (_read(name, max_pixels, read, index) for index in range(count))


def check_size(size: int, max_pixels: int) -> None:
    """Raises an InputError for a file of so many bytes that it cannot be a picture within the limit."""
    # No format needs more than 8 bytes for a pixel (16 bits of RGB and alpha) and some room for metadata.
    if size > max_pixels * 8 + (64 << 20):
        raise InputError(f"{size / 1e6:.0f} MB are too much for {max_pixels / 1e6:g} megapixels, the limit")


def _content(path: Path, max_pixels: int) -> bytes:
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # a pipe or a device is read for ever
        raise InputError("not a regular file")
    check_size(found.st_size, max_pixels)
    return path.read_bytes()


def _handed_over(frames: list[Frame]) -> Iterator[Frame]:
    """The frames, each let go of as it is handed over: what works on one needs the memory."""
    while frames:
        yield frames.pop()


def _read(name: str, max_pixels: int, read: Callable[[int], Frame], index: int) -> Frame:
    with _in(name, max_pixels):
        return read(index)


def _opened(data: bytes, max_pixels: int) -> tuple[int, Callable[[int], Frame]]:
    """Number of frames, and what decodes the one with a given index."""
    if tiff.is_tiff(data):
        pages = tiff.pages(data)
        check_pixels(sum(page.width * page.height for page in pages), max_pixels)
        chosen = [index for index, page in enumerate(pages) if not page.thumbnail]
        if not chosen and any(tiff.FURTHER in page.tags for page in pages):
            raise InputError("holds only a preview that is read (a camera's raw file?): develop it first")
        chosen = chosen or list(range(len(pages)))
        # A palette stays with Pillow when it goes on to a page that has none: such files are opened anew for each.
        mixed = len({page.photometric == tiff.PALETTE for page in pages}) > 1
        if len(chosen) < len(pages) or any(page.ours for page in pages) or mixed:
            told = ("a thumbnail in this file is left out",) if len(chosen) < len(pages) else ()
            return len(chosen), partial(_tiff_page, data, pages, chosen, told)
    elif data.startswith(png16.SIGNATURE):
        width, height, bits, *_ = png16.header(data)
        check_pixels(width * height, max_pixels)
        if bits == 16:
            moving = png16.is_animation(data)
            return 1, partial(_deep_png, data, ("the further frames of this animation are left out",) if moving else ())
    image = _open(data)
    if image.format == "PNG" and image.mode == "L" and "transparency" in image.info:
        bits = png16.header(data)[2]
        image.info["transparency"] *= 255 // (2**bits - 1)  # Pillow widens the samples, not this one
    check_pixels(image.width * image.height, max_pixels)  # counting frames may decode them
    count = 1 if image.format in ("MPO", "HEIF") else getattr(image, "n_frames", 1)
    check_pixels(image.width * image.height * count, max_pixels)
    notes = []
    first = int(count > 1 and bool(image.info.get("default_image")))
    if first:
        notes.append("the still picture that this file shows where animations are not known is left out")
    if image.format == "MPO" or (image.format == "HEIF" and getattr(image, "n_frames", 1) > 1):
        notes.append("the further pictures in this file (preview, depth or gain map) are left out")
    if (image.format == "AVIF" and _deep_avif(data)) or image.info.get("bit_depth", 8) > 8:  # the latter: HEIC
        notes.append(f"this {image.format} file holds more than 8 bits, of which 8 are read")
    return count - first, partial(_by_pillow, image, tuple(notes), count, first=first)


def opened(image: Image.Image, frame: int | None = None) -> Frame:
    """A PIL image that somebody else opened: the given frame of it, or the one that it stands at, where it stays.

    Raises:
        InputError: what is behind it cannot be read, or as ``from_pil``.
        UsageError: it has no such frame.
    """
    try:
        before = image.tell()
        if frame is not None:
            count = getattr(image, "n_frames", 1)
            if not 0 <= frame < count:
                raise UsageError(f"frame={frame}: the image holds {count}, counted from 0")
        try:
            image.seek(before if frame is None else frame)
            return from_pil(image)
        finally:
            image.seek(before)
    except UndegradeError:
        raise
    except Exception as error:  # decoders fail in nearly every way on damaged files
        raise InputError(f"the PIL image is damaged or closed ({' '.join(str(error).split())})") from error


def from_pil(image: Image.Image) -> Frame:
    """A PIL image as it stands (of an animation: the current frame), made upright.

    Raises:
        InputError: the mode holds no colours in 8 or 16 bits.
    """
    if 0 in image.size:
        raise InputError(f"a picture of {image.width} x {image.height} pixels: there is nothing in it")
    notes: list[str] = []
    unread = bool(getattr(image, "tile", None))
    stored = exif.orientation(image)  # Pillow itself turns TIFF pages when it reads their pixels
    image.load()  # some formats tell their metadata only now
    turned = exif.orientation(image)
    metadata = _metadata(image, notes, stored if turned == 1 else turned)
    if not unread:  # somebody may have shrunk it or drawn in it: a JPEG file's tables speak of its own pixels
        metadata = replace(metadata, quantisation=())
    mode, deep = image.mode, image.mode.startswith("I;16")
    if mode == "CMYK":
        image, note = _from_cmyk(image, metadata.icc)
        metadata = replace(metadata, icc=b"")
        notes.append(note)
    elif mode in ("YCbCr", "RGBX"):
        image = image.convert("RGB")
    elif mode in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa"):
        clear = image.has_transparency_data
        grey = mode in ("1", "L", "LA", "La")
        plain = ("LA" if clear else "L") if grey else ("RGBA" if clear else "RGB")
        image = image if mode == plain else image.convert(plain)
    elif not deep:
        raise InputError(f"pictures of mode {mode} are not handled: convert to 8 or 16 bits of grey or RGB")
    samples = np.asarray(image).astype(np.uint16) if deep else np.asarray(image)
    samples = samples.reshape(*samples.shape[:2], -1)
    return Frame(exif.upright(samples, turned), metadata, tuple(notes))


def _tiff_page(data: bytes, pages: list[tiff.Page], chosen: list[int], notes: tuple[str, ...], index: int) -> Frame:
    page = pages[chosen[index]]
    if not page.ours:
        return _by_pillow(_open(data), notes, len(chosen), chosen[index])
    samples = tiff.decode(data, page)
    block, turned, dpi = exif.of_tiff(data, page.tags)
    icc, xmp = (_raw(page.tags.get(tag, b"")) for tag in (exif.ICC, exif.XMP))
    metadata = Metadata("TIFF", block, icc, exif.upright_xmp(xmp), exif.iptc_of_tiff(page.tags), dpi, len(chosen))
    return Frame(exif.upright(samples, turned), metadata, notes)


def _raw(value: object) -> bytes:
    """A tag's bytes, which Pillow gives as text or in a tuple where the file names that type; empty for numbers."""
    value = value[0] if isinstance(value, tuple) else value
    value = value.encode("latin-1") if isinstance(value, str) else value
    return value if isinstance(value, bytes) else b""


def _deep_png(data: bytes, told: tuple[str, ...], index: int) -> Frame:
    samples = png16.decode(data)
    image, notes = _open(data), list(told)
    with suppress(OSError):
        image.load()  # some of the metadata may stand behind the pixels
    turned = exif.orientation(image)
    metadata = _metadata(image, notes, turned)
    return Frame(exif.upright(samples, turned), metadata, tuple(notes))


def _by_pillow(image: Image.Image, notes: tuple[str, ...], count: int, index: int, first: int = 0) -> Frame:
    """The frame with this index, counted from ``first``, of ``count`` in the file."""
    if first + index or count > 1:
        image.seek(first + index)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode in ("P", "PA"):
        colours = image.tag_v2[tiff.COLOUR_MAP]
        if max(colours) <= 255:  # written as if they had 8 bits, where TIFF says 16: Pillow would make black of them
            image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    for name in {"xmp", "icc_profile"} & set(image.info):  # Pillow itself fails on other types than bytes
        image.info[name] = _raw(image.info[name])
    frame = from_pil(image)
    return replace(frame, metadata=replace(frame.metadata, frames=count - first), notes=(*notes, *frame.notes))


def _open(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=[name for name in READABLE if name in pillow_formats()])
    except UnidentifiedImageError as error:
        phone = data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheim", b"ftypheis")
        if phone and "HEIF" not in pillow_formats():
            raise MissingExtraError("reading HEIC", "heif") from error
        if phone:
            raise InputError("the HEIC file is damaged") from error
        for start, kind in STARTS.items():
            if data.startswith(start):
                raise InputError(
                    f"this {kind} file is damaged or of a rare kind that is not read: convert it"
                ) from error
        what = "not a picture of a kind that is read (PNG, JPEG, WebP, TIFF, AVIF, BMP, GIF)" if data else "is empty"
        raise InputError(what) from error
    if image.format == "PNG" and (coding := png16.coding(data)):
        image.info["cicp"] = coding
    return image


@cache
def pillow_formats() -> frozenset[str]:
    """Names of the formats that Pillow can open here, the optional HEIF among them when it is installed."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return frozenset(Image.OPEN)


def _metadata(image: Image.Image, notes: list[str], turned: int) -> Metadata:
    """What is told of the upright picture, which the file stores in the orientation ``turned``."""
    info, kind = image.info, image.format or "PNG"
    block = exif.of_image(image, turned)
    if block is None:
        notes.append("the EXIF block is damaged and is left out")
    gamma = info.get("gamma", SRGB_GAMMA)  # of a PNG file; whatever else tells of colours goes before it
    if abs(gamma - SRGB_GAMMA) > 0.01 and not {"icc_profile", "srgb", "cicp"} & set(info):
        notes.append(
            f"the gamma chunk ({gamma:g}) is left out, so the result is shown as sRGB: convert it to sRGB first"
        )
    # Pillow makes 1 dot per inch of a TIFF file that tells no resolution.
    told = kind != "TIFF" or exif.X_RESOLUTION in getattr(image, "tag_v2", ())
    dpi = info.get("dpi") or exif.dpi(info.get("exif") or b"")
    dpi = dpi[::-1] if dpi and turned in exif.ACROSS else dpi
    tables: dict[int, list[int]] = getattr(image, "quantization", None) or {}
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    return Metadata(
        format="JPEG" if kind == "MPO" else kind,
        exif=block or b"",
        icc=info.get("icc_profile") or b"",
        xmp=exif.upright_xmp(xmp.encode() if isinstance(xmp, str) else xmp),
        iptc=exif.iptc(image),
        dpi=exif.plausible(dpi) if told and dpi else None,
        duration=info.get("duration"),
        loop=info.get("loop"),
        quantisation=tuple(tables.get(0, ())),
        cicp=info.get("cicp") or b"",
    )


def _from_cmyk(image: Image.Image, icc: bytes) -> tuple[Image.Image, str]:
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            turned = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass
        else:
            assert turned is not None  # only None when changed in place
            return turned, "CMYK was converted to sRGB through the file's colour profile"
    return image.convert("RGB"), "CMYK without a usable colour profile was converted to RGB by the plain formula"


def _deep_avif(data: bytes) -> bool:
    """Whether the AV1 configuration record (AV1-ISOBMFF, section 2.3.3) says 10 or 12 bits."""
    start = data.find(b"av1C", 0, 65536)
    return start >= 0 and len(data) > start + 6 and bool(data[start + 6] & 0x40)


def check_pixels(pixels: int, limit: int) -> None:
    """Refuses more pixels than the limit.

    Raises:
        InputError: there are more.
    """
    if pixels > limit:
        raise InputError(_too_large(pixels, limit))


def _too_large(pixels: int, limit: int) -> str:
    return f"{_mega(pixels)} megapixels, the limit is {_mega(limit)}: {WAY_OUT}"


def _mega(pixels: int) -> str:
    """Millions, to the pixel: rounded, a picture just above the limit would seem to be within it."""
    return f"{pixels / 1e6:f}".rstrip("0").rstrip(".")


@contextmanager
def _in(name: str, max_pixels: int) -> Iterator[None]:
    """Errors of reading the file ``name`` become one line; Pillow's limits are set to ours, its warnings aside."""
    with ALONE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Later frames of a GIF may widen its canvas; Pillow then refuses what is beyond twice its limit.
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, -(-max_pixels // 2)
        # Colour profiles and compressed texts of a megabyte and more do occur.
        text, PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
        try:
            yield
        except MissingExtraError:
            raise
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        except Image.DecompressionBombError as error:
            found = re.search(r"\d+", str(error))
            raise InputError(f"{name}: {_too_large(int(found[0]) if found else 0, max_pixels)}") from error
        except FileNotFoundError as error:
            raise InputError(f"{name}: there is no such file") from error
        except IsADirectoryError as error:
            raise InputError(f"{name}: is a folder: give a file, or the folder to the restore command") from error
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({error.strerror or error})") from error
        except MemoryError as error:
            raise InputError(f"{name}: too large for the memory of this machine") from error
        except Exception as error:  # decoders fail in nearly every way on damaged files
            raise InputError(f"{name}: the file is damaged ({' '.join(str(error).split())})") from error
        finally:
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = limit, text
