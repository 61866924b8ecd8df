"""Judge: a small classifier that says what is wrong with a picture; our own.

It is no entry of the catalogue, because it gives numbers and no picture. Noise, compression and blur are judged on
crops of the full resolution, where they are; haze, rain and snow also on a view of the whole picture, because they hang
on all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undegrade.networks._measures import MEASURES, WHOLE, measures, whole

__all__ = ["FAULTS", "NOTHING", "STRENGTH_UNIT", "Judge", "JudgeConfig", "Mind", "Opinion", "measured"]

FAULTS = (
    "denoising",
    "jpeg_artifacts",
    "motion_deblurring",
    "defocus_deblurring",
    "deraining",
    "dehazing",
    "desnowing",
)
"""Tasks whose fault is looked for, in the order of the outputs."""

NOTHING = len(FAULTS)
"""Number of the case that a picture is fine, after those of the faults."""

STRENGTH_UNIT = 64.0
"""Levels of 0..255 for which a strength of 1 stands."""


class Opinion(NamedTuple):
    """What a Judge says of a batch of pictures.

    Attributes:
        cases: (B, faults + 1) logits: which fault is the main one, or ``NOTHING``.
        present: (B, faults) logits: which are there at all.
        strengths: (B, faults), the root mean square of what each changed, in units of ``STRENGTH_UNIT``.
        quality: (B,) JPEG quality over 100, of use where JPEG is present.
    """

    cases: Tensor
    present: Tensor
    strengths: Tensor
    quality: Tensor


@dataclass(frozen=True)
class JudgeConfig:
    """Every number of a Judge.

    Attributes:
        minds: members of the ensemble.
        embedding: features of a crop.
        heads: attention heads that pool the crops.
        hidden: neurons of the layer before the outputs.
        dropout: share of neurons dropped in training.
        faults: how many it tells apart.
    """

    minds: int = 5
    embedding: int = 144
    heads: int = 4
    hidden: int = 208
    dropout: float = 0.1
    faults: int = len(FAULTS)


class Mind(nn.Module):
    """One member of the ensemble: measures in, an ``Opinion`` out. Attention pools the crops."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.faults = config.faults
        self.near_scale = nn.BatchNorm1d(MEASURES, affine=False)
        self.far_scale = nn.BatchNorm1d(MEASURES + WHOLE, affine=False)
        self.embed = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(MEASURES, config.embedding), nn.ReLU())
        self.weigh = nn.Linear(config.embedding, config.heads)
        self.decide = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(config.embedding * config.heads + MEASURES + WHOLE, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 3 * config.faults + 2),
        )

    def forward(self, near: Tensor, far: Tensor) -> Opinion:
        """What is wrong, by what ``measured`` gave."""
        batch, count = near.shape[:2]
        features = self.embed(self.near_scale(near.flatten(0, 1)).clamp(-5, 5))
        weights = self.weigh(features).view(batch, count, -1).softmax(dim=1)
        pooled = torch.einsum("bkh,bkc->bhc", weights, features.view(batch, count, -1)).flatten(1)
        out = self.decide(torch.cat([pooled, self.far_scale(far).clamp(-5, 5)], dim=1))
        cases, present, strengths, quality = out.split([self.faults + 1, self.faults, self.faults, 1], dim=1)
        return Opinion(cases.log_softmax(dim=1), present, F.softplus(strengths), quality[:, 0])


class Judge(nn.Module):
    """Crops and a view in, the mean ``Opinion`` of several minds out: each was trained from another start.

    Attributes:
        bias: (faults + 1,) added to the cases, calibrated so that fine and spoilt are told apart where both are equally
            likely.
    """

    bias: Tensor

    def __init__(self, config: JudgeConfig = JudgeConfig()) -> None:
        super().__init__()
        self.minds = nn.ModuleList(Mind(config) for _ in range(config.minds))
        self.register_buffer("bias", torch.zeros(config.faults + 1))

    def forward(self, crops: Tensor, view: Tensor) -> Opinion:
        """What is wrong with each picture of a batch.

        Args:
            crops: (B, K, 3, S, S) in 0..1 at full resolution, S at least 96 and divisible by 32.
            view: (B, 3, V, V) in 0..1, the whole picture shrunk, V twice as large.
        """
        return self.judged(*measured(crops, view))

    def judged(self, near: Tensor, far: Tensor) -> Opinion:
        """The same for what ``measured`` gave."""
        opinions = [mind(near, far) for mind in self.minds]
        mean = Opinion(*(torch.stack(parts).mean(dim=0) for parts in zip(*opinions, strict=True)))
        return mean._replace(cases=mean.cases + self.bias)


def measured(crops: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
    """(B, K, MEASURES) of crops and (B, MEASURES + WHOLE) of the view, both as ``Judge`` takes them."""
    far = torch.cat([measures(F.avg_pool2d(view, 2)), whole(view)], dim=1)
    return measures(crops.flatten(0, 1)).view(*crops.shape[:2], -1), far
