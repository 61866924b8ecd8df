"""ChaIR: plain residual blocks, with channels that look at each other at the end of every level.

Cui and Knoll, "Exploring the potential of channel interactions for image restoration", Knowledge-Based Systems 282
(2023) 111156. A multi-input multi-output U-Net (``layers.mimo``) whose last block on every level holds two units of
channel attention: a filter of three taps that slides along the channel axis, generated from the picture, and four
convolutions in series that are weighed against each other channel by channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.core.errors import UsageError
from undegrade.networks._spec import NetworkSpec, Shapes, at_least
from undegrade.networks.layers.inplace import add, add_product, gelu, multiply
from undegrade.networks.layers.joint_norm import JointBatchNorm2d, processes
from undegrade.networks.layers.mimo import MimoUNet, conv, infer_mimo, official_mimo_names
from undegrade.networks.layers.naf import scaled
from undegrade.networks.layers.naf_strips import suits
from undegrade.networks.layers.whole import whole_mean

__all__ = ["SPEC", "ChaIR", "ChairConfig"]


_ELEMENTS = 1 << 20
"""Of a strip in which the channel filter walks; in float32 these are 4 MB."""


@dataclass(frozen=True)
class ChairConfig:
    """Numbers of the architecture.

    Attributes:
        width: channels at full size, a multiple of 4; 32 in everything published.
        blocks: residual blocks per stage; there are six stages.
        colors: channels of the picture.
    """

    width: int = 32
    blocks: int = 16
    colors: int = 3

    def __post_init__(self) -> None:
        at_least(1, self, "blocks", "colors")  # the last block of a stage is what the network is about


class ChannelFilter(nn.Module):
    """Every channel becomes a mix of itself and its two neighbours, by weights that the whole picture decides."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(width, 1, 1))
        self.beta = nn.Parameter(torch.ones(width, 1, 1))
        self.taps = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.norm = JointBatchNorm2d(3 * width)

    def forward(self, u: Tensor) -> Tensor:
        """(B, C, h, w) -> same shape.

        Raises:
            UsageError: training with a joint batch of one, of which batch normalisation has no statistics.
        """
        if self.training and u.shape[0] * processes() == 1:
            raise UsageError("batch of 1: training ChaIR normalises over the batch and needs at least 2 pictures in it")
        weights = torch.tanh(self.norm(self.taps(whole_mean(u)))).view(u.shape[0], 3, -1)  # of c - 1, c and c + 1
        # gamma * (left u[c-1] + centre u[c] + right u[c+1]) + beta * u, all in the three weights.
        weights = self.gamma.flatten() * weights + F.pad(self.beta.view(1, -1), (0, 0, 1, 1))
        if suits(u) and u.dtype == weights.dtype and u.is_contiguous(memory_format=torch.channels_last):
            return _walked(u, weights)
        # A matrix with three diagonals.
        units = F.pad(torch.eye(u.shape[1], dtype=weights.dtype, device=u.device), (1, 1), mode="reflect")
        slid = torch.stack((units[:, :-2], units[:, 1:-1], units[:, 2:]), 1)  # (C, 3, C); the ends are mirrored
        matrix = torch.einsum("btc,itc->bic", weights, slid).to(u.dtype)  # weights are wider under autocast
        # Channels are neighbours in memory.
        return torch.einsum("bhwi,bic->bhwc", u.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2)


