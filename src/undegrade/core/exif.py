"""EXIF and its neighbours: orientation applied once, the rest carried from the input file to the output file."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from undegrade.core.formats import LARGEST_DPI, Samples

__all__ = [
    "ACROSS",
    "ICC",
    "XMP",
    "X_RESOLUTION",
    "dpi",
    "iptc",
    "iptc_of_tiff",
    "iptc_segment",
    "of_image",
    "of_tiff",
    "orientation",
    "plausible",
    "png_chunks",
    "resized",
    "shortened",
    "tiff_directory",
    "tiff_tags",
    "upright",
    "upright_xmp",
]

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
EXIF_PART, GPS_PART, INTEROPERABILITY, PIXEL_WIDTH, PIXEL_HEIGHT = 0x8769, 0x8825, 0xA005, 0xA002, 0xA003
ACROSS = (5, 6, 7, 8)
"""Orientations in which the stored rows are columns of the picture."""
MOST_GONE = 16
"""So many tags are left out one by one; a block that is still too long is left out as a whole."""
XMP, ICC, IPTC = 700, 34675, 33723
IPTC_RESOURCE = 0x0404
INCH, CENTIMETRE = 2, 3
RESOLUTION = {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}
DESCRIPTIVE = {
    *(269, 270, 271, 272, 285, 305, 306, 315, 316, 33432),  # names, description, camera, software, date, author, rights
    *(18246, 18249, 40091, 40092, 40093, 40094, 40095),  # rating and Windows' title, comment, author, keywords, subject
    *RESOLUTION,
}
"""Tags of the main directory that speak of the photograph. The others (strips, predictor, thumbnail, orientation ...)
speak of how the input file stores it and would be wrong in the output."""
UNDEFINED = {37121, 37500, 37510, 41728, 41729, 41995}
"""Tags of the EXIF part of the type UNDEFINED (EXIF 2.32, section 4.6.5), which Pillow would write as small numbers:
components, maker's note, user's comment, kinds of source and scene, settings of the device."""


def of_image(image: Image.Image, turned: int) -> bytes | None:
    """A PIL image's EXIF block for the upright picture, orientation and storage tags left out.

    Args:
        image: as it was opened.
        turned: the orientation in which its file stores it.

    Returns:
        Empty if it has none, None if it is damaged.
    """
    try:
        return None if _astray(image.info.get("exif") or b"") else _block(image.getexif(), turned)
    except Exception:  # Pillow raises nearly anything on damaged directories
        return None


def _astray(block: bytes) -> bool:
    """Whether the main directory is said to begin beyond the block's end, where Pillow finds no entries."""
    block = block.removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if block[:2] == b"II" else "big"
    return bool(block) and int.from_bytes(block[4:8], order) + 2 > len(block)


def of_tiff(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2) -> tuple[bytes, int, tuple[float, float] | None]:
    """EXIF block, orientation and resolution of a TIFF page."""
    block = Image.Exif()
    block.endian = "<" if tags.prefix == b"II" else ">"
    block.bigtiff = b"+" in data[2:4]
    try:
        block.load_from_fp(io.BytesIO(data), tags.offset)
        turned, resolution = _turn(block.get(ORIENTATION)), _resolution(block)
        return _block(block, turned), turned, resolution[::-1] if resolution and turned in ACROSS else resolution
    except Exception:
        return b"", _turn(tags.get(ORIENTATION)), None


def iptc(image: Image.Image) -> bytes:
    """The IPTC records of a PIL image, from the TIFF tag or Photoshop's resources of a JPEG file."""
    tags, resources = getattr(image, "tag_v2", None), image.info.get("photoshop")
    if tags is not None:
        return iptc_of_tiff(tags)
    found = resources.get(IPTC_RESOURCE, b"") if isinstance(resources, dict) else b""
    return found if isinstance(found, bytes) else b""


def iptc_of_tiff(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bytes:
    """The IPTC records of a TIFF page."""
    # As stored: some programs say that they are 32-bit numbers, of which Pillow would keep the first.
    stored: bytes = tags._tagdata.get(IPTC, b"")
    return stored


def iptc_segment(records: bytes) -> bytes:
    """A JPEG file's APP13 segment with IPTC records as Photoshop's resource; empty if they are too long for one."""
    size = struct.pack(">I", len(records))
    body = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">H", IPTC_RESOURCE) + b"\0\0" + size + records
    body += b"\0" * (len(records) % 2)
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body if len(body) < 65534 else b""


