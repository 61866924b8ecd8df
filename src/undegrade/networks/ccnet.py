"""CCNet: gated blocks with a 9x9 window, and strip filters that reach across the picture at the end of every level.

Hao, Du, Liang, Xu, Xu, "Context-aware convolutional network for image restoration", arXiv 2412.11008. The skeleton is
ChaIR's (``layers.mimo``). Every block multiplies two views of its normalised input, one of which has passed a 9x9
depthwise convolution; the last block on every level adds strip filters generated from the picture: 11 taps for the
first half of the channels, 7 for the second, once densely and once dilated, along the width and then the height.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undegrade.networks._spec import NetworkSpec, Shapes
from undegrade.networks.layers.mimo import MimoUNet, conv, infer_mimo, official_mimo_names
from undegrade.networks.layers.strips import Band, band, filter_profile

__all__ = ["SPEC", "CCNet", "CCNetConfig"]


@dataclass(frozen=True)
class CCNetConfig:
    """Numbers of the architecture.

    Attributes:
        width: channels at full size, a multiple of 4.
        blocks: blocks per stage; there are six stages.
        colors: channels of the picture.
    """

    width: int = 40
    blocks: int = 4
    colors: int = 3


class GatedUnit(nn.Module):
    """Normalise each pixel over its channels; multiply a widely filtered view by an unfiltered one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.value = nn.Conv2d(width, width, 1, bias=False)
        self.depthwise = nn.Conv2d(width, width, 9, padding=4, groups=width)
        self.gate = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same shape."""
        n = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return F.gelu(F.gelu(self.depthwise(self.value(n))) * self.gate(n))


class StripPair(nn.Module):
    """Taps of two strips along one axis, the second dilated so that it continues where the first ends."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.dense = nn.Conv2d(width, size, 1, bias=False)
        self.dilated = nn.Conv2d(width, size, 1, bias=False)
        self.dilation = (size + 1) // 2

    def forward(self, profile: Tensor) -> list[Band]:
        """Both strips as one banded matrix.

        Args:
            profile: (B, C, length), the map's mean over the other axis. Each strip's taps follow from the mean of what
                it is applied to, and filtering commutes with the mean over the other axis: no map in between is needed.
        """
        first = _taps(self.dense, profile)
        second = _taps(self.dilated, filter_profile(profile, first, 1))
        return band(first, second, self.dilation, profile.shape[-1])


def _taps(layer: nn.Module, profile: Tensor) -> Tensor:
    return torch.sigmoid(layer(profile.mean(-1)[:, :, None, None])).flatten(1)


class StripUnit(nn.Module):
    """Strips along the width, then along the height, mixed with the direct path per channel."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(width, 1, 1))
        self.beta = nn.Parameter(torch.ones(width, 1, 1))
        self.along_width = StripPair(width, size)
        self.along_height = StripPair(width, size)

    def forward(self, u: Tensor) -> Tensor:
        """(B, c, h, w) -> same shape."""
        v = _along_width(self.along_width(u.mean(2)), u)
        v = _along_height(self.along_height(v.mean(3)), v)
        return torch.addcmul(self.beta * u, self.gamma, v)


def _along_width(blocks: list[Band], u: Tensor) -> Tensor:
    rows = u.flatten(1, 2)  # (B, c h, w)
    return torch.cat([rows[..., b.first : b.last] @ b.rows.mT for b in blocks], -1).view_as(u)


def _along_height(blocks: list[Band], u: Tensor) -> Tensor:
    return torch.cat([b.rows[:, None] @ u[:, :, b.first : b.last] for b in blocks], 2)


class Strips(nn.Module):
    """Half of the channels through the 11-tap unit, half through the 7-tap unit."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = StripUnit(width // 2, 11)
        self.narrow = StripUnit(width // 2, 7)

    def forward(self, u: Tensor) -> Tensor:
        """(B, C, h, w) -> same shape."""
        first, second = u.chunk(2, 1)
        return torch.cat([self.wide(first), self.narrow(second)], 1)


class Block(nn.Module):
    """Gated unit, strips in the last block of a stage, 3x3 convolution, skip."""

    def __init__(self, width: int, strips: bool) -> None:
        super().__init__()
        self.gated = GatedUnit(width)
        self.strips = Strips(width) if strips else nn.Identity()
        self.conv = conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same shape."""
        out: Tensor = x + self.conv(self.strips(self.gated(x)))
        return out


class CCNet(MimoUNet):
    """The whole network; ``forward`` and ``scales`` are those of the skeleton."""

    def __init__(self, config: CCNetConfig) -> None:
        def stage(width: int) -> nn.Sequential:
            return nn.Sequential(*(Block(width, strips=i == config.blocks - 1) for i in range(config.blocks)))

        super().__init__(config.width, stage, config.colors)


def infer(shapes: Shapes) -> CCNetConfig | None:
    """Config of an official checkpoint; None when it is of another network."""
    shape = infer_mimo(shapes)
    if shape is None or "Encoder.0.layers.0.conv1.main.0.pixel_norm.weight" not in shapes:
        return None
    return CCNetConfig(*shape)


def official(config: CCNetConfig) -> dict[str, str]:
    """Official name -> our name."""

    def stage(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
        for i in range(config.blocks):
            names = _BLOCK | (_STRIPS if i == config.blocks - 1 else {})
            yield from ((f"{theirs}{i}.{official}", f"{ours}{i}.{name}") for official, name in names.items())

    return official_mimo_names(stage)


_BLOCK = {
    "conv1.main.0.pixel_norm.weight": "gated.norm.weight",
    "conv1.main.0.pixel_norm.bias": "gated.norm.bias",
    "conv1.main.0.pw1.weight": "gated.value.weight",
    "conv1.main.0.dw1.weight": "gated.depthwise.weight",
    "conv1.main.0.dw1.bias": "gated.depthwise.bias",
    "conv1.main.0.pw2.weight": "gated.gate.weight",
    "conv2.main.0.weight": "conv.weight",
    "conv2.main.0.bias": "conv.bias",
}
_STRIPS = {
    f"{theirs}.{entry}": f"strips.{ours}.{name}"
    for theirs, ours in (("cubic_11", "wide"), ("cubic_7", "narrow"))
    for entry, name in (
        ("gamma", "gamma"),
        ("beta", "beta"),
        # The official H runs along the width, W along the height.
        ("H_spatial_att.0.conv.weight", "along_width.dense.weight"),
        ("H_spatial_att.1.conv.weight", "along_width.dilated.weight"),
        ("W_spatial_att.0.conv.weight", "along_height.dense.weight"),
        ("W_spatial_att.1.conv.weight", "along_height.dilated.weight"),
    )
}

SPEC = NetworkSpec(
    name="ccnet",
    title="CCNet",
    paper="Hao, Du, Liang, Xu, Xu: Context-aware convolutional network for image restoration. arXiv 2412.11008",
    config=CCNetConfig,
    module=CCNet,
    presets={
        "ccnet_dehaze": CCNetConfig(width=40, blocks=4),
        "ccnet_motion": CCNetConfig(width=36, blocks=16),
        "ccnet_desnow": CCNetConfig(width=36, blocks=6),
        "ccnet_small": CCNetConfig(width=20, blocks=4),
    },
    default="ccnet_dehaze",
    infer=infer,
    official=official,
    multiple_of=4,
    # The official strips reflect once, by up to 30 pixels at quarter size. Ours reflect as often as needed, so smaller
    # crops can be trained on; pictures are padded up to where both agree.
    min_size=124,
    channels=lambda config: config.colors,
)
