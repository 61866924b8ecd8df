"""A small network whose every output pixel depends on a known neighbourhood, and Restorers around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.inference.restorer import Restorer
from undegrade.networks._spec import NetworkSpec


@dataclass(frozen=True)
class ProbeConfig:
    scale: int = 1
    colors: int = 3


class Probe(nn.Module):
    """Two halvings of convolutions: receptive radius below 32, sides must be multiples of 4."""

    def __init__(self, config: ProbeConfig) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale = config.scale
        self.intro = nn.Conv2d(config.colors, 8, 3, padding=1)
        self.down = nn.Sequential(nn.Conv2d(8, 8, 4, 2, 1), nn.GELU(), nn.Conv2d(8, 8, 4, 2, 1), nn.GELU())
        self.up = nn.Conv2d(8, 8 * 16, 1)
        self.ending = nn.Conv2d(8, config.colors * config.scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-2] % 4 == 0, x.shape
        assert x.shape[-1] % 4 == 0, x.shape
        feature = self.intro(x)
        feature = feature + F.pixel_shuffle(self.up(self.down(feature)), 4)
        return F.interpolate(x, scale_factor=float(self.scale)) + F.pixel_shuffle(self.ending(feature), self.scale)


def spec(**fields: Any) -> NetworkSpec[ProbeConfig]:
    settings: dict[str, Any] = {"multiple_of": 4, "tiling": "free", "context": 32, **fields}
    return NetworkSpec(
        name="probe",
        title="Probe",
        paper="none",
        config=ProbeConfig,
        module=Probe,
        presets={"probe": ProbeConfig()},
        default="probe",
        infer=lambda shapes: None,
        official=lambda config: {},
        scale=lambda config: config.scale,
        channels=lambda config: config.colors,
        **settings,
    )


@pytest.fixture
def probe() -> Callable[..., Restorer]:
    """Makes a Restorer around a fresh probe; keywords go to the config, ``spec`` and ``restorer`` to those."""

    def make(
        spec_fields: dict[str, Any] | None = None, restorer: dict[str, Any] | None = None, **numbers: Any
    ) -> Restorer:
        config = ProbeConfig(**numbers)
        return Restorer.from_module(Probe(config), spec(**(spec_fields or {})), config, **(restorer or {}))

    return make


@pytest.fixture
def picture() -> Callable[..., Tensor]:
    """Random (B, C, H, W) in 0..1."""

    def make(height: int, width: int, channels: int = 3, batch: int = 1) -> Tensor:
        return torch.rand(
            batch, channels, height, width, generator=torch.Generator().manual_seed(height * 1000 + width)
        )

    return make
