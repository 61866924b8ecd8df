"""PA-EDSR: the super-resolution network EDSR with pyramid attention in its middle.

Mei, Fan, Zhang, Yu, Zhou, Liu, Fu, Huang, Shi: Pyramid Attention Networks for Image Restoration, arXiv 2004.13824,
section 4; EDSR: Lim et al., arXiv 1707.02921. Everything runs at the small size; the tail alone is upscaled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.core.errors import UsageError
from undegrade.networks._spec import NetworkSpec, Shapes
from undegrade.networks.layers.edsr import (
    ResidualBlock,
    attention_names,
    check_trunk,
    conv,
    official_blocks,
    trunk_names,
)
from undegrade.networks.layers.pyramid import PyramidAttention

__all__ = ["SPEC", "PaEdsr", "PaEdsrConfig"]

MEAN = (0.4488, 0.4371, 0.4040)  # of the training pictures, red green blue
FACTOR = 0.1  # of the residual blocks; the attention scales its input by it, not its result


@dataclass(frozen=True)
class PaEdsrConfig:
    """Every number of the architecture.

    Attributes:
        scale: output size over input size: 2, 3 or 4.
        blocks: residual blocks, half of them before and half after the attention (published: 32).
        features: channels of the trunk.
        reduction: the attention compares patches in features / reduction channels.
        legacy_resize: see ``PyramidAttention``.
    """

    scale: int = 2
    blocks: int = 32
    features: int = 256
    reduction: int = 8
    legacy_resize: bool = False

    def __post_init__(self) -> None:
        if self.scale not in (2, 3, 4):
            raise UsageError(f"scale={self.scale}: pa_edsr upscales by 2, 3 or 4")
        check_trunk(self)

    @property
    def steps(self) -> tuple[int, ...]:
        """Factors of the upsampler, one convolution and pixel shuffle each."""
        return (2, 2) if self.scale == 4 else (self.scale,)


class PaEdsr(nn.Module):
    """The whole network: head, blocks, pyramid attention, blocks, convolution, long skip, upsampler, tail."""

    mean: Tensor

    def __init__(self, config: PaEdsrConfig) -> None:
        super().__init__()
        width, half = config.features, config.blocks // 2
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = conv(3, width)
        self.before = nn.ModuleList([ResidualBlock(width, FACTOR) for _ in range(half)])
        self.attention = PyramidAttention(
            width, width // config.reduction, residual=FACTOR, legacy_resize=config.legacy_resize
        )
        self.after = nn.ModuleList([ResidualBlock(width, FACTOR) for _ in range(half)])
        self.merge = conv(width, width)
        self.upsampler = nn.Sequential(
            *(nn.Sequential(conv(width, step**2 * width), nn.PixelShuffle(step)) for step in config.steps)
        )
        self.tail = conv(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1, H and W from 2 -> (B, 3, scale H, scale W), unclamped."""
        x = (x - self.mean).contiguous(memory_format=torch.channels_last)  # as convolutions and attention read it
        shallow = deep = self.head(x)
        for block in self.before:
            deep = block(deep, F.relu)
        deep = self.attention(deep)
        for block in self.after:
            deep = block(deep, F.relu)
        out: Tensor = self.tail(self.upsampler(shallow + self.merge(deep)))
        return out + self.mean


def infer(shapes: Shapes) -> PaEdsrConfig | None:
    """Config of an official checkpoint; None when it is of another network."""
    blocks = official_blocks(shapes)
    match, up = shapes.get(f"body.{blocks // 2}.conv_match.0.weight"), shapes.get("tail.0.0.weight")
    if match is None or up is None or "head.0.weight" not in shapes:
        return None
    features = shapes["head.0.weight"][0]
    scale = 4 if "tail.0.2.weight" in shapes else round((up[0] / features) ** 0.5)
    return PaEdsrConfig(scale=scale, blocks=blocks, features=features, reduction=features // match[0])


def official(config: PaEdsrConfig) -> dict[str, str | None]:
    """Official name -> our name. The attention is listed twice."""
    names = attention_names("msa") | trunk_names(config.blocks) | attention_names(f"body.{config.blocks // 2}")
    for kind in ("weight", "bias"):
        names |= {f"tail.0.{2 * i}.{kind}": f"upsampler.{i}.0.{kind}" for i in range(len(config.steps))}
        names[f"tail.1.{kind}"] = f"tail.{kind}"
    return names


SPEC = NetworkSpec(
    name="pa_edsr",
    title="PA-EDSR",
    paper="Mei et al.: Pyramid Attention Networks for Image Restoration. arXiv 2004.13824",
    config=PaEdsrConfig,
    module=PaEdsr,
    presets={
        "pa_edsr_x2": PaEdsrConfig(scale=2),
        "pa_edsr_x3": PaEdsrConfig(scale=3),
        "pa_edsr_x4": PaEdsrConfig(scale=4),
        "pa_edsr_small_x2": PaEdsrConfig(scale=2, blocks=8, features=64, reduction=2),
        "pa_edsr_small_x3": PaEdsrConfig(scale=3, blocks=8, features=64, reduction=2),
        "pa_edsr_small_x4": PaEdsrConfig(scale=4, blocks=8, features=64, reduction=2),
    },
    default="pa_edsr_x2",
    infer=infer,
    official=official,
    min_size=2,
    tiling="required",  # the work grows with the square of the pixels
    context=10,
    scale=lambda config: config.scale,
)
