"""Res-U: plain residual convolutions in a shallow U, half resolution at the finest; ours, a baseline that trains fast.

The frame is DRUNet's (TPAMI 2021) at a sixteenth of its size, behind FFDNet's pixel unshuffle (TIP 2018). Dense 3x3
convolutions run near a CPU's peak where depthwise ones wait for memory, so the first minutes of training bring more
than those of an M3SNet of its size; an hour evens that out (docs/networks/resunet.md). Nothing in it looks at the whole
picture, so tiles show no seams. A fresh network returns its input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.core.errors import UsageError
from undegrade.networks._spec import NetworkSpec, Shapes, at_least, count
from undegrade.networks.layers.inplace import add

__all__ = ["SPEC", "ResUNet", "ResUNetConfig"]


@dataclass(frozen=True)
class ResUNetConfig:
    """Every number of a Res-U.

    Attributes:
        widths: channels of the levels, finest first; each level halves the one before.
        blocks: residual blocks of the levels, the same number on the way down and up; the last level has them once.
        shuffle: side of the squares of pixels that become channels before the first level; 1 for none.
        colors: channels of the picture.
    """

    widths: tuple[int, ...] = (64, 96, 128)
    blocks: tuple[int, ...] = (2, 2, 3)
    shuffle: int = 2
    colors: int = 3

    def __post_init__(self) -> None:
        for name in ("widths", "blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # recipes and cards hold lists
        if len(self.widths) != len(self.blocks) or min(self.widths, default=0) < 1 or min(self.blocks) < 0:
            raise UsageError(f"widths={self.widths}, blocks={self.blocks}: give both one number for each level")
        at_least(1, self, "shuffle", "colors")

    @property
    def multiple(self) -> int:
        """Height and width that the levels divide without a rest."""
        return self.shuffle << (len(self.widths) - 1)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))); the second convolution starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return add(self.second(F.relu(self.first(x), inplace=True)), x)


def _level(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))


class ResUNet(nn.Module):
    """Pixel unshuffle, a U of residual blocks with added skips, pixel shuffle; plus the input."""

    def __init__(self, config: ResUNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, shallow = config.widths, list(zip(config.widths[:-1], config.blocks[:-1], strict=True))
        steps = list(pairwise(widths))
        self.intro = nn.Conv2d(config.colors * config.shuffle**2, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(_level(*level) for level in shallow)
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in steps)
        self.bottom = _level(widths[-1], config.blocks[-1])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for fine, coarse in reversed(steps))
        self.decoder = nn.ModuleList(_level(*level) for level in reversed(shallow))
        self.tail = nn.Conv2d(widths[0], config.colors * config.shuffle**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, colors, H, W) in 0..1 -> the same shape, not clamped."""
        config, (height, width) = self.config, x.shape[-2:]
        rest = (0, -width % config.multiple, 0, -height % config.multiple)
        x = F.pad(x, rest, mode="replicate").contiguous(memory_format=torch.channels_last)
        y = self.intro(F.pixel_unshuffle(x, config.shuffle))  # (B, C, H/shuffle, W/shuffle)
        skips = []
        for level, down in zip(self.encoder, self.downs, strict=True):
            skips.append(level(y))
            y = down(skips[-1])
        y = self.bottom(y)
        for up, level in zip(self.ups, self.decoder, strict=True):
            y = level(add(up(y), skips.pop()))
        y = F.pixel_shuffle(self.tail(y), config.shuffle)
        return add(y, x)[..., :height, :width]


def _infer(shapes: Shapes) -> ResUNetConfig | None:
    """There is no official form: the names are our own.

    A picture has one channel or three, and three times a square is no square: 3 and 12 channels in are colour, 1, 4
    and 9 grey.
    """
    if not {"intro.weight", "bottom.0.first.weight", "tail.weight"} <= shapes.keys():
        return None
    depth = count(shapes, "downs.")
    levels = [f"encoder.{level}." for level in range(depth)] + ["bottom."]
    firsts = ["intro.weight", *(f"downs.{level}.weight" for level in range(depth))]
    packed = shapes["intro.weight"][1]
    colors = 1 if isqrt(packed) ** 2 == packed else 3
    return ResUNetConfig(
        widths=tuple(shapes[first][0] for first in firsts),
        blocks=tuple(count(shapes, level) for level in levels),
        shuffle=isqrt(packed // colors),
        colors=colors,
    )


def _official(config: ResUNetConfig) -> Mapping[str, str | None]:
    with torch.device("meta"):
        return {name: name for name in ResUNet(config).state_dict()}


SPEC = NetworkSpec(
    name="resunet",
    title="Res-U",
    paper="ours; frame of Zhang et al.: Plug-and-Play Image Restoration with Deep Denoiser Prior, arXiv 2008.13751; "
    "unshuffled input of Zhang, Zuo, Zhang: FFDNet, arXiv 1710.04026",
    config=ResUNetConfig,
    module=ResUNet,
    presets={"resunet_w64": ResUNetConfig()},
    default="resunet_w64",
    infer=_infer,
    official=_official,
    multiple_of=8,
    tiling="free",
    context=48,  # measured: 117 dB to the whole picture
    channels=lambda config: config.colors,
)
