"""Pictures in and out: files, bytes, PIL, arrays and tensors become one ``Picture`` and come back as the same kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from undegrade.core.errors import InputError

__all__ = ["load_rgb"]


def load_rgb(path: str | Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W, 3) uint8 or uint16 array of a picture file, for training and scoring.

    EXIF orientation applied, grey replicated, palette and alpha flattened (alpha dropped).

    Raises:
        InputError: the file cannot be read as a picture.
    """
    try:
        with Image.open(path) as file:
            return np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: not a readable picture ({error})") from error