def _walked(u: Tensor, weights: Tensor) -> Tensor:
    """The filter in three walks through a map that lies channels-last; a matrix would multiply its zeros as well.

    Args:
        u: (B, C, h, w).
        weights: (B, 3, C), of the channels c - 1, c and c + 1; overwritten.
    """
    batch, channels, height, width = u.shape
    # The ends are mirrored: their one neighbour counts for both, and no weight reaches into another pixel.
    ends = weights[:, ::2, :: channels - 1]  # left and right, of the first and the last channel
    ends.copy_(ends.sum(1, keepdim=True) * (1 - torch.eye(2)))
    # Several pixels are one row, in which the next number is the next channel: the longer, the fewer loops, until the
    # repeated weights no longer fit the fastest cache.
    span = 16 if height * width % 16 == 0 else width
    rows = u.permute(0, 2, 3, 1).view(batch, -1, span * channels)
    left, centre, right = weights.repeat(1, 1, span)[:, :, None].unbind(1)
    v = torch.empty_like(rows)
    strip = max(1, _ELEMENTS // (span * channels))
    for there, here in zip(torch.split(rows, strip, 1), torch.split(v, strip, 1), strict=True):
        torch.mul(there, centre, out=here)
        here[..., 1:].addcmul_(there[..., :-1], left[..., 1:])
        here[..., :-1].addcmul_(there[..., 1:], right[..., :-1])
    return v.view(batch, height, width, channels).permute(0, 3, 1, 2)


class SerialBranches(nn.Module):
    """Four 3x3 convolutions in series; their results are added with weights decided per channel by the picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        squeezed = max(width // 2, 32)
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.convs = nn.ModuleList([conv(width, width) for _ in range(4)])
        self.squeeze = nn.Conv2d(width, squeezed, 1)
        self.scores = nn.ModuleList([nn.Conv2d(squeezed, width, 1) for _ in range(4)])
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, u: Tensor) -> Tensor:
        """(B, C, h, w) -> same shape."""
        branches, last = [], u
        for layer in self.convs:
            last = gelu(layer(last))
            branches.append(last)
        # The mean of the sum is the sum of the means: no map of the sum is needed.
        squeezed = self.squeeze(sum(whole_mean(branch) for branch in branches))
        scores = torch.cat([score(squeezed) for score in self.scores], 1)
        weights = scores.softmax(1).chunk(4, 1)  # over all 4 C scores at once, not over the four branches
        mixed = multiply(branches[0], weights[0])
        for weight, branch in zip(weights[1:], branches[1:], strict=True):
            mixed = add_product(mixed, weight, branch)
        return add(scaled(self.out, self.gamma, mixed), u)


class Block(nn.Module):
    """3x3 convolution, depthwise 3x3 convolution, attention in the last block of a stage, 3x3 convolution, skip."""

    def __init__(self, width: int, attention: bool) -> None:
        super().__init__()
        self.conv1 = conv(width, width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.attention = nn.Sequential(ChannelFilter(width), SerialBranches(width)) if attention else nn.Identity()
        self.conv2 = conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same shape."""
        u = gelu(self.depthwise(gelu(self.conv1(x))))
        return add(self.conv2(self.attention(u)), x)


class ChaIR(MimoUNet):
    """The whole network; ``forward`` and ``scales`` are those of the skeleton."""

    def __init__(self, config: ChairConfig) -> None:
        def stage(width: int) -> nn.Sequential:
            return nn.Sequential(*(Block(width, attention=i == config.blocks - 1) for i in range(config.blocks)))

        super().__init__(config.width, stage, config.colors)


def infer(shapes: Shapes) -> ChairConfig | None:
    """Config of an official checkpoint; None when it is of another network."""
    shape = infer_mimo(shapes)
    if shape is None or "Encoder.0.layers.0.proj.weight" not in shapes:
        return None
    return ChairConfig(*shape)


def official(config: ChairConfig) -> dict[str, str]:
    """Official name -> our name."""

    def stage(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
        for i in range(config.blocks):
            layers = dict(_BLOCK)
            if i == config.blocks - 1:
                layers |= _ATTENTION
                for kind, name in _ATTENTION_ENTRIES.items():
                    yield f"{theirs}{i}.{kind}", f"{ours}{i}.attention.{name}"
            for layer, name in layers.items():
                for kind in ("weight", "bias"):
                    yield f"{theirs}{i}.{layer}.{kind}", f"{ours}{i}.{name}.{kind}"

    return official_mimo_names(stage)


_BLOCK = {"conv1.main.0": "conv1", "proj": "depthwise", "conv2.main.0": "conv2"}
_ATTENTION = {
    "dyna_ch.filter_bn": "attention.0.norm",
    # Executed in the order ll, l, m, h.
    "sfconv.convll.0": "attention.1.convs.0",
    "sfconv.convl.0": "attention.1.convs.1",
    "sfconv.convm.0": "attention.1.convs.2",
    "sfconv.convh.0": "attention.1.convs.3",
    "sfconv.fc": "attention.1.squeeze",
    # The scores are those of h, m, l, ll.
    **{f"sfconv.fcs.{i}": f"attention.1.scores.{3 - i}" for i in range(4)},
    "sfconv.out": "attention.1.out",
}
_ATTENTION_ENTRIES = {
    "dyna_ch.gamma": "0.gamma",
    "dyna_ch.beta": "0.beta",
    "dyna_ch.conv.weight": "0.taps.weight",
    "dyna_ch.filter_bn.running_mean": "0.norm.running_mean",
    "dyna_ch.filter_bn.running_var": "0.norm.running_var",
    "dyna_ch.filter_bn.num_batches_tracked": "0.norm.num_batches_tracked",
    "sfconv.gamma": "1.gamma",
}

SPEC = NetworkSpec(
    name="chair",
    title="ChaIR",
    paper="Cui, Knoll: Exploring the potential of channel interactions for image restoration. "
    "Knowledge-Based Systems 282 (2023) 111156",
    config=ChairConfig,
    module=ChaIR,
    presets={
        "chair_r16": ChairConfig(blocks=16),
        "chair_r8": ChairConfig(blocks=8),
        "chair_r4": ChairConfig(blocks=4),
        "chair_small": ChairConfig(width=16, blocks=4),
    },
    default="chair_r16",
    infer=infer,
    official=official,
    multiple_of=4,
    min_size=8,  # a quarter-size map of one pixel has no deviation to normalise by
    channels=lambda config: config.colors,
)
