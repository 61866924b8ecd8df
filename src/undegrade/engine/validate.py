"""Validation on pictures held back from training, through the same Restorer that users run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from undegrade.data.patches import Patches
from undegrade.engine.log import RunLog
from undegrade.engine.recipe import Recipe
from undegrade.inference.restorer import Restorer
from undegrade.metrics import protocol
from undegrade.networks._spec import NetworkSpec
from undegrade.tasks import Task

__all__ = ["validate"]


@torch.no_grad()
def validate(
    net: nn.Module,
    recipe: Recipe,
    task: Task,
    spec: NetworkSpec[Any],
    config: Any,
    patches: Patches,
    log: RunLog,
    step: int,
) -> dict[str, float]:
    """PSNR in dB for every strength of the recipe, their ``mean``, and the gain over the ``input`` where sizes allow.

    The task's default protocol is the ruler, so a score says what the final evaluation will say of such pictures.
    """
    restorer = Restorer.from_module(net, spec, config, task)
    ruler = protocol.get(task.protocol)
    scores: dict[str, float] = {}
    shown: list[Tensor] = []
    for strength in recipe.validate_at or ({},):
        total = 0.0
        for index in range(len(patches.validation)):
            _, *pair = patches.whole(index, recipe.validate_crop, strength)
            degraded, clean = (picture[: spec.channels(config)] for picture in pair)
            output = restorer.tensor(degraded[None])[0]
            total += ruler.score(output, clean, scale=spec.scale(config))["psnr"]
            if len(shown) < 3 and degraded.shape == clean.shape:
                shown.append(torch.cat([degraded, output, clean], -1).clamp(0, 1))
        label = ",".join(f"{key}={value}" for key, value in strength.items()) or "psnr"
        scores[label] = total / len(patches.validation)
    scores["mean"] = sum(scores.values()) / len(scores)
    log.event("validation", step, **scores)
    for number, picture in enumerate(shown):
        log.picture(f"validation/{number}", step, picture)
    return scores
