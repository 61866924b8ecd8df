"""Validation on pictures held back from training, through the same Restorer that users run."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.engine.log import RunLog
from undegrade.engine.run import Run
from undegrade.inference.restorer import Restorer
from undegrade.metrics import protocol

__all__ = ["validate"]


@torch.no_grad()
def validate(run: Run, log: RunLog) -> dict[str, float]:
    """PSNR in dB for every strength of the recipe, and their ``mean``.

    The task's default protocol is the ruler, so a score says what the final evaluation will say of such pictures.
    """
    recipe, patches = run.recipe, run.patches
    restorer = Restorer.from_module(run.average, run.spec, run.config, run.task)
    ruler, colours = protocol.get(run.task.protocol), run.spec.channels(run.config)
    scores: dict[str, float] = {}
    shown: list[Tensor] = []
    for strength in recipe.validate_at or ({},):
        total = 0.0
        for index in range(len(patches.validation)):
            _, *pair = patches.whole(index, recipe.validate_crop, recipe.located(strength))
            degraded, clean = (picture[:colours] for picture in pair)
            output = restorer.tensor(degraded[None])[0]
            total += ruler.score(output, clean, scale=run.spec.scale(run.config))["psnr"]
            if len(shown) < 3 and degraded.shape == clean.shape:
                shown.append(torch.cat([degraded, output, clean], -1).clamp(0, 1))
        label = ",".join(f"{key}={value}" for key, value in strength.items()) or "psnr"
        scores[label] = total / len(patches.validation)
    scores["mean"] = sum(scores.values()) / len(scores)
    log.event("validation", run.step, **scores)
    for number, picture in enumerate(shown):
        log.picture(f"validation/{number}", run.step, picture)
    return scores
