"""PANet: residual blocks with pyramid attention in their middle, for denoising, demosaicing and JPEG artefacts.

Mei, Fan, Zhang, Yu, Zhou, Liu, Fu, Huang, Shi: Pyramid Attention Networks for Image Restoration, arXiv 2004.13824.
The network maps the degraded picture to the restored one directly; there is no skip from input to output.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undegrade.networks._spec import NetworkSpec, Shapes, at_least
from undegrade.networks.layers.edsr import (
    ResidualBlock,
    attention_names,
    check_trunk,
    conv,
    official_blocks,
    trunk_names,
)
from undegrade.networks.layers.prelu import PReLU
from undegrade.networks.layers.pyramid import PyramidAttention

__all__ = ["SPEC", "PANet", "PanetConfig"]


@dataclass(frozen=True)
class PanetConfig:
    """Every number of the architecture.

    Attributes:
        blocks: residual blocks, half of them before and half after the attention (published: 80).
        features: channels of the trunk.
        colors: channels of the picture: 3, or 1 for luma.
        reduction: the attention compares patches in features / reduction channels.
        legacy_resize: see ``PyramidAttention``.
    """

    blocks: int = 80
    features: int = 64
    colors: int = 3
    reduction: int = 2
    legacy_resize: bool = False

    def __post_init__(self) -> None:
        check_trunk(self)
        at_least(1, self, "colors")


class PANet(nn.Module):
    """The whole network: head, blocks, pyramid attention, blocks, convolution, long skip, tail."""

    def __init__(self, config: PanetConfig) -> None:
        super().__init__()
        width, half = config.features, config.blocks // 2
        self.head = conv(config.colors, width)
        self.before = nn.ModuleList([ResidualBlock(width) for _ in range(half)])
        self.attention = PyramidAttention(width, width // config.reduction, legacy_resize=config.legacy_resize)
        self.after = nn.ModuleList([ResidualBlock(width) for _ in range(half)])
        self.merge = conv(width, width)
        self.tail = conv(width, config.colors)
        self.activation = PReLU()  # one slope for all blocks

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in 0..1, H and W from 2 -> same shape, unclamped."""
        x = x.contiguous(memory_format=torch.channels_last)  # as convolutions and attention read it
        shallow = deep = self.head(x)
        for block in self.before:
            deep = block(deep, self.activation)
        deep = self.attention(deep)
        for block in self.after:
            deep = block(deep, self.activation)
        out: Tensor = self.tail(shallow + self.merge(deep))
        return out


def infer(shapes: Shapes) -> PanetConfig | None:
    """Config of an official checkpoint; None when it is of another network."""
    blocks = official_blocks(shapes)
    match = shapes.get(f"body.{blocks // 2}.conv_match.0.weight")
    if match is None or "head.0.weight" not in shapes or "tail.0.weight" not in shapes:
        return None
    features, colors = shapes["head.0.weight"][:2]
    return PanetConfig(blocks=blocks, features=features, colors=colors, reduction=features // match[0])


def official(config: PanetConfig) -> dict[str, str | None]:
    """Official name -> our name. The shared slope is listed once per block."""
    half = config.blocks // 2
    names = trunk_names(config.blocks)
    names |= {f"body.{i}.body.1.weight": "activation.weight" for i in range(config.blocks + 1) if i != half}
    names |= attention_names(f"body.{half}")
    return names | {f"tail.0.{kind}": f"tail.{kind}" for kind in ("weight", "bias")}


SPEC = NetworkSpec(
    name="panet",
    title="PANet",
    paper="Mei et al.: Pyramid Attention Networks for Image Restoration. arXiv 2004.13824",
    config=PanetConfig,
    module=PANet,
    presets={
        "panet_rgb": PanetConfig(),
        "panet_grey": PanetConfig(colors=1),
        "panet_b16": PanetConfig(blocks=16),
        "panet_b16_grey": PanetConfig(blocks=16, colors=1),
        "panet_small": PanetConfig(blocks=8, features=32, reduction=1),
    },
    default="panet_rgb",
    infer=infer,
    official=official,
    min_size=2,
    tiling="required",  # the work grows with the square of the pixels
    context=10,
    channels=lambda config: config.colors,
)
