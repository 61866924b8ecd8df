"""Stored runs of MHNet: two widths, their local forms, and one training step."""

from __future__ import annotations

from pathlib import Path

import naf_runs
import parity

from undegrade.networks.mhnet import SPEC

FILES = ("mhnet_*",)


def compare(path: Path) -> list[parity.Row]:
    return naf_runs.compare(SPEC, path, schema_from="mhnet_w16", float32=2e-5)
