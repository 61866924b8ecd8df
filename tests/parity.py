"""What the comparisons with stored official outputs share.

``networks/parity_<name>.py`` says for its stored files how to run them: it defines ``FILES`` (glob patterns on file
names without suffix) and ``compare(path) -> list[Row]``; a function ``thorough`` of the same kind adds rows that are
too slow for the tests. ``networks/test_parity.py`` asserts every row, ``benchmarks/parity_table.py`` prints them; both
find those modules by their names.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from weight_rule import official_weights

from undegrade.networks._spec import NetworkSpec

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"


@dataclass(frozen=True)
class Row:
    """One comparison: ``error`` is the largest difference over the largest stored magnitude."""

    file: str
    case: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


def runner(stem: str) -> ModuleType | None:
    """The ``parity_*`` module whose ``FILES`` match a stored file's name, or None."""
    for path in sorted((TESTS / "networks").glob("parity_*.py")):
        module = importlib.import_module(path.stem)
        if any(fnmatch(stem, pattern) for pattern in module.FILES):
            return module
    return None


def compare(path: Path, thorough: bool = False) -> list[Row]:
    """All rows of one stored file; ``thorough`` adds what is too slow for tests."""
    module = runner(path.stem)
    if module is None:
        raise LookupError(f"no networks/parity_*.py has a pattern for '{path.stem}'")
    rows: list[Row] = module.compare(path)
    return [*rows, *module.thorough(path)] if thorough and hasattr(module, "thorough") else rows


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays of a stored file, and its ``meta_json`` (empty when it has none)."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    meta = arrays.pop("meta_json", None)
    return arrays, {} if meta is None else json.loads(str(meta))


def relative_error(output: torch.Tensor, stored: np.ndarray, stride: int = 1) -> float:
    """Largest difference over the largest stored magnitude; ``stored`` holds every ``stride``-th row and column."""
    got = output.detach().double().numpy()
    got = got if stride == 1 else got[..., ::stride, ::stride]
    assert got.shape == stored.shape, f"{got.shape} against stored {stored.shape}"
    return float(np.abs(got - stored).max() / np.abs(stored).max())


def fill(
    module: nn.Module,
    spec: NetworkSpec[Any],
    config: Any,
    schema: Mapping[str, Sequence[int]],
    gain: float = 1.0,
) -> nn.Module:
    """Give ``module`` the weights of the rule, generated under the official names and renamed by ``spec.official``.

    Where several official names lead to one entry of ours, the first one in ``schema`` decides.

    Raises:
        AssertionError: a name has no place, a shape differs, or an entry of ours stays unfilled (constants, which
            the rule leaves out, excepted).
    """
    names = spec.official(config)
    assert set(names) == set(schema), f"official names differ: {sorted(set(names) ^ set(schema))[:5]}"
    state: dict[str, torch.Tensor] = {}
    values = official_weights(schema, gain)
    for official, value in values.items():
        ours = names[official]
        if ours is not None and ours not in state:
            state[ours] = torch.from_numpy(value)
    result = module.load_state_dict(state, strict=False)
    constants = {names[official] for official in schema if official not in values}
    assert not result.unexpected_keys, result.unexpected_keys[:5]
    assert set(result.missing_keys) <= constants, sorted(set(result.missing_keys) - constants)[:5]
    return module
