"""CCNet: gated blocks with a 9x9 window, and strip filters that reach across the picture at the end of every level.

Hao, Du, Liang, Xu, Xu, "Context-aware convolutional network for image restoration", arXiv 2412.11008. The skeleton is
ChaIR's (``layers.mimo``). Every block multiplies two views of its normalised input, one of which has passed a 9x9
depthwise convolution; the last block on every level adds strip filters generated from the picture: 11 taps for the
first half of the channels, 7 for the second, once densely and once dilated, along the width and then the height.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undegrade.core.memory import place
from undegrade.networks._spec import NetworkSpec, Shapes, at_least
from undegrade.networks.layers.inplace import add, add_product, gelu, multiply
from undegrade.networks.layers.mimo import MimoUNet, conv, infer_mimo, official_mimo_names
from undegrade.networks.layers.whole import whole_mean

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

    def __post_init__(self) -> None:
        at_least(1, self, "blocks", "colors")  # the last block of a stage is what the network is about


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
        return gelu(multiply(gelu(self.depthwise(self.value(n))), self.gate(n)))


class Strip(nn.Module):
    """One filter along the width or the height, its taps made from the mean of what it is applied to.

    Args:
        width: channels, which all share the filter.
        size: number of taps.
        dilation: distance of the taps.
        axis: of the tensor, 2 for the height or 3 for the width.
    """

    def __init__(self, width: int, size: int, dilation: int, axis: int) -> None:
        super().__init__()
        self.taps = nn.Conv2d(width, size, 1, bias=False)
        self.dilation, self.axis = dilation, axis

    def forward(self, u: Tensor) -> Tensor:
        """(B, c, h, w) -> same shape, reflected at the borders as often as the taps reach."""
        channels, size = u.shape[1], self.taps.out_channels
        taps = torch.sigmoid(F.conv2d(whole_mean(u), self.taps.weight.to(u.dtype)))  # (B, size, 1, 1), each in 0..1
        filters = taps.view(-1, 1, 1, size, 1) if self.axis == 2 else taps.view(-1, 1, 1, 1, size)
        reach = self.dilation * (size // 2)
        if place(u) == "cuda":  # shifts run at the pace of memory; cuDNN has no fast depthwise kernel for long strips
            return _shifted(_reflect(u.contiguous(), reach, self.axis), taps, self.dilation, self.axis)
        padded = _reflect(u, reach, self.axis)
        # Picture by picture a depthwise convolution that keeps the channels-last layout.
        filtered = [
            F.conv2d(picture, kernel.expand(channels, -1, -1, -1), groups=channels, dilation=self.dilation)
            for picture, kernel in zip(torch.split(padded, 1), filters, strict=True)
        ]
        return torch.cat(filtered) if len(filtered) > 1 else filtered[0]


def _shifted(padded: Tensor, taps: Tensor, dilation: int, axis: int) -> Tensor:
    """The sum of shifts of ``padded`` along ``axis``, each times its entry of ``taps``, (B, size, 1, 1)."""
    size = taps.shape[1]
    length = padded.shape[axis] - dilation * (size - 1)
    y = padded.narrow(axis, 0, length) * taps[:, :1]
    for tap in range(1, size):
        y = torch.addcmul(y, padded.narrow(axis, tap * dilation, length), taps[:, tap : tap + 1])
    return y


def _reflect(x: Tensor, pad: int, axis: int) -> Tensor:
    while pad:
        alone = x.shape[axis] == 1  # nothing but itself to reflect
        step = 1 if alone else min(pad, x.shape[axis] - 1)
        sides = (0, 0, step, step) if axis == 2 else (step, step, 0, 0)
        x = F.pad(x, sides, mode="replicate" if alone else "reflect")
        pad -= step
    return x


class StripUnit(nn.Module):
    """Strips along the width, then along the height, mixed with the direct path per channel."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(width, 1, 1))
        self.beta = nn.Parameter(torch.ones(width, 1, 1))
        # The second strip of each pair continues where the first ends.
        dilations = (1, (size + 1) // 2)
        self.strips = nn.Sequential(*(Strip(width, size, dilation, axis) for axis in (3, 2) for dilation in dilations))

    def forward(self, u: Tensor) -> Tensor:
        """(B, c, h, w) -> same shape."""
        with _without_autocast(u.device.type):
            v = u.to(torch.promote_types(u.dtype, torch.float32))
            v = self.strips(v)
            return add_product(multiply(v, self.gamma), self.beta, u).to(u.dtype)


def _without_autocast(device: str) -> AbstractContextManager[object]:
    """Strips stay in float32: four of them amplify (size / 2)**4 times, up to size**4, more than float16 holds.

    PyTorch 2.13 also crashes in the gradient of a dilated depthwise bfloat16 convolution on the CPU.
    """
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


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
        return add(self.conv(self.strips(self.gated(x))), x)


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
        ("H_spatial_att.0.conv.weight", "strips.0.taps.weight"),
        ("H_spatial_att.1.conv.weight", "strips.1.taps.weight"),
        ("W_spatial_att.0.conv.weight", "strips.2.taps.weight"),
        ("W_spatial_att.1.conv.weight", "strips.3.taps.weight"),
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
