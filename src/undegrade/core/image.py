"""Pictures in and out: files, bytes, PIL, arrays and tensors become one ``Picture`` and come back as the same kind.

    picture = read(source)                  # any kind
    restored = f(picture.pixels)            # (1 or 3, H, W) float32 in 0..1
    result = like(picture, restored)        # the kind, depth, alpha and metadata of the source

8 and 16 bits are rounded once, in ``like`` and ``save``; floats are neither rounded nor clipped here.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from undegrade.core import decode, encode
from undegrade.core.decode import MAX_PIXELS
from undegrade.core.errors import InputError, UsageError
from undegrade.core.formats import FORMATS, SUFFIXES, Frame, Metadata

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Picture",
    "check_floats",
    "frames",
    "from_frame",
    "like",
    "load_rgb",
    "read",
    "save",
    "to_frame",
]

Kind = Literal["path", "bytes", "pil", "array", "tensor", "picture"]
LARGEST_FLOAT = 16.0
"""Floats beyond this are taken for 0..255 by mistake; noise of sigma 75 stays within -2..3."""
TOO_LARGE = "floats up to {:g}: must be finite and in 0..1 (divide by 255 or 65535)"


@dataclass(frozen=True)
class Picture:
    """A picture ready for a network, and what is needed to give back the kind that came in.

    Attributes:
        pixels: (1, H, W) for grey, (3, H, W) for RGB; float32, 0..1 (floats may leave that range).
        alpha: (1, H, W) or None.
        kind: what the source was.
        dtype: type of the source's samples: ``uint8``, ``uint16``, or a float type by its numpy or torch name.
        layout: ``"HW"``, ``"HWC"`` or ``"CHW"``: how an array or tensor was laid out.
        device: where a tensor came from.
        metadata: EXIF, profile, resolution and format of a file or PIL image.
        notes: what was changed on the way in, one sentence each; worth telling the user.
        report: what a restorer found out about the picture and did with it, as plain values for JSON.

    Raises:
        UsageError: pixels of another shape, or none.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    kind: Kind = "picture"
    dtype: str = "uint8"
    layout: Literal["HW", "HWC", "CHW"] = "HWC"
    device: torch.device | str = "cpu"
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_shape(self.pixels)

    @property
    def grey(self) -> bool:
        """Whether there is one channel."""
        return self.pixels.shape[0] == 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    def with_pixels(self, pixels: Tensor) -> Picture:
        """The same picture with other pixels: (1 or 3, H, W), of another size too, which alpha then follows.

        Raises:
            UsageError: not of that shape.
        """
        pixels = pixels.detach()
        _check_shape(pixels)
        alpha = self.alpha
        if alpha is not None and alpha.shape[-2:] != pixels.shape[-2:]:
            alpha = F.interpolate(alpha[None], size=pixels.shape[-2:], mode="bicubic", align_corners=False)[0]
            alpha = alpha.clamp(0, 1)
        # The tables of a JPEG file speak of the pixels that it had.
        metadata = replace(self.metadata, quantisation=())
        return replace(self, pixels=pixels, alpha=alpha, metadata=metadata)


def _check_shape(pixels: Tensor) -> None:
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
        raise UsageError(f"pixels of shape {tuple(pixels.shape)}: must be (1 or 3, H, W), neither side 0")


