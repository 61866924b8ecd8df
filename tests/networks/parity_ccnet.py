"""Stored runs of CCNet: three task variants, and one training step of the smallest."""

from __future__ import annotations

from pathlib import Path

import mimo_runs
import parity
import torch

from undegrade.networks.ccnet import SPEC

FILES = ("ccnet_*",)


def compare(path: Path) -> list[parity.Row]:
    return _training(path, torch.float32) if path.stem.endswith("_train") else mimo_runs.compare_outputs(SPEC, path)


def thorough(path: Path) -> list[parity.Row]:
    """The training step in float64: half a minute, as float64 convolutions have no fast form on CPUs."""
    return _training(path, torch.float64) if path.stem.endswith("_train") else []


def _training(path: Path, dtype: torch.dtype) -> list[parity.Row]:
    schema = parity.read(path.with_name("ccnet_dehaze.npz"))[1]["state_dict"]
    return mimo_runs.compare_training(SPEC, path, schema, dtype)
