"""Official checkpoints made from the rule, and cards for trials."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import parity
import pytest
import torch
from networks_of import network_of
from torch import Tensor
from weight_rule import official_weights

from undegrade.networks import catalog

Entries = dict[str, Tensor]


@pytest.fixture(scope="session")
def official() -> Callable[[str], Entries]:
    """State dict under official names of a stored file's network, such as its training script would have saved it."""

    @cache
    def make(stem: str) -> Entries:
        _, meta = parity.read(parity.GOLDEN / f"{stem}.npz")
        schema = {name: tuple(shape) for name, shape in (meta.get("state_dict") or meta["schema"]).items()}
        values = official_weights(schema, meta["weight_gain"])
        entries = {
            name: torch.from_numpy(values[name]) if name in values else torch.full(shape, 1e-4)
            for name, shape in schema.items()
        }
        # One tensor under several names is stored under each of them, with the same values.
        spec = catalog.get(network_of(stem))
        first: dict[str, str] = {}
        for name, ours in spec.official(spec.infer(schema)).items():
            if ours is not None:
                entries[name] = entries[first.setdefault(ours, name)]
        return entries

    return lambda stem: dict(make(stem))


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes an object with ``torch.save``; ``old`` is the format from before torch 1.6."""

    def write(content: object, name: str = "weights.pth", *, old: bool = False) -> Path:
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=not old)
        return tmp_path / name

    return write
