"""Residual blocks without normalisation, as in EDSR (arXiv 1707.02921): the trunk of PANet and PA-EDSR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from undegrade.core.errors import UsageError
from undegrade.networks._spec import at_least

__all__ = ["ResidualBlock", "TrunkConfig", "attention_names", "check_trunk", "conv", "official_blocks", "trunk_names"]


class TrunkConfig(Protocol):
    """The numbers that the configs of PANet and PA-EDSR share."""

    @property
    def blocks(self) -> int:
        """Residual blocks, half of them on either side of the attention."""

    @property
    def features(self) -> int:
        """Channels."""

    @property
    def reduction(self) -> int:
        """What the channels are divided by where the attention compares."""


def check_trunk(config: TrunkConfig) -> None:
    """Checks the numbers of a trunk.

    Raises:
        UsageError: a number that no such network can have.
    """
    at_least(1, config, "features")
    if config.blocks < 2 or config.blocks % 2:
        raise UsageError(f"blocks={config.blocks}: an even number from 2, half of them on either side of the attention")
    if not 1 <= config.reduction <= config.features:
        raise UsageError(f"reduction={config.reduction}: from 1 to the {config.features} features that it divides")


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class ResidualBlock(nn.Module):
    """``x + factor * conv(activate(conv(x)))``; the activation is the network's, so that its slope is one for all."""

    def __init__(self, features: int, factor: float = 1.0) -> None:
        super().__init__()
        self.conv1 = conv(features, features)
        self.conv2 = conv(features, features)
        self.factor = factor

    def forward(self, x: Tensor, activate: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, C, H, W) -> same shape."""
        inner = self.conv1(x)
        if torch.is_grad_enabled() and inner.requires_grad:
            # For the backward pass a PReLU keeps its input and a convolution too: one map is enough, the other one is
            # computed again. The recomputation ends where it has it, so no convolution runs twice.
            change = checkpoint(self.after, inner, activate, use_reentrant=False, preserve_rng_state=False)
        else:
            change = self.after(inner, activate)
        return x.add(change, alpha=self.factor)

    def after(self, inner: Tensor, activate: Callable[[Tensor], Tensor]) -> Tensor:
        """The block from its activation on."""
        out: Tensor = self.conv2(activate(inner))
        return out


def official_blocks(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Number of residual blocks in an official checkpoint; the attention stands in their middle."""
    return sum(name.startswith("body.") and name.endswith(".body.0.weight") for name in shapes)


def trunk_names(blocks: int) -> dict[str, str | None]:
    """Official names of the head and a body (blocks, attention, blocks, last convolution) -> ours.

    The attention is left out. The mean shift, which official files store, is a constant or never applied.
    """
    half = blocks // 2
    names: dict[str, str | None] = {}
    for kind in ("weight", "bias"):
        names |= {f"sub_mean.{kind}": None, f"add_mean.{kind}": None, f"head.0.{kind}": f"head.{kind}"}
        for i in range(blocks):
            theirs = f"body.{i if i < half else i + 1}.body"
            ours = f"before.{i}" if i < half else f"after.{i - half}"
            names[f"{theirs}.0.{kind}"] = f"{ours}.conv1.{kind}"
            names[f"{theirs}.2.{kind}"] = f"{ours}.conv2.{kind}"
        names[f"body.{blocks + 1}.{kind}"] = f"merge.{kind}"
    return names


def attention_names(prefix: str) -> dict[str, str | None]:
    """Official names of the pyramid attention at ``prefix`` -> ours; the norm's floor is a constant."""
    names: dict[str, str | None] = {f"{prefix}.escape_NaN": None}
    for theirs, ours in (("conv_match_L_base", "query"), ("conv_match", "key"), ("conv_assembly", "value")):
        for entry in ("0.weight", "0.bias", "1.weight"):
            names[f"{prefix}.{theirs}.{entry}"] = f"attention.{ours}.{entry}"
    return names
