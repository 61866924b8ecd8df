"""Stored runs of PANet: three and one channel, odd sizes, full depth, official tiles, self-ensemble, gradients."""

from __future__ import annotations

from pathlib import Path

import parity
import pyramid_runs

from undegrade.networks.panet import SPEC

FILES = ("panet_*",)


def compare(path: Path) -> list[parity.Row]:
    return pyramid_runs.compare_network(SPEC, path)