def read(source: Any, *, frame: int | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Any kind of image as a ``Picture``.

    Args:
        source: path; bytes of a file; PIL image; array (H, W), (H, W, 1..4) of bool, uint8, uint16 or float;
            tensor (H, W), (1..4, H, W) of the same types. Two and four channels are grey and RGB with alpha.
        frame: which one, for a file or PIL image that holds several.
        max_pixels: larger files are refused before they are decoded.

    Raises:
        InputError: the source cannot be read as a picture.
        UsageError: it is of no kind that is handled.
    """
    if isinstance(source, os.PathLike):
        source = Path(os.fsdecode(source))
    if frame is not None and not (isinstance(frame, Integral) and isinstance(source, str | Path | bytes | Image.Image)):
        raise UsageError(f"frame={frame!r}: a whole number, of files and PIL images with several")
    match source:
        case Picture():
            return replace(source, kind="picture")
        case str() | Path() | bytes():
            count, found = decode.decode(source, max_pixels=max_pixels)
            if count > 1 and frame is None:
                name = "the file" if isinstance(source, bytes) else source
                raise InputError(
                    f"{name}: holds {count} frames: choose one in Python with frame=0..{count - 1}; the restore "
                    "command does them all"
                )
            if frame is not None and not 0 <= frame < count:
                raise UsageError(f"frame={frame}: the file holds {count}, counted from 0")
            wanted = next(islice(found, frame or 0, None))
            return from_frame(wanted, "bytes" if isinstance(source, bytes) else "path")
        case Image.Image():
            return from_frame(decode.opened(source, frame), "pil")
        case np.ndarray():
            return _from_array(source)
        case Tensor():
            return _from_tensor(source)
        case _:
            raise UsageError(
                f"an image of type {type(source).__name__}: give a path, bytes, PIL image, array or tensor"
            )


def frames(path: str | Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Iterator[Picture]:
    """Every frame of an animation, every page of a TIFF file, or the one picture of any other file.

    Raises:
        InputError: the file cannot be read; also raised while going through the frames.
    """
    # Unlike a loop, map holds no frame while its picture is worked on.
    return map(partial(from_frame, kind="picture"), decode.decode(path, max_pixels=max_pixels)[1])


def like(picture: Picture, pixels: Tensor) -> Any:
    """``pixels`` as the kind of image that ``picture`` was read from; a path gives a PIL image.

    Args:
        picture: what came in.
        pixels: (1 or 3, H, W) in 0..1. The number of channels is kept: one gives a grey image, three colour.

    Returns:
        The image, with the depth, alpha and metadata of ``picture``. A file of 16-bit colour given by path comes back
        with 8 bits and a warning, because PIL images hold no more.
    """
    picture = picture.with_pixels(pixels)
    match picture.kind:
        case "picture":
            return picture
        case "tensor":
            return _to_tensor(picture)
        case "array":
            return _to_array(picture)
        case "bytes":
            kind = picture.metadata.format
            return encode.encode([to_frame(picture)], kind if kind in FORMATS else "PNG")
    if picture.dtype == "uint16" and (pixels.shape[0] > 1 or picture.alpha is not None):
        warnings.warn(
            "PIL images hold no 16-bit colour, the result has 8 bits: give an array, or use the restore command",
            stacklevel=2,
        )
        picture = replace(picture, dtype="uint8")
    return encode.to_pil(to_frame(picture))


def save(picture: Picture | Sequence[Picture], path: str | Path) -> None:
    """Writes a picture, or several as frames, in the format of the path's suffix; depth and metadata are kept.

    The file appears under its name only when it is complete.

    Raises:
        InputError: the picture does not fit into the format, or the file cannot be written.
        UsageError: no such format.
    """
    pictures = [picture] if isinstance(picture, Picture) else picture
    encode.write([to_frame(one) for one in pictures], path)


def load_rgb(path: str | Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W, 3) uint8 or uint16 array of a picture file, for training and scoring.

    Orientation applied, grey replicated, palette resolved, alpha dropped; the first frame of several.

    Raises:
        InputError: the file cannot be read as a picture.
    """
    frame = next(decode.decode(path)[1])
    colours = frame.samples[..., : 3 if frame.samples.shape[2] > 2 else 1]
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))


def from_frame(frame: Frame, kind: Kind = "picture") -> Picture:
    """A decoded frame of a file as a ``Picture``."""
    pixels, alpha = _parts(_scaled(frame.samples))
    return Picture(pixels, alpha, kind, frame.samples.dtype.name, metadata=frame.metadata, notes=frame.notes)


def _from_array(array: NDArray[Any]) -> Picture:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise InputError(f"array of shape {array.shape}: must be (H, W) or (H, W, C) with C of 1 to 4")
    if 0 in array.shape:
        raise InputError(f"array of shape {array.shape}: there is no picture in it")
    layout: Literal["HW", "HWC"] = "HW" if array.ndim == 2 else "HWC"
    pixels, alpha = _parts(_scaled(array[..., None] if array.ndim == 2 else array))
    return Picture(pixels, alpha, "array", array.dtype.name.replace("bool", "uint8"), layout)


