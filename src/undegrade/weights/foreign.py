"""Checkpoints of networks that are not ours, through spandrel (an extra), which knows many of the community's.

The file is read by our own restricted reader; spandrel is given tensors only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undegrade.core.errors import WeightsError, one_line
from undegrade.networks._spec import NetworkSpec
from undegrade.weights.checkpoint import read_content

__all__ = ["Foreign", "ForeignConfig", "open_foreign"]

CONTEXT = 32
"""Pixels of overlap of tiles; spandrel tells whether a network may be cut, not how far it looks."""


@dataclass(frozen=True)
class ForeignConfig:
    """What is known of a foreign network's numbers.

    Attributes:
        architecture: its name in spandrel.
        scale: output size over input size.
        colors: channels of the picture.
    """

    architecture: str
    scale: int
    colors: int


class Foreign(nn.Module):
    """A network of spandrel's; padding to its sizes happens inside, and results are clamped to 0..1."""

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.net = descriptor.model
        self.descriptor = descriptor

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in 0..1 -> (B, C, sH, sW) in 0..1."""
        # spandrel takes one picture at a time and marks its result as unfit for anything but inference.
        return torch.cat([self.descriptor(one[None]).clone() for one in x])


def open_foreign(path: Path, reason: str) -> tuple[Foreign, NetworkSpec[ForeignConfig], ForeignConfig]:
    """The network of a checkpoint that is of none of ours.

    Args:
        path: the checkpoint.
        reason: why it is none of ours, for the message.

    Raises:
        WeightsError: spandrel is not there, does not start, does not know the file either, or knows it as something
            that does not turn pictures into pictures.
    """
    try:
        import spandrel
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "spandrel"
        hint = "with pip install 'undegrade[spandrel]' many other networks are known" if missing else _broken(error)
        raise WeightsError(f"{reason}; {hint}") from error
    except RuntimeError as error:  # torchvision that was built for another torch
        raise WeightsError(f"{reason}; {_broken(error)}") from error
    content = read_content(path)
    entries: Mapping[str, Any] = spandrel.canonicalize_state_dict(dict(content)) if isinstance(content, Mapping) else {}
    try:
        found = spandrel.ModelLoader().load_from_state_dict(entries)
    except Exception as error:  # spandrel's detectors fail in many ways on what they were not made for
        raise WeightsError(f"{reason}; spandrel does not know it either") from error
    name = found.architecture.name
    if not isinstance(found, spandrel.ImageModelDescriptor) or found.input_channels != found.output_channels:
        raise WeightsError(f"{path}: {name} turns no picture into a picture of the same channels")
    if found.input_channels not in (1, 3):
        raise WeightsError(f"{path}: {name} with {found.input_channels} channels: grey and RGB are handled")
    config = ForeignConfig(name, int(found.scale), int(found.input_channels))
    return Foreign(found).eval(), _spec(config, found), config


def _spec(config: ForeignConfig, found: Any) -> NetworkSpec[ForeignConfig]:
    def module(_: ForeignConfig) -> nn.Module:
        raise WeightsError(f"{config.architecture}: a network of spandrel's is made from its checkpoint only")

    sizes = found.size_requirements
    return NetworkSpec(
        name=f"spandrel-{str(found.architecture.id).lower()}",
        title=config.architecture,
        paper=f"{config.architecture}, as implemented in spandrel",
        config=ForeignConfig,
        module=module,
        presets={},
        default="",
        infer=lambda shapes: None,
        official=lambda _: {},
        multiple_of=max(1, int(sizes.multiple_of)),
        min_size=max(1, int(sizes.minimum)),
        tiling="free",
        context=CONTEXT,
        scale=lambda own: own.scale,
        channels=lambda own: own.colors,
    )


def _broken(error: Exception) -> str:
    told = one_line(error, 120)
    return f"spandrel is installed but does not start here ({told}); its torchvision must be made for this torch"
