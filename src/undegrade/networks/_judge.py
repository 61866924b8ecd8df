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
        near: channels of the stages for crops, each at half the resolution of the one before.
        far: likewise for the view of the whole picture.
        heads: ways of weighing the crops against each other.
        hidden: neurons before the outputs.
        faults: outputs of each kind.
    """

    near: tuple[int, ...] = (48, 64, 80)
    far: tuple[int, ...] = (32, 48, 64, 80)
    heads: int = 4
    hidden: int = 128
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
        y = self.stages(x.contiguous(memory_format=torch.channels_last))
        return torch.cat([y.mean(dim=(2, 3)), y.amax(dim=(2, 3))], dim=1)


class Judge(nn.Module):
    """Crops and a view in; for every fault a logit of its presence and its strength out."""

    def __init__(self, config: JudgeConfig = JudgeConfig()) -> None:
        super().__init__()
        self.near = _Trunk(96, config.near)
        self.far = _Trunk(48, config.far)
        self.embed = nn.Sequential(nn.Linear(2 * config.near[-1], config.near[-1]), nn.ReLU())
        self.weigh = nn.Linear(config.near[-1], config.heads)
        joined = config.near[-1] * config.heads + 2 * config.far[-1]
        self.decide = nn.Sequential(
            nn.Linear(joined, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 2 * config.faults + 1)
        )

    def forward(self, crops: Tensor, view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is wrong with each picture of a batch.

        Args:
            crops: (B, K, 3, S, S) in 0..1 at full resolution, S divisible by 16.
            view: (B, 3, V, V) in 0..1, the whole picture shrunk, V divisible by 32.

        Returns:
            (B, faults) logits of presence; (B, faults) strengths, the root mean square of what the fault changed, in
            units of ``STRENGTH_UNIT``; (B,) JPEG quality over 100, of use where JPEG is present.
        """
        batch, count = crops.shape[:2]
        parts = crops.flatten(0, 1)
        # What is finer than three pixels tells of noise, blocks and blur, but is small beside the picture itself.
        fine = (parts - F.avg_pool2d(parts, 3, 1, 1, count_include_pad=False)) * 8
        features = self.embed(self.near(F.pixel_unshuffle(torch.cat([parts - 0.5, fine], dim=1), 4)))
        weights = self.weigh(features).view(batch, count, -1).softmax(dim=1)
        pooled = torch.einsum("bkh,bkc->bhc", weights, features.view(batch, count, -1)).flatten(1)
        whole = self.far(F.pixel_unshuffle(view - 0.5, 4))
        out = self.decide(torch.cat([pooled, whole], dim=1))
        faults = (out.shape[1] - 1) // 2
        return out[:, :faults], F.softplus(out[:, faults:-1]), out[:, -1]
