"""Several Restorers in a row, as one: rounding and clipping to the picture's depth happen once, at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from undegrade.core.image import Picture
from undegrade.inference.anykind import AnyKind
from undegrade.inference.restorer import Restorer
from undegrade.inference.run import Progress

if TYPE_CHECKING:
    from undegrade.inference.auto import Auto

__all__ = ["Chain"]


@dataclass(frozen=True)
class Chain(AnyKind):
    """Restorers that run one after the other; used like one."""

    restorers: tuple[Restorer | Auto, ...]

    @property
    def info(self) -> dict[str, Any]:
        """``{"chain": [info of each Restorer]}``."""
        return {"chain": [restorer.info for restorer in self.restorers]}

    @property
    def scale(self) -> int:
        """Output size over input size."""
        product = 1
        for restorer in self.restorers:
            product *= restorer.scale
        return product

    def picture(self, picture: Picture, *, progress: Progress | None = None, **options: Any) -> Picture:
        """Restore a ``Picture``: not rounded, alpha untouched or enlarged."""
        for restorer in self.restorers:
            picture = restorer.picture(picture, progress=progress, **options)
        return picture

    def tensor(self, x: Tensor, *, progress: Progress | None = None, **options: Any) -> Tensor:
        """Restore (B, C, H, W) float in 0..1 to (B, C, sH, sW) in 0..1."""
        for restorer in self.restorers:
            x = restorer.tensor(x, progress=progress, **options)
        return x
