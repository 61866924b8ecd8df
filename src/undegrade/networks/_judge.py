"""Judge: a small classifier that says what is wrong with a picture; our own.

It is no entry of the catalogue, because it gives numbers and no picture. Noise, compression and blur are judged on
crops of the full resolution, where they are; haze, rain and snow also on a view of the whole picture, because they hang
on all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undegrade.networks._measures import MEASURES, measures

__all__ = ["FAULTS", "STRENGTH_UNIT", "Judge", "JudgeConfig"]

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

STRENGTH_UNIT = 64.0
"""Levels of 0..255 for which a strength of 1 stands."""


@dataclass(frozen=True)
class JudgeConfig:
    """Every number of a Judge.

    Attributes:
        near: channels of the trunk for crops, stage by stage, each at half the resolution of the one before; none
            leaves crops to the measures alone.
        far: likewise for the view of the whole picture.
        embedding: numbers that describe a crop.
        heads: ways of weighing the crops against each other.
        hidden: neurons before the outputs.
        dropout: while training.
        faults: outputs of each kind.
    """

    near: tuple[int, ...] = ()
    far: tuple[int, ...] = ()
    embedding: int = 80
    heads: int = 4
    hidden: int = 128
    dropout: float = 0.2
    faults: int = len(FAULTS)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class _Trunk(nn.Module):
    """Stages at ever halved resolution, residual blocks in all but the first; then mean and maximum of each channel."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stage, width in enumerate(widths):
            layers += [
                nn.Conv2d(channels, width, 3, stride=min(2, stage + 1), padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            if stage:
                layers.append(_Residual(width))
            channels = width
        self.stages = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        if not self.stages:
            return x.new_zeros(len(x), 0)
        y = self.stages(x.contiguous(memory_format=torch.channels_last))
        return torch.cat([y.mean(dim=(2, 3)), y.amax(dim=(2, 3))], dim=1)


class Judge(nn.Module):
    """Crops and a view in; for every fault a logit of its presence and its strength out.

    Each crop and the view are described by plain measures and, where the config has one, by a convolutional trunk.
    Crops are weighed against each other by attention.
    """

    def __init__(self, config: JudgeConfig = JudgeConfig()) -> None:
        super().__init__()
        near, far = (MEASURES + (2 * widths[-1] if widths else 0) for widths in (config.near, config.far))
        self.near = _Trunk(96, config.near)
        self.far = _Trunk(48, config.far)
        self.near_scale = nn.BatchNorm1d(near, affine=False)
        self.far_scale = nn.BatchNorm1d(far, affine=False)
        self.embed = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(near, config.embedding), nn.ReLU())
        self.weigh = nn.Linear(config.embedding, config.heads)
        joined = config.embedding * config.heads + far
        self.decide = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(joined, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 2 * config.faults + 1),
        )

    def forward(self, crops: Tensor, view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is wrong with each picture of a batch.

        Args:
            crops: (B, K, 3, S, S) in 0..1 at full resolution, S at least 96 and divisible by 32.
            view: (B, 3, V, V) in 0..1, the whole picture shrunk, V twice as large.

        Returns:
            (B, faults) logits of presence; (B, faults) strengths, the root mean square of what the fault changed, in
            units of ``STRENGTH_UNIT``; (B,) JPEG quality over 100, of use where JPEG is present.
        """
        return self.judged(*self.described(crops, view))

    def described(self, crops: Tensor, view: Tensor, measured: bool = True) -> tuple[Tensor, Tensor]:
        """(B, K, F) of the crops, (B, G) of the view: what the trunks see, then the measures.

        Without ``measured`` there are zeros in their place: quicker, while the trunks learn.
        """
        parts = crops.flatten(0, 1)
        sizes = (measures(parts), measures(F.avg_pool2d(view, 2))) if measured else (None, None)
        near, far = (
            torch.cat([seen, seen.new_zeros(len(seen), MEASURES) if size is None else size.to(seen)], dim=1)
            for seen, size in zip((self.near(_fine(parts)), self.far(_whole(view))), sizes, strict=True)
        )
        return near.view(*crops.shape[:2], -1), far

    def judged(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs of ``forward`` for what ``described`` gave."""
        batch, count = near.shape[:2]
        features = self.embed(self.near_scale(near.flatten(0, 1)).clamp(-5, 5))
        weights = self.weigh(features).view(batch, count, -1).softmax(dim=1)
        pooled = torch.einsum("bkh,bkc->bhc", weights, features.view(batch, count, -1)).flatten(1)
        out = self.decide(torch.cat([pooled, self.far_scale(far).clamp(-5, 5)], dim=1))
        faults = (out.shape[1] - 1) // 2
        return out[:, :faults], F.softplus(out[:, faults:-1]), out[:, -1]


def _fine(crops: Tensor) -> Tensor:
    """(N, 96, S / 4, S / 4): the crops, and what is finer than three pixels, which is small but tells of noise."""
    fine = (crops - F.avg_pool2d(crops, 3, 1, 1, count_include_pad=False)) * 8
    return F.pixel_unshuffle(torch.cat([crops - 0.5, fine], dim=1), 4)


def _whole(view: Tensor) -> Tensor:
    """(B, 48, V / 4, V / 4)."""
    return F.pixel_unshuffle(view - 0.5, 4)
