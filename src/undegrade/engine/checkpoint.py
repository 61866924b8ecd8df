"""Checkpoints: all that a run needs to go on as if it had never stopped, written so that a crash leaves the old one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from undegrade.core.errors import WeightsError, one_line
from undegrade.core.replacing import replacing

__all__ = ["load", "save", "sweep"]


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes ``state`` beside ``path``, flushes it to disk, then renames it over ``path``.

    Raises:
        WeightsError: it cannot be written; what ``path`` held is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(path) as beside, beside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch reports a full disk by either
        raise WeightsError(
            f"{path}: cannot be written ({one_line(error, 120)}); make room and start again: "
            "the run goes on from its last checkpoint"
        ) from error


def sweep(folder: Path) -> None:
    """Removes what a process that was killed in ``save`` left behind."""
    for part in folder.glob(".*.pt.*.part"):
        part.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """The state that ``save`` wrote, on the CPU; nothing but tensors and plain values is unpickled.

    Raises:
        WeightsError: the file is damaged or not a checkpoint of undegrade.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path}: not a usable checkpoint ({one_line(error, 120)})") from error
    if not isinstance(state, dict) or "step" not in state:
        raise WeightsError(f"{path}: no checkpoint of a training run (key 'step' is missing)")
    return state