def orientation(image: Image.Image) -> int:
    """1 to 8, as in EXIF 2.32, section 4.6.4; 1 is upright."""
    try:
        return _turn(image.getexif().get(ORIENTATION))
    except Exception:
        return 1


def dpi(block: bytes) -> tuple[float, float] | None:
    """The resolution that an EXIF block tells, as the file stores the picture."""
    entries = Image.Exif()
    try:
        entries.load(block)
        return _resolution(entries)
    except Exception:  # as in of_image
        return None


def plausible(resolution: tuple[float, float]) -> tuple[float, float] | None:
    """A resolution that a picture can have, across and down; None for all others."""
    across, down = map(float, resolution)
    return (across, down) if 0 < across <= LARGEST_DPI and 0 < down <= LARGEST_DPI else None


def upright(samples: Samples, turned: int) -> Samples:
    """(H, W, C) samples stored with an EXIF orientation, turned upright."""
    if turned in ACROSS:
        samples = samples.transpose(1, 0, 2)
    if turned in (3, 4, 7, 8):
        samples = samples[::-1]
    if turned in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return cast("Samples", np.ascontiguousarray(samples))


def upright_xmp(packet: bytes) -> bytes:
    """An XMP packet, in UTF-8, without the orientation, which is applied to the pixels."""
    for order, start in (("le", rb"(\xff\xfe)?<\0[^\0]"), ("be", rb"(\xfe\xff)?\0<\0[^\0]")):
        if re.match(start, packet):  # not every format takes UTF-16, and readers go by what the packet itself names
            packet = packet.decode(f"utf-16-{order}", "replace").removeprefix("\ufeff").encode()
            packet = re.sub(rb"""(<\?[^>]*?)\s+encoding=(["'])[^"'>]*\2""", rb"\1", packet)
    packet = re.sub(rb"""\s*tiff:Orientation=(["'])[0-9]\1""", b"", packet)
    return re.sub(rb"<tiff:Orientation>[0-9]</tiff:Orientation>", b"", packet)


def resized(block: bytes, width: int, height: int, resolution: tuple[float, float] | None) -> bytes:
    """The EXIF block for a picture of this size; with ``resolution`` for formats that keep it nowhere else."""
    if not block and not resolution:
        return b""
    tags = _loaded(block)
    part = tags.get(EXIF_PART, {})
    part |= {tag: value for tag, value in ((PIXEL_WIDTH, width), (PIXEL_HEIGHT, height)) if tag in part}
    if resolution:
        tags |= {X_RESOLUTION: resolution[0], Y_RESOLUTION: resolution[1], RESOLUTION_UNIT: INCH}
    return _written(tags)


def shortened(block: bytes, most: int) -> tuple[bytes, tuple[str, ...]]:
    """An EXIF block of at most so many bytes, and the names of the tags that had to go: the longest ones."""
    tags, gone = _loaded(block) if len(block) > most else {}, list[str]()
    while len(block) > most and tags:
        parts = [tags, *(tags[part] for part in (EXIF_PART, GPS_PART) if part in tags)]
        found = [(len(_plain(value)), tag, part) for part in parts for tag, value in part.items() if value not in parts]
        if not found or len(gone) == MOST_GONE:
            return b"", ("everything",)
        _, tag, part = max(found, key=lambda entry: entry[0])
        del part[tag]
        gone.append(ExifTags.TAGS.get(tag, f"tag {tag}"))
        block = _written(tags)
    return block, tuple(gone)


def _plain(value: Any) -> bytes | str:
    """A tag's value in a form that is about as long as in a file."""
    return value if isinstance(value, bytes | str) else repr(value)


def tiff_tags(
    block: bytes, icc: bytes, xmp: bytes, records: bytes, resolution: tuple[float, float] | None
) -> dict[int, Any]:
    """Everything that is told about a picture, ``records`` of IPTC among it, as TIFF tags."""
    tags = _loaded(block)
    if resolution:
        tags |= {X_RESOLUTION: resolution[0], Y_RESOLUTION: resolution[1], RESOLUTION_UNIT: INCH}
    return tags | {tag: value for tag, value in ((ICC, icc), (XMP, xmp), (IPTC, records)) if value}


