"""NAF-SR: compact super-resolution from NAFBlocks at low resolution; our own, for the shipped weights.

NAFNet's blocks (ECCV 2022) in the frame of EDSR (CVPR workshops 2017): everything happens at the input's resolution
until one convolution and a pixel shuffle make the large picture. The network adds detail to the bicubic enlargement;
its last convolution starts at zero, so a fresh network is bicubic interpolation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.networks._spec import NetworkSpec, Shapes, at_least, count
from undegrade.networks.layers.local_pool import window_at
from undegrade.networks.layers.naf import NAFBlock

__all__ = ["NAFSR", "SPEC", "NAFSRConfig"]


@dataclass(frozen=True)
class NAFSRConfig:
    """Every number of a NAF-SR.

    Attributes:
        width: channels of the trunk.
        blocks: NAFBlocks.
        scale: enlargement of both sides.
        colors: channels of the picture.
    """

    width: int = 48
    blocks: int = 16
    scale: int = 2
    colors: int = 3

    def __post_init__(self) -> None:
        at_least(1, self, "width", "blocks", "scale", "colors")


class NAFSR(nn.Module):
    """Convolution, NAFBlocks, convolution, long skip; then one convolution and a pixel shuffle."""

    def __init__(self, config: NAFSRConfig) -> None:
        super().__init__()
        self.scale = config.scale
        self.intro = nn.Conv2d(config.colors, config.width, 3, padding=1)
        self.body = nn.Sequential(*(NAFBlock(config.width) for _ in range(config.blocks)))
        self.fuse = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.tail = nn.Conv2d(config.width, config.colors * config.scale**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, colors, H, W) in 0..1 -> (B, colors, scale H, scale W), not clamped."""
        x = x.contiguous(memory_format=torch.channels_last)
        shallow = self.intro(x)
        detail = self.tail(shallow + self.fuse(self.body(shallow)))
        large = F.interpolate(x, scale_factor=self.scale, mode="bicubic", align_corners=False)
        return large + F.pixel_shuffle(detail, self.scale)


def _infer(shapes: Shapes) -> NAFSRConfig | None:
    """There is no official form: the names are our own."""
    if not {"intro.weight", "fuse.weight", "tail.weight"} <= shapes.keys():
        return None
    width, colors = shapes["intro.weight"][:2]
    return NAFSRConfig(
        width=width,
        blocks=count(shapes, "body."),
        scale=isqrt(shapes["tail.weight"][0] // colors),
        colors=colors,
    )


def _official(config: NAFSRConfig) -> Mapping[str, str | None]:
    with torch.device("meta"):
        return {name: name for name in NAFSR(config).state_dict()}


def _local(module: nn.Module, train_size: tuple[int, int]) -> nn.Module:
    for block in module.modules():
        if isinstance(block, NAFBlock):
            block.window = window_at(0, train_size, multiple=1)
    return module


SPEC = NetworkSpec(
    name="nafsr",
    title="NAF-SR",
    paper="ours; blocks of Chen, Chu, Zhang, Sun: Simple Baselines for Image Restoration, arXiv 2204.04676; "
    "frame of Lim et al.: Enhanced Deep Residual Networks for Single Image Super-Resolution, arXiv 1707.02921",
    config=NAFSRConfig,
    module=NAFSR,
    presets={f"nafsr_x{scale}": NAFSRConfig(scale=scale) for scale in (2, 3, 4)},
    default="nafsr_x2",
    infer=_infer,
    official=_official,
    tiling="discouraged",
    context=24,
    scale=lambda config: config.scale,
    channels=lambda config: config.colors,
    local=_local,
)
