"""M3SNet: one U of NAFBlocks with channel attention at the bottom and fused skips; deblurring and deraining.

What is new against NAFNet: the bottom is a multi-head attention between channels (MHAMB), and a feature fusion
middleware (FFM) mixes each encoder feature with the one below it before it goes to the decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undegrade.networks._spec import NetworkSpec, Shapes, at_least, count
from undegrade.networks.layers.channel_attention import ChannelAttention
from undegrade.networks.layers.naf import LEVELS, Decoder, Encoder, NAFBlock, check_u, pad_zeros, raised, to_local, up
from undegrade.networks.layers.naf_official import U_PREFIXES, official_names, u_blocks

__all__ = ["SPEC", "M3SNet", "M3SNetConfig"]

_MULTIPLE = 1 << LEVELS
_FUSED = (0, 1, 2, 0, 1)
"""Level of the encoder feature that each step of the FFM renews: two passes, the second one level shorter."""


@dataclass(frozen=True)
class M3SNetConfig:
    """Every number of an M3SNet.

    Attributes:
        width: channels at full resolution; even, doubled at each of the four halvings.
        enc_blocks: NAFBlocks of the four encoder levels, full resolution first.
        middle_blocks: attention blocks at the bottom.
        dec_blocks: NAFBlocks of the four decoder levels, deepest first.
        colors: channels of the picture.
    """

    width: int = 32
    enc_blocks: tuple[int, ...] = (1, 1, 1, 28)
    middle_blocks: int = 1
    dec_blocks: tuple[int, ...] = (1, 1, 1, 1)
    colors: int = 3

    def __post_init__(self) -> None:
        check_u(self)
        at_least(0, self, "middle_blocks")


class Fusion(nn.Module):
    """One step of the FFM: a feature plus the doubled deeper one, through a NAFBlock."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = up(2 * channels)
        self.block = NAFBlock(channels)

    def forward(self, feature: Tensor, deeper: Tensor) -> Tensor:
        """(B, C, H, W), not to be used afterwards, and (B, 2C, H/2, W/2) -> (B, C, H, W)."""
        y: Tensor = self.block(raised(self.up, deeper, feature))
        return y


class M3SNet(nn.Module):
    """The network of arXiv 2305.05146; ``forward`` keeps the size of its input."""

    def __init__(self, config: M3SNetConfig) -> None:
        super().__init__()
        width = config.width
        self.intro = nn.Conv2d(config.colors, width, 3, padding=1)
        self.encoder = Encoder(width, config.enc_blocks)
        self.middle = nn.Sequential(*(ChannelAttention(width << LEVELS) for _ in range(config.middle_blocks)))
        self.fusions = nn.ModuleList(Fusion(width << level) for level in _FUSED)
        self.decoder = Decoder(width, config.dec_blocks)
        self.ending = nn.Conv2d(width, config.colors, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, colors, H, W) in 0..1 -> the same shape, not clamped.

        The official network pads with zeros to multiples of 16 and returns the padded size; this one crops.
        """
        height, width = x.shape[-2:]
        x = pad_zeros(x, _MULTIPLE).contiguous(memory_format=torch.channels_last)
        bottom, features = self.encoder(self.intro(x))
        self.fuse(features)
        *_, full = self.decoder(self.middle(bottom), features, keep=False)
        y: Tensor = self.ending(full) + x
        return y[..., :height, :width]

    def fuse(self, features: list[Tensor]) -> None:
        """FFM, in place: every step takes what the pass before left, never a result of its own pass; from the largest
        feature down, a result can take the place of its feature.
        """
        for fusion, level in zip(self.fusions, _FUSED, strict=True):
            features[level] = fusion(features[level], features[level + 1])


def _infer(shapes: Shapes) -> M3SNetConfig | None:
    if not {"intro.weight", "middle_ups.0.0.weight"} <= shapes.keys():
        return None
    width, colors = shapes["intro.weight"][:2]
    return M3SNetConfig(
        width=width,
        enc_blocks=u_blocks(shapes, "encoders"),
        middle_blocks=count(shapes, "middle_blks."),
        dec_blocks=u_blocks(shapes, "decoders"),
        colors=colors,
    )


def _official(config: M3SNetConfig) -> Mapping[str, str | None]:
    with torch.device("meta"):
        ours = M3SNet(config).state_dict()
    steps = range(len(_FUSED))
    fusions = [(f"fusions.{step}.block.", f"middle.{step}.0.") for step in steps]
    rises = [(f"fusions.{step}.up.", f"middle_ups.{step}.") for step in steps]
    return official_names(ours, [*U_PREFIXES, *fusions, *rises])


def _local(module: nn.Module, train_size: tuple[int, int]) -> nn.Module:
    assert isinstance(module, M3SNet)
    return to_local(module, module.intro.out_channels, train_size)


SPEC = NetworkSpec(
    name="m3snet",
    title="M3SNet",
    paper="Gao et al.: A Mountain-Shaped Single-Stage Network for Accurate Image Restoration, "
    "arXiv 2305.05146; The Visual Computer, 2024",
    config=M3SNetConfig,
    module=M3SNet,
    presets={
        "m3snet_w32": M3SNetConfig(),
        "m3snet_w64": M3SNetConfig(width=64),
        # Ours, for the shipped weights; the second has two blocks at each of the two largest scales, the third, for
        # rain, haze and blur, sees further by more blocks in the depth.
        "m3snet_w16_d8": M3SNetConfig(width=16, enc_blocks=(1, 1, 1, 8)),
        "m3snet_w16_d8_top2": M3SNetConfig(width=16, enc_blocks=(2, 2, 1, 8), dec_blocks=(1, 1, 2, 2)),
        "m3snet_w16_d20_top2": M3SNetConfig(width=16, enc_blocks=(2, 2, 2, 20), dec_blocks=(1, 1, 2, 2)),
        # The last two twice as wide, for weights that may take longer.
        "m3snet_w32_d8_top2": M3SNetConfig(enc_blocks=(2, 2, 1, 8), dec_blocks=(1, 1, 2, 2)),
        "m3snet_w32_d20_top2": M3SNetConfig(enc_blocks=(2, 2, 2, 20), dec_blocks=(1, 1, 2, 2)),
    },
    default="m3snet_w32",
    infer=_infer,
    official=_official,
    multiple_of=_MULTIPLE,
    padding="reflect",
    official_padding="zeros",  # inside the official network; they enter every mean over the picture
    tiling="discouraged",
    context=32,  # measured, with the means of the whole picture: more changes nothing
    channels=lambda config: config.colors,
    local=_local,
)
