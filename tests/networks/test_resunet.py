"""Res-U: what the tests of all networks do not ask."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from undegrade.core.errors import UsageError
from undegrade.networks import catalog

SPEC = catalog.get("resunet")
SMALL: dict[str, Any] = {"widths": (4, 6, 8), "blocks": (1, 1, 1)}


@pytest.mark.parametrize("numbers", [{}, {"shuffle": 4}, {"shuffle": 1}], ids=str)
def test_fresh_network_returns_its_input(numbers: dict[str, Any]) -> None:
    x = torch.rand(1, 3, 21, 34)
    assert torch.equal(SPEC.build(SPEC.configure(**SMALL, **numbers))(x), x)


def test_levels_and_blocks_have_to_agree() -> None:
    with pytest.raises(UsageError, match="one number for each level"):
        SPEC.configure(widths=(8, 16), blocks=(1, 1, 1))


def test_lists_become_tuples() -> None:
    assert SPEC.configure(widths=[64, 96, 128], blocks=[2, 2, 3]) == SPEC.configure()


def test_levels_without_blocks_are_found_in_a_file() -> None:
    config = SPEC.configure(widths=(4, 6, 8), blocks=(0, 2, 1))
    shapes = {name: tuple(entry.shape) for name, entry in SPEC.build(config).state_dict().items()}
    assert SPEC.infer(shapes) == config
