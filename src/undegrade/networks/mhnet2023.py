"""MHNet-2023: the first MHNet, with dual attention on shallow features and a global attention in the U; two outputs.

A U of NAFBlocks learns context and gives a first result; a second stage at full resolution, without any halving,
refines it from shallow features, the U's last feature and the features of all its levels. The published tables of
MHNet belong to this network. ``mhnet`` is its successor.

1x1 convolutions commute with bilinear enlargement, so they run before it here; the result is the official one to
rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.core.errors import UsageError
from undegrade.networks._spec import NetworkSpec, Shapes, at_least, count
from undegrade.networks.layers.channel_attention import ChannelAttention
from undegrade.networks.layers.inplace import add
from undegrade.networks.layers.naf import LEVELS, EncoderDecoder, LayerNorm2d, check_u, gate, pad_zeros
from undegrade.networks.layers.naf_official import U_PREFIXES, official_names, u_blocks
from undegrade.networks.layers.whole import whole_mean

__all__ = ["SPEC", "MHNet2023", "MHNet2023Config"]

_MULTIPLE = 1 << LEVELS


@dataclass(frozen=True)
class MHNet2023Config:
    """Every number of an MHNet-2023.

    Attributes:
        width: channels of the U at full resolution; a multiple of 4, doubled at each of the four halvings.
        n_feat: channels of the full-resolution stage, even; 40 for deraining, 64 for deblurring.
        enc_blocks: NAFBlocks of the four encoder levels, full resolution first.
        dec_blocks: NAFBlocks of the four decoder levels, deepest first.
        num_cab: attention blocks in each of the four groups of the full-resolution stage.
        colors: channels of the picture.
    """

    width: int = 32
    n_feat: int = 40
    enc_blocks: tuple[int, ...] = (1, 1, 1, 28)
    dec_blocks: tuple[int, ...] = (1, 1, 1, 1)
    num_cab: int = 8
    colors: int = 3

    def __post_init__(self) -> None:
        check_u(self)
        at_least(0, self, "num_cab")
        if self.width % 4:
            raise UsageError(f"width={self.width}: give a multiple of 4")
        if self.n_feat < 2 or self.n_feat % 2:
            raise UsageError(f"n_feat={self.n_feat}: give an even number of 2 or more")


class DualAttention(nn.Module):
    """Gated convolutions, then a spatial and a channel attention side by side; residual, without biases."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels // 2, channels, 3, padding=1, bias=False)
        self.spatial = nn.Conv2d(2, 1, 5, padding=2, bias=False)
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.excite = nn.Conv2d(channels // reduction, channels, 1, bias=False)
        self.join = nn.Conv2d(2 * channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y: Tensor = self.conv2(gate(self.conv1(x)))
        statistics = torch.cat([y.amax(1, keepdim=True), y.mean(1, keepdim=True)], 1)
        where = self.spatial(statistics).sigmoid()
        which = self.excite(F.relu(self.squeeze(whole_mean(y)))).sigmoid()
        y = self.join(torch.cat([y * where, y * which], 1))
        return x + y


class SCAB(nn.Module):
    """Two separable convolutions with a gate between, times a factor per channel; residual, without norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.depth1 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.point1 = nn.Conv2d(channels, channels, 1)
        self.depth2 = nn.Conv2d(half, half, 3, padding=1, groups=half)
        self.point2 = nn.Conv2d(half, channels, 1)
        self.attention = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y: Tensor = self.point2(self.depth2(gate(self.point1(self.depth1(x)))))
        factor: Tensor = self.attention(whole_mean(y))
        return x + y * factor


class Refinement(nn.Module):
    """CASNet: four groups of SCABs at full resolution, each followed by the features of one level of the U."""

    def __init__(self, width: int, n_feat: int, num_cab: int) -> None:
        super().__init__()
        levels = range(LEVELS)
        self.info = nn.Conv2d(width, n_feat, 1, bias=False)
        self.norms = nn.ModuleList(LayerNorm2d(n_feat) for _ in levels)
        self.groups = nn.ModuleList(
            nn.Sequential(*(SCAB(n_feat) for _ in range(num_cab)), nn.Conv2d(n_feat, n_feat, 3, padding=1, bias=False))
            for _ in levels
        )
        self.from_enc = nn.ModuleList(_narrow(width, n_feat, level) for level in levels)
        self.from_dec = nn.ModuleList(_narrow(width, n_feat, level) for level in levels)

    def forward(self, x: Tensor, encoded: list[Tensor], decoded: list[Tensor]) -> Tensor:
        """(B, w, H, W) and the U's features, full resolution first and deepest first -> (B, n_feat, H, W)."""
        x = self.info(x)
        for level in range(LEVELS):
            x = self.norms[level](x)
            x = add(self.groups[level](x), x)
            context = self.from_enc[level](encoded[level]) + self.from_dec[level](decoded[-1 - level])
            for _ in range(level):
                context = F.interpolate(context, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = add(x, context)
        return x


def _narrow(width: int, n_feat: int, level: int) -> nn.Sequential:
    """From the U's channels at ``level`` to ``n_feat``: a 1x1 convolution per doubling of the size, and one more."""
    widths = [width << halvings for halvings in range(level, 0, -1)] + [n_feat if level else width, n_feat]
    return nn.Sequential(*(nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(widths)))


class MHNet2023(nn.Module):
    """The network of arXiv 2302.09554 v1; ``forward`` keeps the size of its input."""

    def __init__(self, config: MHNet2023Config) -> None:
        super().__init__()
        colors, width = config.colors, config.width
        self.shallow = nn.Sequential(nn.Conv2d(colors, width, 3, padding=1, bias=False), DualAttention(width))
        middle = nn.Sequential(ChannelAttention(width << LEVELS))
        self.stage1 = EncoderDecoder(colors, width, config.enc_blocks, middle, config.dec_blocks)
        self.stage1_ending = nn.Conv2d(width, colors, 3, padding=1)
        self.concat = nn.Conv2d(2 * width, width, 3, padding=1, bias=False)
        self.stage2 = Refinement(width, config.n_feat, config.num_cab)
        self.tail = nn.Conv2d(config.n_feat, colors, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, colors, H, W) in 0..1 -> the restored picture, same shape, not clamped.

        The official network takes multiples of 16 only; this one pads with zeros as M3SNet does, and crops.
        """
        height, width = x.shape[-2:]
        x = pad_zeros(x, _MULTIPLE).contiguous(memory_format=torch.channels_last)
        return self._restored(x, *self.stage1(x))[..., :height, :width]

    def scales(self, x: Tensor) -> list[Tensor]:
        """Both official outputs, of full size: the restored picture, and the first stage's."""
        height, width = x.shape[-2:]
        x = pad_zeros(x, _MULTIPLE).contiguous(memory_format=torch.channels_last)
        encoded, decoded = self.stage1(x)
        outputs = self._restored(x, encoded, decoded), self.stage1_ending(decoded[-1]) + x
        return [y[..., :height, :width] for y in outputs]

    def _restored(self, x: Tensor, encoded: list[Tensor], decoded: list[Tensor]) -> Tensor:
        features = self.concat(torch.cat([self.shallow(x), decoded[-1]], 1))
        y: Tensor = self.tail(self.stage2(features, encoded, decoded)) + x
        return y


def _infer(shapes: Shapes) -> MHNet2023Config | None:
    if not {"shallow_feat1.0.weight", "stage2.info.weight", "tail.weight"} <= shapes.keys():
        return None
    width, colors = shapes["shallow_feat1.0.weight"][:2]
    return MHNet2023Config(
        width=width,
        n_feat=shapes["stage2.info.weight"][0],
        enc_blocks=u_blocks(shapes, "encoders", "stage1."),
        dec_blocks=u_blocks(shapes, "decoders", "stage1."),
        num_cab=count(shapes, "stage2.CABG1.body.") - 1,
        colors=colors,
    )


def _official(config: MHNet2023Config) -> Mapping[str, str | None]:
    with torch.device("meta"):
        ours = MHNet2023(config).state_dict()
    return official_names(ours, _prefixes(config.num_cab)) | {"info.weight": None, "info.bias": None}


def _prefixes(num_cab: int) -> Iterator[tuple[str, str]]:
    """How names begin: ours, and in the official file."""
    yield "stage1_ending.", "stage1.ending."
    yield "concat.", "concat12."
    yield "shallow.0.", "shallow_feat1.0."
    for ours, official in (
        ("conv1", "body.0"),
        ("conv2", "body.2"),
        ("spatial", "SA.spatial.conv"),
        ("squeeze", "CA.conv_du.0"),
        ("excite", "CA.conv_du.2"),
        ("join", "conv1x1"),
    ):
        yield f"shallow.1.{ours}.", f"shallow_feat1.1.{official}."
    for level in range(LEVELS):
        number = level + 1
        yield f"stage2.norms.{level}.", f"stage2.norm{number}."
        for block in range(num_cab):
            group, body = f"stage2.groups.{level}.{block}.", f"stage2.CABG{number}.body.{block}."
            yield f"{group}depth1.", f"{body}body.0.depth_conv."
            yield f"{group}point1.", f"{body}body.0.point_conv."
            yield f"{group}depth2.", f"{body}body.2.depth_conv."
            yield f"{group}point2.", f"{body}body.2.point_conv."
            yield f"{group}attention.", f"{body}SCA.conv_du.0."
        yield f"stage2.groups.{level}.{num_cab}.", f"stage2.CABG{number}.body.{num_cab}."
        for part in ("enc", "dec"):
            for step in range(level):
                index = f"{step}." if level > 1 else ""
                yield f"stage2.from_{part}.{level}.{step}.", f"stage2.up_{part}{level}.{index}up.1."
            yield f"stage2.from_{part}.{level}.{level}.", f"stage2.conv_{part}{number}."
    for prefix, official in U_PREFIXES:
        yield f"stage1.{prefix}", f"stage1.{official}"


SPEC = NetworkSpec(
    name="mhnet2023",
    title="MHNet-2023",
    paper="Gao et al.: Mixed Hierarchy Network for Image Restoration, arXiv 2302.09554, version 1, 2023",
    config=MHNet2023Config,
    module=MHNet2023,
    presets={
        "mhnet2023_nf40": MHNet2023Config(n_feat=40),  # deraining
        "mhnet2023_nf64": MHNet2023Config(n_feat=64),  # deblurring
    },
    default="mhnet2023_nf40",
    infer=_infer,
    official=_official,
    multiple_of=_MULTIPLE,
    padding="reflect",
    official_padding="zeros",  # the rule of M3SNet, whose first stage this is; the official file has none
    tiling="discouraged",
    context=64,
    channels=lambda config: config.colors,
)
