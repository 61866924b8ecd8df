"""Images of any kind in, the same kind out: shared by everything that can restore a ``Picture``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, overload

import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from undegrade.core import image as images
from undegrade.core.errors import InputError, UsageError
from undegrade.core.image import Picture
from undegrade.inference.run import Progress

__all__ = ["AnyKind", "Same"]

Same = TypeVar("Same", bytes, Image, NDArray[Any], Tensor, Picture)
"""The kinds of image that come back as the same kind; a path gives a PIL image."""


class AnyKind(ABC):
    """Calls and pixels, by what ``picture`` does."""

    @abstractmethod
    def picture(self, picture: Picture, *, progress: Progress | None = None, **options: Any) -> Picture:
        """The restored ``Picture``: not rounded, alpha untouched or enlarged."""

    def pixels(self, picture: Picture, *, progress: Progress | None = None, **options: Any) -> Tensor:
        """The restored pixels of a ``Picture``, (1 or 3, sH, sW)."""
        return self.picture(picture, progress=progress, **options).pixels

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the weights into ``folder``, where they are those of one network.

        Raises:
            UsageError: they are those of several.
        """
        raise UsageError(
            f"{type(self).__name__.lower()}: holds the weights of several networks; save each by itself: "
            'undegrade.load("denoising").save_pretrained(...)'
        )

    def push_to_hub(self, repository: str, **settings: Any) -> str:
        """Put what ``save_pretrained`` writes into a repository of a hub; returns its address.

        Args:
            repository: ``"OWNER/NAME"``; made if needed.
            **settings: ``token``, ``private``, ``commit_message``; see ``undegrade.weights.hub.upload``.
        """
        from undegrade.weights import hub

        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return hub.upload(folder, repository, **settings)

    @overload
    def __call__(
        self,
        image: str | PathLike[str],
        *,
        frame: int | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Image: ...

    @overload
    def __call__(
        self, image: Same, *, frame: int | None = None, progress: Progress | None = None, **options: Any
    ) -> Same: ...

    def __call__(
        self, image: Any, *, frame: int | None = None, progress: Progress | None = None, **options: Any
    ) -> Any:
        """Restore an image.

        Args:
            image: path, bytes, PIL image, array (H, W) or (H, W, C), tensor (C, H, W) or (B, C, H, W).
            frame: which one of a file that holds several, counted from 0.
            progress: called with (tiles done, tiles in all); what it raises ends the picture and leaves the call.
            **options: ``tile``, ``strength``, ``ensemble``, ``max_memory``, see ``Options``; for every Restorer that is
                run. What is left out is as the Restorer was made.

        Returns:
            The same kind, with the same depth, alpha and metadata; a PIL image for a path.

        Raises:
            InputError: the image cannot be read, or does not fit into memory.
            UsageError: a wrong option.
        """
        if isinstance(image, Tensor) and image.ndim == 4:
            if not len(image):
                raise InputError(f"tensor of shape {tuple(image.shape)}: there is no picture in it")
            return torch.stack([self(one, frame=frame, progress=progress, **options) for one in image])
        picture = images.read(image, frame=frame)
        return images.like(picture, self.pixels(picture, progress=progress, **options))
