"""The three-level U-Net that takes its picture, and gives its result, at three sizes (ChaIR and CCNet).

Level 0 is the full size, 1 the half, 2 the quarter; a level has ``width * 2**level`` channels. What happens inside a
level is a stage that the network hands in. Multi-input multi-output: the smaller pictures enter the encoder beside
the features, and each decoder stage can be asked for a result of its size (Cho et al., MIMO-UNet, ICCV 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from undegrade.core.errors import UsageError
from undegrade.networks.layers.inplace import Gelu
from undegrade.networks.layers.whole import WholeInstanceNorm

__all__ = ["MimoShape", "MimoUNet", "conv", "infer_mimo", "official_mimo_names"]


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Convolution with zero padding that keeps the size (up to the stride)."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)


def upsample(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the height and width by a transposed convolution, then GELU."""
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), Gelu())


class ShallowFeatures(nn.Sequential):
    """SCM: features of a reduced picture, (B, colors, h, w) -> (B, width, h, w), normalised per picture."""

    def __init__(self, colors: int, width: int) -> None:
        super().__init__(
            nn.Sequential(conv(colors, width // 4), Gelu()),
            nn.Sequential(conv(width // 4, width // 2, 1), Gelu()),
            nn.Sequential(conv(width // 2, width // 2), Gelu()),
            conv(width // 2, width, 1),
            WholeInstanceNorm(width, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, colors, h, w) -> (B, width, h, w), channels-last (the normalisation gives up that layout)."""
        features: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return features.contiguous(memory_format=torch.channels_last)


class Fuse(nn.Module):
    """FAM: one 3x3 convolution over the features that come down and those of the reduced picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(2 * width, width)

    def forward(self, features: Tensor, shallow: Tensor) -> Tensor:
        fused: Tensor = self.conv(torch.cat([features, shallow], 1))
        return fused


class MimoUNet(nn.Module):
    """The skeleton: pictures at three sizes in, results at three sizes out.

    Args:
        width: channels at full size; a multiple of 4 for the halves and quarters taken of it.
        stage: builds what a level computes from its number of channels; called six times.
        colors: channels of the picture.

    Raises:
        UsageError: a width that cannot be quartered.
    """

    def __init__(self, width: int, stage: Callable[[int], nn.Module], colors: int = 3) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise UsageError(f"width={width}: give a multiple of 4")
        full, half, quarter = width, 2 * width, 4 * width
        self.stem = nn.Sequential(conv(colors, full), Gelu())
        self.shallow = nn.ModuleList([ShallowFeatures(colors, half), ShallowFeatures(colors, quarter)])
        self.down = nn.ModuleList(
            [
                nn.Sequential(conv(full, half, stride=2), Gelu()),
                nn.Sequential(conv(half, quarter, stride=2), Gelu()),
            ]
        )
        self.fuse = nn.ModuleList([Fuse(half), Fuse(quarter)])
        self.encoder = nn.ModuleList([stage(full), stage(half), stage(quarter)])
        self.decoder = nn.ModuleList([stage(quarter), stage(half), stage(full)])
        self.up = nn.ModuleList([upsample(quarter, half), upsample(half, full)])
        self.merge = nn.ModuleList(
            [nn.Sequential(conv(quarter, half, 1), Gelu()), nn.Sequential(conv(half, full, 1), Gelu())]
        )
        self.heads = nn.ModuleList([conv(quarter, colors), conv(half, colors), conv(full, colors)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, colors, H, W) in 0..1 -> the full-size result, same shape; H and W are multiples of 4."""
        return self._results(x, smaller=False)[-1]

    def scales(self, x: Tensor) -> list[Tensor]:
        """Like ``forward``, but [quarter, half, full]: what multi-scale training compares."""
        return self._results(x, smaller=True)

    def _results(self, x: Tensor, smaller: bool) -> list[Tensor]:
        if x.shape[-2] % 4 or x.shape[-1] % 4:
            raise UsageError(f"picture of {x.shape[-2]}x{x.shape[-1]}: height and width must be multiples of 4; pad it")
        # Channels-last: depthwise convolutions and those of few channels run several times faster on CPUs.
        x = x.contiguous(memory_format=torch.channels_last)
        # The smaller inputs are samples at even positions, not means: the training targets differ in this.
        x_half, x_quarter = x[..., ::2, ::2], x[..., ::4, ::4]
        full = self.encoder[0](self.stem(x))
        half = self.encoder[1](self.fuse[0](self.down[0](full), self.shallow[0](x_half)))
        features = self.encoder[2](self.fuse[1](self.down[1](half), self.shallow[1](x_quarter)))

        results = []
        features = self.decoder[0](features)
        if smaller:
            results.append(self.heads[0](features) + x_quarter)
        features = self.decoder[1](self.merge[0](torch.cat([self.up[0](features), half], 1)))
        if smaller:
            results.append(self.heads[1](features) + x_half)
        features = self.decoder[2](self.merge[1](torch.cat([self.up[1](features), full], 1)))
        return [*results, self.heads[2](features) + x]


class MimoShape(NamedTuple):
    """Numbers of a checkpoint that every network on this skeleton has."""

    width: int
    blocks: int
    colors: int


def infer_mimo(shapes: Mapping[str, tuple[int, ...]]) -> MimoShape | None:
    """Width, blocks per stage and colours from official names and shapes; None when the skeleton is another."""
    stem = shapes.get("feat_extract.0.main.0.weight", ())
    blocks = {int(name.split(".")[3]) for name in shapes if name.startswith("Encoder.0.layers.")}
    if len(stem) != 4 or not blocks or not any(name.startswith("SCM1.") for name in shapes):
        return None
    return MimoShape(width=stem[0], blocks=max(blocks) + 1, colors=stem[1])


def official_mimo_names(stage_names: Callable[[str, str], Iterable[tuple[str, str]]]) -> dict[str, str]:
    """Official name -> our name for the whole network.

    Args:
        stage_names: (official prefix, our prefix) of a stage, each ending in a dot -> its pairs of names.
    """
    pairs: list[tuple[str, str]] = []
    for stage in range(3):
        pairs += stage_names(f"Encoder.{stage}.layers.", f"encoder.{stage}.")
    layers = [
        *((f"feat_extract.{i}.main.0", ours) for i, ours in enumerate(_FEATURE_LAYERS)),
        *((f"Convs.{i}.main.0", f"merge.{i}.0") for i in range(2)),
        *((f"ConvsOut.{i}.main.0", f"heads.{i}") for i in range(2)),
    ]
    for official, ours in (("1", "1"), ("2", "0")):  # officially 1 is the quarter size, 2 the half
        layers.append((f"FAM{official}.merge.main.0", f"fuse.{ours}.conv"))
        layers += ((f"SCM{official}.main.{i}.main.0", f"shallow.{ours}.{i}.0") for i in range(3))
        layers.append((f"SCM{official}.main.3.main.0", f"shallow.{ours}.3"))
        layers.append((f"SCM{official}.main.4", f"shallow.{ours}.4"))
    pairs += ((f"{theirs}.{kind}", f"{ours}.{kind}") for theirs, ours in layers for kind in ("weight", "bias"))
    for stage in range(3):
        pairs += stage_names(f"Decoder.{stage}.layers.", f"decoder.{stage}.")
    return dict(pairs)


_FEATURE_LAYERS = ("stem.0", "down.0.0", "down.1.0", "up.0.0", "up.1.0", "heads.2")
