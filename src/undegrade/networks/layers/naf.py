"""Blocks without activation functions (NAFNet, ECCV 2022) and the U that M3SNet and both MHNets build from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.core.errors import UsageError
from undegrade.core.memory import place
from undegrade.networks._spec import at_least
from undegrade.networks.layers.inplace import add
from undegrade.networks.layers.local_pool import Window, spread, window_at, window_mean
from undegrade.networks.layers.naf_strips import in_strips, raised_in_strips, suits

__all__ = [
    "LEVELS",
    "Decoder",
    "Encoder",
    "EncoderDecoder",
    "LayerNorm2d",
    "NAFBlock",
    "UConfig",
    "check_u",
    "gate",
    "norm_by_means",
    "pad_zeros",
    "raised",
    "scaled",
    "to_local",
    "up",
]


LEVELS = 4
"""Halvings in the U of all three networks; their sides are multiples of 2^4."""


class UConfig(Protocol):
    """The numbers that the configs of M3SNet and both MHNets share."""

    @property
    def width(self) -> int:
        """Channels at full resolution."""

    @property
    def enc_blocks(self) -> tuple[int, ...]:
        """Blocks of each encoder level, full resolution first."""

    @property
    def dec_blocks(self) -> tuple[int, ...]:
        """Blocks of each decoder level, deepest first."""

    @property
    def colors(self) -> int:
        """Channels of the picture."""


def gate(x: Tensor) -> Tensor:
    """SimpleGate: the first half of the channels times the second half."""
    first, second = x.chunk(2, dim=1)
    return first * second


def up(channels: int) -> nn.Sequential:
    """Double the size, halve the channels: 1x1 convolution without bias, then pixel shuffle."""
    return nn.Sequential(nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.PixelShuffle(2))


def raised(rise: nn.Module, x: Tensor, skip: Tensor, *, keep: bool = False) -> Tensor:
    """``rise(x) + skip`` for a ``rise`` that ``up`` made.

    Args:
        rise, x: what is raised, (B, 2C, H, W).
        skip: (B, C, 2H, 2W); its memory takes the result where no gradient is wanted, unless ``keep``.
        keep: whether ``skip`` is still needed.
    """
    if not suits(x):
        return add(rise(x), skip)
    assert isinstance(rise, nn.Sequential)
    conv = rise[0]
    assert isinstance(conv, nn.Conv2d)
    return raised_in_strips(conv, x, skip, torch.empty_like(skip) if keep else skip)


def pad_zeros(x: Tensor, multiple: int) -> Tensor:
    """Zeros at the bottom and right until both sides are multiples of ``multiple``."""
    rows, columns = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return F.pad(x, (0, columns, 0, rows))  # also when both are 0: one exported graph serves every size


def scaled(conv: nn.Conv2d, factor: Tensor, x: Tensor) -> Tensor:
    """``factor * conv(x)`` for a 1x1 convolution: the factor (1, C, 1, 1) goes into the weights, not the map."""
    assert conv.bias is not None
    return F.conv2d(x, conv.weight * factor.view(-1, 1, 1, 1), conv.bias * factor.view(-1))


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of each pixel, biased variance, eps 1e-6 inside the root.

    Runs natively on the channels-last view, which keeps statistics in float32 for half-precision input and costs no
    copy when the tensor is channels-last in memory. Torch's kernel for GPUs spends a block of threads on every pixel,
    far too many for our few channels: there the norm is written out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if place(x) == "cuda":
            return norm_by_means(self, x)
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, eps=1e-6)
        return y.permute(0, 3, 1, 2)


def norm_by_means(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """``norm(x)`` by means over the channels, taken in float32 at least: (B, C, H, W) -> the same shape.

    In half precision only where both ``x`` and the weights are, as the next convolution then needs it.
    """
    centred = x - x.mean(1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    length = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    scale = (length.square() / x.shape[1] + 1e-6).rsqrt()
    y = torch.addcmul(norm.bias.view(-1, 1, 1), centred * scale, norm.weight.view(-1, 1, 1))
    return y.to(torch.promote_types(x.dtype, norm.weight.dtype))


class NAFBlock(nn.Module):
    """Gated depth-wise convolution with simplified channel attention (SCA), then a gated feed-forward half.

    Both halves are residual and scaled by ``beta`` and ``gamma``, which start at zero: a fresh block is the identity.
    ``window`` is None for the global mean of SCA, or the window of its local form (see ``to_local``).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.norm1 = LayerNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.sca = nn.Conv2d(channels, channels, 1)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.norm2 = LayerNorm2d(channels)
        self.conv4 = nn.Conv2d(channels, wide, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.window: Window | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if suits(x):
            return in_strips(self, x)
        y = gate(self.conv2(self.conv1(self.norm1(x))))
        attention = self.sca(window_mean(y, self.window))
        y = y * spread(attention, y.shape[-2], y.shape[-1])
        x = x + scaled(self.conv3, self.beta, y)
        return x + scaled(self.conv5, self.gamma, gate(self.conv4(self.norm2(x))))


class Encoder(nn.Module):
    """Levels of NAFBlocks; a 2x2 convolution with stride 2 after each doubles the channels.

    Args:
        width: channels of the first level.
        blocks: how many blocks each level has.
    """

    def __init__(self, width: int, blocks: Sequence[int]) -> None:
        super().__init__()
        widths = [width << level for level in range(len(blocks))]
        self.levels = nn.ModuleList(
            nn.Sequential(*(NAFBlock(channels) for _ in range(count)))
            for channels, count in zip(widths, blocks, strict=True)
        )
        self.downs = nn.ModuleList(nn.Conv2d(channels, 2 * channels, 2, stride=2) for channels in widths)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, w, H, W) -> what goes on below, (B, w 2^L, H / 2^L, W / 2^L), and the features of each level."""
        features = []
        for level, down in zip(self.levels, self.downs, strict=True):
            features.append(level(x))
            x = down(features[-1])
        return x, features


class Decoder(nn.Module):
    """Ups, skip additions and NAFBlocks, the deepest level first.

    Args:
        width: channels of the last level, at full resolution.
        blocks: how many blocks each level has, the deepest first.
    """

    def __init__(self, width: int, blocks: Sequence[int]) -> None:
        super().__init__()
        widths = [width << level for level in reversed(range(len(blocks)))]
        self.ups = nn.ModuleList(up(2 * channels) for channels in widths)
        self.levels = nn.ModuleList(
            nn.Sequential(*(NAFBlock(channels) for _ in range(count)))
            for channels, count in zip(widths, blocks, strict=True)
        )

    def forward(self, x: Tensor, skips: list[Tensor], *, keep: bool = True) -> list[Tensor]:
        """Add ``skips`` (level 0 first, as the encoder gives them) and return every level's result, deepest first.

        The list is emptied, so that a skip is gone once it is added; without ``keep`` results may lie in their memory.
        """
        features = []
        for rise, level in zip(self.ups, self.levels, strict=True):
            x = raised(rise, x, skips.pop(), keep=keep)
            for block in level.children():  # one by one: the whole level's call would keep the sum to its end
                x = block(x)
            features.append(x)
        return features


class EncoderDecoder(nn.Module):
    """The whole U with plain skip additions, as both MHNets use it for their first stage.

    Args:
        colors: channels of the picture.
        width: channels at full resolution.
        enc_blocks: blocks of each encoder level, full resolution first.
        middle: what runs at the bottom, on ``width << levels`` channels.
        dec_blocks: blocks of each decoder level, deepest first.
    """

    def __init__(
        self, colors: int, width: int, enc_blocks: Sequence[int], middle: nn.Module, dec_blocks: Sequence[int]
    ) -> None:
        super().__init__()
        self.intro = nn.Conv2d(colors, width, 3, padding=1)
        self.encoder = Encoder(width, enc_blocks)
        self.middle = middle
        self.decoder = Decoder(width, dec_blocks)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, colors, H, W) -> encoder features, full resolution first, and decoder features, deepest first."""
        bottom, encoded = self.encoder(self.intro(x))
        return encoded, self.decoder(self.middle(bottom), list(encoded))


def check_u(config: UConfig) -> None:
    """Checks the numbers of a four-level U, and turns lists of counts (from YAML or JSON) into tuples.

    Raises:
        UsageError: a number that no such network can have.
    """
    for name in ("enc_blocks", "dec_blocks"):
        counts = tuple(getattr(config, name))
        object.__setattr__(config, name, counts)
        if len(counts) != LEVELS or min(counts) < 0:
            raise UsageError(f"{name}={counts}: give one count of 0 or more for each of the {LEVELS} levels")
    at_least(1, config, "colors")
    if config.width < 2 or config.width % 2:
        raise UsageError(f"width={config.width}: give an even number of 2 or more")


def to_local(module: nn.Module, width: int, train_size: tuple[int, int]) -> nn.Module:
    """Give every NAFBlock inside ``module`` the window of its level; a level is told by its channels.

    Args:
        module: a network whose channels are ``width`` at full resolution and double with every halving.
        width: those channels.
        train_size: height and width of the training patches.
    """
    for block in module.modules():
        if isinstance(block, NAFBlock):
            level = (block.conv3.out_channels // width).bit_length() - 1
            block.window = window_at(level, train_size)
    return module