def tiff_directory(tags: Mapping[int, Any]) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Tags in the form in which Pillow writes them."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        if tag in (XMP, ICC, IPTC):
            directory.tagtype[tag] = TiffTags.BYTE if tag == XMP else TiffTags.UNDEFINED
        elif tag in (EXIF_PART, GPS_PART):
            directory.tagtype[tag] = TiffTags.LONG
        directory[tag] = _stored(value)
    return directory


def png_chunks(
    block: bytes, icc: bytes, xmp: bytes, cicp: bytes, resolution: tuple[float, float] | None
) -> dict[bytes, bytes]:
    """Everything that is told about a picture, as PNG chunks (specification, section 11.3)."""
    chunks = {b"cICP": cicp} if cicp else {}
    if icc:
        chunks[b"iCCP"] = b"ICC profile\0\0" + zlib.compress(icc)
    if resolution:
        chunks[b"pHYs"] = struct.pack(">IIB", *(round(number / 0.0254) for number in resolution), 1)
    if block:
        chunks[b"eXIf"] = block.removeprefix(b"Exif\0\0")
    if xmp:
        chunks[b"iTXt"] = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
    return chunks


class _Text(str):
    """What a file says, each byte read as the letter of that number: written as the bytes that it was.

    EXIF's text is ASCII, but cameras and programs put UTF-8 there, of which Pillow would make question marks.
    """

    def encode(self, encoding: str = "latin-1", errors: str = "replace") -> bytes:
        """The bytes; ASCII, which Pillow asks for, is part of Latin-1."""
        return super().encode("latin-1", "replace")


def _block(entries: Image.Exif, turned: int) -> bytes:
    tags = _tags(entries)
    if turned in ACROSS and {X_RESOLUTION, Y_RESOLUTION} <= set(tags):
        tags[X_RESOLUTION], tags[Y_RESOLUTION] = tags[Y_RESOLUTION], tags[X_RESOLUTION]
    kept = {tag: value for tag, value in tags.items() if tag in DESCRIPTIVE or tag in (EXIF_PART, GPS_PART)}
    return _written(kept) if set(kept) - RESOLUTION else b""


def _loaded(block: bytes) -> dict[int, Any]:
    """The tags of an EXIF block."""
    entries = Image.Exif()
    if block:
        entries.load(block)
    return _tags(entries)


def _tags(entries: Image.Exif) -> dict[int, Any]:
    """The main directory, with the parts of EXIF and GPS as dicts."""
    tags = {tag: value for tag, value in entries.items() if tag not in (EXIF_PART, GPS_PART)}
    for tag in (EXIF_PART, GPS_PART):
        value = entries.get(tag)  # a dict when it was set by hand
        part = dict(value if isinstance(value, dict) else entries.get_ifd(tag))
        if tag == EXIF_PART and isinstance(part.get(INTEROPERABILITY), int):
            part[INTEROPERABILITY] = dict(entries.get_ifd(INTEROPERABILITY))
        if part:
            tags[tag] = part
    return tags


def _written(tags: Mapping[int, Any]) -> bytes:
    entries = Image.Exif()
    for tag, value in tags.items():
        entries[tag] = _stored(value)
    return entries.tobytes()


def _stored(value: Any) -> Any:
    """A tag's value with all text in it as ``_Text``, and untyped bytes as what Pillow leaves untyped."""
    if isinstance(value, str):
        return _Text(value)
    if isinstance(value, Mapping):
        untyped = {tag for tag in UNDEFINED & set(value) if isinstance(value[tag], bytes)}
        return {tag: (bytearray(part),) if tag in untyped else _stored(part) for tag, part in value.items()}
    return tuple(map(_stored, value)) if isinstance(value, tuple) else value


def _turn(value: Any) -> int:
    return value if value in range(1, 9) else 1


def _resolution(entries: Image.Exif) -> tuple[float, float] | None:
    across, down = entries.get(X_RESOLUTION), entries.get(Y_RESOLUTION)
    factor = {INCH: 1.0, CENTIMETRE: 2.54}.get(entries.get(RESOLUTION_UNIT, INCH))
    try:
        return plausible((float(across or 0) * (factor or 0), float(down or 0) * (factor or 0)))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