def _from_tensor(tensor: Tensor) -> Picture:
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and tensor.shape[0] not in (1, 2, 3, 4)):
        raise InputError(f"tensor of shape {tuple(tensor.shape)}: must be (H, W) or (C, H, W) with C of 1 to 4")
    if 0 in tensor.shape:
        raise InputError(f"tensor of shape {tuple(tensor.shape)}: there is no picture in it")
    if tensor.is_meta:
        raise InputError("tensor on the device meta: it holds no samples; give one on a device that computes")
    if tensor.layout is not torch.strided:
        raise InputError(f"tensor of layout {tensor.layout}: must be dense; call its to_dense() first")
    name = str(tensor.dtype).removeprefix("torch.")
    source = tensor.detach()
    plain = source.float().cpu() if source.is_floating_point() else source.cpu()
    array = (plain[None] if plain.ndim == 2 else plain).numpy().transpose(1, 2, 0)
    pixels, alpha = _parts(_scaled(array))
    layout: Literal["HW", "CHW"] = "HW" if tensor.ndim == 2 else "CHW"
    return Picture(pixels, alpha, "tensor", name.replace("bool", "uint8"), layout, tensor.device)


def _scaled(samples: NDArray[Any]) -> Tensor:
    """(H, W, C) samples of any handled type as a (C, H, W) float32 tensor, integers divided by their largest value."""
    if samples.dtype == np.bool_:
        scale = 1
    elif samples.dtype.type in (np.uint8, np.uint16):  # of either byte order
        scale = np.iinfo(samples.dtype).max
    elif np.issubdtype(samples.dtype, np.floating):
        scale = 1
        largest = float(np.abs(samples).max())
        if not largest <= LARGEST_FLOAT:
            raise InputError(TOO_LARGE.format(largest))
    else:
        raise InputError(f"samples of type {samples.dtype}: must be bool, uint8, uint16 or float in 0..1")
    planes = np.empty((samples.shape[2], *samples.shape[:2]), np.float32)
    np.divide(samples.transpose(2, 0, 1), scale, out=planes, casting="unsafe")
    return torch.from_numpy(planes)


def check_floats(tensor: Tensor) -> None:
    """Refuses what is no picture in 0..1 by mistake; NaN is left to who computes with it.

    Raises:
        InputError: integers, or floats beyond ``LARGEST_FLOAT``.
    """
    if not tensor.is_floating_point():
        raise InputError(
            f"tensor of type {tensor.dtype}: must be float in 0..1; call the restorer itself with integers"
        )
    low, high = map(float, tensor.detach().float().aminmax())  # unlike abs, this takes no memory
    if (largest := max(-low, high)) > LARGEST_FLOAT:
        raise InputError(TOO_LARGE.format(largest))


def _parts(planes: Tensor) -> tuple[Tensor, Tensor | None]:
    colours = 3 if len(planes) > 2 else 1
    return planes[:colours], planes[colours:] if len(planes) > colours else None


def _planes(picture: Picture) -> list[Tensor]:
    """The channels, alpha last; not joined, because pictures are large."""
    parts = picture.pixels if picture.alpha is None else [*picture.pixels, *picture.alpha]
    return [plane.float().cpu() for plane in parts]


def _rounded(picture: Picture, dtype: str) -> NDArray[Any]:
    """(H, W, C) integers, clipped and rounded."""
    planes, largest = _planes(picture), np.iinfo(dtype).max
    samples = np.empty((*picture.size, len(planes)), dtype)
    for channel, plane in enumerate(planes):
        samples[..., channel] = plane.clamp(0, 1).mul_(largest).round_().numpy()
    return samples


def to_frame(picture: Picture) -> Frame:
    """The picture in the depth of its source, as it is written to files; floats become 16 bits."""
    dtype = picture.dtype if picture.dtype in ("uint8", "uint16") else "uint16"
    return Frame(_rounded(picture, dtype), picture.metadata, picture.notes, picture.report)


def _to_array(picture: Picture) -> NDArray[Any]:
    if picture.dtype in ("uint8", "uint16"):
        array = _rounded(picture, picture.dtype)
    else:
        array = torch.stack(_planes(picture), dim=2).numpy().astype(picture.dtype, copy=False)
    return array[..., 0] if picture.layout == "HW" and array.shape[2] == 1 else array


def _to_tensor(picture: Picture) -> Tensor:
    if picture.dtype in ("uint8", "uint16"):
        planes = torch.from_numpy(_rounded(picture, picture.dtype)).permute(2, 0, 1).contiguous()
    else:
        planes = torch.stack(_planes(picture)).to(getattr(torch, picture.dtype))
    planes = planes.to(picture.device)
    return planes[0] if picture.layout == "HW" and len(planes) == 1 else planes
