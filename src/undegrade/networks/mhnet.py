"""MHNet: a U of NAFBlocks for context feeds a full-resolution stage for details; deblurring and deraining.

What is new: a selective channel attention at the bottom of the U, and an adaptive fusion (AFFM) that takes the U's
encoder and decoder features of every level into the full-resolution stage. This is the network of the paper's fourth
version, released in December 2024; ``mhnet2023`` is the first one, under the same name.

1x1 convolutions that meet at a pixel shuffle are multiplied into one before they run, and convolutions whose results
the official file throws away have no parameters here; the result is the official one to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.core.errors import UsageError
from undegrade.networks._spec import NetworkSpec, Shapes, at_least, count
from undegrade.networks.layers.channel_attention import ChannelAttention
from undegrade.networks.layers.inplace import add
from undegrade.networks.layers.local_pool import Window, spread, window_at, window_mean
from undegrade.networks.layers.naf import (
    LEVELS,
    EncoderDecoder,
    LayerNorm2d,
    NAFBlock,
    check_u,
    gate,
    pad_zeros,
    to_local,
    up,
)
from undegrade.networks.layers.naf_official import U_PREFIXES, official_names, u_blocks
from undegrade.networks.layers.whole import shared

__all__ = ["SPEC", "MHNet", "MHNetConfig"]

_MULTIPLE = 1 << LEVELS


@dataclass(frozen=True)
class MHNetConfig:
    """Every number of an MHNet.

    Attributes:
        width: channels at full resolution; even, doubled at each of the four halvings.
        enc_blocks: NAFBlocks of the four encoder levels, full resolution first.
        dec_blocks: NAFBlocks of the four decoder levels, deepest first.
        num_cab: NAFBlocks in each of the four groups of the full-resolution stage.
        colors: channels of the picture.
    """

    width: int = 64
    enc_blocks: tuple[int, ...] = (1, 1, 1, 28)
    dec_blocks: tuple[int, ...] = (1, 1, 1, 1)
    num_cab: int = 8
    colors: int = 3

    def __post_init__(self) -> None:
        check_u(self)
        at_least(0, self, "num_cab")
        if _squeezed(self.width) % 2:
            raise UsageError(f"width={self.width}: its eighth, {self.width // 8}, is odd, and the fusions halve it")


class SelectiveAttention(ChannelAttention):
    """Channel attention that adds up four softmaxes, each over the best 1/2, 2/3, 3/4 and 4/5 of a row's scores."""

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__(channels, heads)
        row = channels // heads
        self.kept = (row // 2, row * 2 // 3, row * 3 // 4, row * 4 // 5)
        self.mix = nn.ParameterList(nn.Parameter(torch.full((1,), 0.2)) for _ in self.kept)

    def attend(self, scores: Tensor) -> Tensor:
        """One sort serves all four: they share the largest score, so each is the same exponentials over its own sum."""
        ranked, order = scores.sort(dim=-1, descending=True, stable=True)
        powers = (ranked - ranked[..., :1]).exp()
        sums = powers.cumsum(-1)
        rank = torch.arange(scores.shape[-1], device=scores.device)
        factors = sum(
            mix * (rank < kept) / sums[..., kept - 1 : kept] for mix, kept in zip(self.mix, self.kept, strict=True)
        )
        return torch.zeros_like(powers).scatter(-1, order, powers * factors)


def _squeezed(channels: int) -> int:
    """Channels before the gate in a fusion of so many."""
    return max(channels // 8, 4)


class FeatureFusion(nn.Module):
    """AFFM: three maps are weighted per channel and added; each map's weights are a softmax over the channels.

    The U's two maps come packed: still in the shape before their last pixel shuffle, so that means and weights run on
    the small maps. ``window`` is None for the global mean, or the window of the local form.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _squeezed(channels)
        self.squeeze = nn.Conv2d(channels, squeezed, 1, bias=False)
        self.expand = nn.ModuleList(nn.Conv2d(squeezed // 2, channels, 1, bias=False) for _ in range(3))
        self.window: Window | None = None

    def forward(self, x: Tensor, encoded: Tensor, decoded: Tensor, ratio: int) -> Tensor:
        """Fuse (B, C, H, W) with two maps (B, C ratio^2, H / ratio, W / ratio)."""
        if self.window is None:
            packed = (encoded + decoded).mean((2, 3), keepdim=True)
            mean = shared(x.mean((2, 3), keepdim=True) + F.pixel_shuffle(packed, ratio).mean((2, 3), keepdim=True))
        else:  # the weights vary within a packed pixel
            encoded, decoded, ratio = F.pixel_shuffle(encoded, ratio), F.pixel_shuffle(decoded, ratio), 1
            mean = window_mean(x + encoded + decoded, self.window)
        z = gate(self.squeeze(mean))
        own, enc, dec = (spread(expand(z).softmax(1), x.shape[-2], x.shape[-1]) for expand in self.expand)
        packed = encoded * enc.repeat_interleave(ratio * ratio, 1) + decoded * dec.repeat_interleave(ratio * ratio, 1)
        return own * x + F.pixel_shuffle(packed, ratio)


class Refinement(nn.Module):
    """FRSNet: four groups of NAFBlocks at full resolution, each followed by the features of one level of the U.

    The official ``conv_dnc1`` serves the decoder features of all four levels.
    """

    def __init__(self, width: int, num_cab: int) -> None:
        super().__init__()
        levels = range(LEVELS)
        self.norms = nn.ModuleList(LayerNorm2d(width) for _ in levels)
        self.groups = nn.ModuleList(nn.Sequential(*(NAFBlock(width) for _ in range(num_cab))) for _ in levels)
        self.up_enc = nn.ModuleList(_ups(width, level) for level in levels)
        self.up_dec = nn.ModuleList(_ups(width, level) for level in levels)
        self.conv_enc = nn.ModuleList(nn.Conv2d(width, width, 1, bias=False) for _ in levels)
        self.conv_dec = nn.Conv2d(width, width, 1, bias=False)
        self.fusions = nn.ModuleList(FeatureFusion(width) for _ in levels)

    def forward(self, x: Tensor, encoded: list[Tensor], decoded: list[Tensor]) -> Tensor:
        """(B, w, H, W) and the U's features, full resolution first and deepest first -> (B, w, H, W)."""
        for level in range(LEVELS):
            x = self.norms[level](x)
            x = add(self.groups[level](x), x)
            e = _pack(encoded[level], self.up_enc[level], self.conv_enc[level])
            d = _pack(decoded[-1 - level], self.up_dec[level], self.conv_dec)
            x = self.fusions[level](x, e, d, ratio=2 if level else 1)
        return x


def _ups(width: int, level: int) -> nn.Sequential:
    return nn.Sequential(*(up(width << rise) for rise in range(level, 0, -1)))


def _pack(x: Tensor, ups: nn.Module, last: nn.Module) -> Tensor:
    """Raise ``x`` through ``ups`` and the 1x1 convolution ``last``, all but the last pixel shuffle.

    A kernel after a shuffle acts on each of the four sub-pixels alike, so it multiplies into the one before:
    (w, w) after (4w, 2w) is one (4w, 2w).
    """
    assert isinstance(ups, nn.Sequential)
    assert isinstance(last, nn.Conv2d)
    if not len(ups):
        y: Tensor = last(x)
        return y
    rise = ups[-1].get_parameter("0.weight")
    kernel = torch.einsum("oc,csihw->osihw", last.weight[:, :, 0, 0], rise.view(-1, 4, *rise.shape[1:])).flatten(0, 1)
    return F.conv2d(ups[:-1](x), kernel)


class MHNet(nn.Module):
    """The network of arXiv 2302.09554 v4; ``forward`` keeps the size of its input."""

    def __init__(self, config: MHNetConfig) -> None:
        super().__init__()
        width = config.width
        self.intro = nn.Conv2d(config.colors, width, 3, padding=1, bias=False)
        self.stage1 = EncoderDecoder(
            config.colors,
            width,
            config.enc_blocks,
            nn.Sequential(SelectiveAttention(width << LEVELS)),
            config.dec_blocks,
        )
        self.concat = nn.Conv2d(2 * width, width, 1, bias=False)
        self.stage2 = Refinement(width, config.num_cab)
        self.ending = nn.Conv2d(width, config.colors, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, colors, H, W) in 0..1 -> the same shape, not clamped.

        The official network takes multiples of 16 only; this one pads with zeros as M3SNet does, and crops.
        """
        height, width = x.shape[-2:]
        x = pad_zeros(x, _MULTIPLE).contiguous(memory_format=torch.channels_last)
        encoded, decoded = self.stage1(x)
        y: Tensor = self.ending(self.stage2(self.join(x, decoded[-1]), encoded, decoded)) + x
        return y[..., :height, :width]

    def join(self, image: Tensor, context: Tensor) -> Tensor:
        """``concat(cat(intro(image), context))``, with the half that follows ``intro`` multiplied into its kernel."""
        for_image, for_context = self.concat.weight.chunk(2, dim=1)
        kernel = torch.einsum("oc,cihw->oihw", for_image[:, :, 0, 0], self.intro.weight)
        return F.conv2d(image, kernel, padding=1) + F.conv2d(context, for_context)


def _infer(shapes: Shapes) -> MHNetConfig | None:
    if not {"intro2.weight", "concat12.weight", "stage2.skff1.conv_du.0.weight"} <= shapes.keys():
        return None
    width, colors = shapes["intro2.weight"][:2]
    return MHNetConfig(
        width=width,
        enc_blocks=u_blocks(shapes, "encoders", "stage1."),
        dec_blocks=u_blocks(shapes, "decoders", "stage1."),
        num_cab=count(shapes, "stage2.CABG1."),
        colors=colors,
    )


def _official(config: MHNetConfig) -> Mapping[str, str | None]:
    with torch.device("meta"):
        ours = MHNet(config).state_dict()
    thrown_away = ["intro.weight", "stage1.ending.weight", "stage1.ending.bias"]
    unused = [f"stage2.conv_dnc{level}.weight" for level in (2, 3, 4)]
    return official_names(ours, _prefixes()) | dict.fromkeys([*thrown_away, *unused])


def _prefixes() -> Iterator[tuple[str, str]]:
    """How names begin: ours, and in the official file."""
    yield "intro.", "intro2."
    yield "concat.", "concat12."
    yield "stage2.conv_dec.", "stage2.conv_dnc1."
    for level in range(LEVELS):
        number = level + 1
        yield f"stage1.middle.0.mix.{level}", f"stage1.middle_blks.0.attn{number}"
        yield f"stage2.norms.{level}.", f"stage2.norm{number}."
        yield f"stage2.groups.{level}.", f"stage2.CABG{number}."
        yield f"stage2.conv_enc.{level}.", f"stage2.conv_enc{number}."
        yield f"stage2.fusions.{level}.squeeze.", f"stage2.skff{number}.conv_du.0."
        yield f"stage2.fusions.{level}.expand.", f"stage2.skff{number}.fcs."
        for part in ("up_enc", "up_dec"):
            for step in range(level):
                index = f"{step}." if level > 1 else ""
                yield f"stage2.{part}.{level}.{step}.", f"stage2.{part}{level}.{index}up."
    for prefix, official in U_PREFIXES:
        yield f"stage1.{prefix}", f"stage1.{official}"


def _local(module: nn.Module, train_size: tuple[int, int]) -> nn.Module:
    assert isinstance(module, MHNet)
    for fusion in module.stage2.fusions:
        assert isinstance(fusion, FeatureFusion)
        fusion.window = window_at(0, train_size)
    return to_local(module, module.intro.out_channels, train_size)


SPEC = NetworkSpec(
    name="mhnet",
    title="MHNet",
    paper="Gao et al.: Mixed Hierarchy Network for Image Restoration, arXiv 2302.09554, version 4, 2023",
    config=MHNetConfig,
    module=MHNet,
    presets={
        "mhnet_w64": MHNetConfig(),
        "mhnet_w32": MHNetConfig(width=32),  # ours, small
        "mhnet_w16": MHNetConfig(width=16, num_cab=2),  # ours, for tests and trials
    },
    default="mhnet_w64",
    infer=_infer,
    official=_official,
    multiple_of=_MULTIPLE,
    padding="reflect",
    official_padding="zeros",  # the rule of M3SNet, whose first stage this is; the official file has none
    tiling="discouraged",
    context=64,
    channels=lambda config: config.colors,
    local=_local,
)
