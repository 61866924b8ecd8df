"""Stored runs of CCNet: three task variants, and one training step of the smallest."""

from __future__ import annotations

from pathlib import Path

import mimo_runs
import parity
import torch

from undegrade.networks.ccnet import SPEC

FILES = ("ccnet_*",)


def compare(path: Path) -> list[parity.Row]:
    if not path.stem.endswith("_train"):
        return mimo_runs.compare_outputs(SPEC, path)
    schema = parity.read(path.with_name("ccnet_dehaze.npz"))[1]["state_dict"]
    return [
        row for dtype in (torch.float32, torch.float64) for row in mimo_runs.compare_training(SPEC, path, schema, dtype)
    ]
