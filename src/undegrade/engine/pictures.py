"""Picture files as float tensors for scoring: grey stays one channel, everything else becomes RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from undegrade.core.errors import InputError
from undegrade.core.image import load_rgb

__all__ = ["read_picture", "write_picture"]

GREY_MODES = {"1", "L", "LA", "I", "I;16", "F"}


def read_picture(path: Path) -> Tensor:
    """(1, H, W) or (3, H, W) float32 in 0..1 of an 8- or 16-bit file.

    Luma protocols treat a grey file differently from a grey picture stored as RGB, as the official scripts do.

    Raises:
        InputError: the file cannot be read.
    """
    array = load_rgb(path)
    try:
        with Image.open(path) as file:
            grey = file.mode in GREY_MODES
    except OSError as error:
        raise InputError(f"{path}: not a readable picture ({error})") from error
    peak = np.iinfo(array.dtype).max
    picture = torch.from_numpy(array.astype(np.float32)).permute(2, 0, 1) / peak
    return picture[:1] if grey else picture


def write_picture(path: Path, picture: Tensor) -> None:
    """Saves (C, H, W) in 0..1 as an 8-bit file, making its folder."""
    levels = (picture.clamp(0, 1) * 255).round().byte().cpu()
    array = levels.permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(path)
