"""Stored runs of M3SNet: two widths, the local form, and one training step."""

from __future__ import annotations

from pathlib import Path

import naf_runs
import parity

from undegrade.networks.m3snet import SPEC

FILES = ("m3snet_*",)


def compare(path: Path) -> list[parity.Row]:
    return naf_runs.compare(SPEC, path, schema_from="m3snet_w32", float32=5e-5)
