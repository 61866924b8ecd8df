"""Stored runs of MHNet-2023: both official sizes with both outputs, and one training step."""

from __future__ import annotations

from pathlib import Path

import naf_runs
import parity

from undegrade.networks.mhnet2023 import SPEC

FILES = ("mhnet2023_*",)


def compare(path: Path) -> list[parity.Row]:
    return naf_runs.compare(SPEC, path, schema_from="mhnet2023_nf40", float32=2e-5)
