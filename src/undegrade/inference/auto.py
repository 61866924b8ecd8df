"""Auto: a restorer that looks at each picture first and runs the weights for what it found, used like a Restorer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from undegrade.core import image as images
from undegrade.core.errors import UsageError
from undegrade.core.image import Picture
from undegrade.inference.anykind import AnyKind
from undegrade.inference.chain import Chain
from undegrade.inference.judging import Diagnosis, diagnose
from undegrade.inference.restorer import Restorer
from undegrade.inference.run import Options, Progress
from undegrade.networks._judge import Judge
from undegrade.weights.card import WeightsCard

__all__ = ["Auto"]


@dataclass(frozen=True, repr=False)
class Auto(AnyKind):
    """A classifier and the restorers that it may call.

    Attributes:
        judge: finds what is wrong.
        card: where its weights come from.
        restorer: task name -> the Restorer for it, opened when it is first needed.
        options: with which they are opened.
    """

    judge: Judge
    card: WeightsCard
    restorer: Callable[[str], Restorer]
    options: Options = field(default_factory=Options)

    def __repr__(self) -> str:
        return f"Auto(weights={self.card.id})"

    @property
    def info(self) -> dict[str, Any]:
        """The classifier, as plain values; what was done to a picture stands in its report."""
        card = self.card
        return {
            "task": "auto",
            "network": card.network,
            "weights": card.id,
            "licence": card.licence,
            "origin": card.origin,
            "limits": card.limits,
            "training": asdict(card.training) if card.training else None,
        }

    @property
    def scale(self) -> int:
        """Output size over input size."""
        return 1

    def diagnose(self, image: Any) -> Diagnosis:
        """What is wrong with an image of any kind that can be restored.

        Raises:
            InputError: the image cannot be read, or holds NaN or infinity.
        """
        return diagnose(images.read(image), self.judge)

    def picture(self, picture: Picture, *, progress: Progress | None = None, **options: Any) -> Picture:
        """Restore a ``Picture``; the result's ``report`` says what was found and done. Not rounded, alpha untouched."""
        self.options.changed_by(options)  # a mistake is told for pictures with nothing wrong as well
        found = diagnose(picture, self.judge)
        steps = [replace(self.restorer(finding.task), parameters=finding.parameters) for finding in found.findings]
        done = [{"task": step.task.name if step.task else None, "weights": step.info["weights"]} for step in steps]
        report = {"summary": found.summary, **found.to_dict(), "done": done}
        if earlier := picture.report.get("auto"):  # of a chain with several
            report |= {name: earlier[name] + report[name] for name in ("found", "done")}
            report["summary"] = f"{earlier['summary']}, then {found.summary}"
        result = Chain(tuple(steps)).picture(picture, progress=progress, **options)
        if progress is not None and not steps:
            progress(1, 1)
        return replace(result, report={**picture.report, "auto": report})

    def tensor(self, x: Tensor, *, progress: Progress | None = None, **options: Any) -> Tensor:
        """Restore (B, C, H, W) float in 0..1, each picture by its own faults.

        Raises:
            InputError: no floats in 0..1, or NaN or infinity in a picture.
            UsageError: another shape, an empty one, or neither one channel nor three.
        """
        if x.ndim != 4 or 0 in x.shape or x.shape[1] not in (1, 3):
            raise UsageError(f"tensor of shape {tuple(x.shape)}: must be (B, 1 or 3, H, W)")
        images.check_floats(x)
        return torch.stack([self.pixels(Picture(one.float()), progress=progress, **options) for one in x])
