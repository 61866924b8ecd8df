"""Stored runs of PA-EDSR: three scales, full depth, official tiles, gradients."""

from __future__ import annotations

from pathlib import Path

import parity
import pyramid_runs

from undegrade.networks.pa_edsr import SPEC

FILES = ("paedsr_*",)


def compare(path: Path) -> list[parity.Row]:
    return pyramid_runs.compare_network(SPEC, path)
