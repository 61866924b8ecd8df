"""Training of NAFBlock nets on a GPU: its block against the plain one, and batches that are used twice."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from undegrade.networks.layers import naf


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "scripts")
        yield importlib.import_module("train_gpu")


def test_rows_are_the_block_within_bfloat16(script: ModuleType) -> None:
    for channels in (6, 16):
        plain, rows = script.errors(script.over_rows(script.rows), channels, 9, 9, "cpu", torch.bfloat16)
        assert 1e-4 < rows < 1.5 * plain  # not more than autocast loses
        assert plain < 0.03


def test_validation_takes_the_plain_block(script: ModuleType) -> None:
    block, x = naf.NAFBlock(6), torch.randn(1, 6, 5, 7)

    def form(*_: Any) -> torch.Tensor:
        raise AssertionError

    with torch.no_grad():
        assert torch.equal(script.over_rows(form)(block, x), block(x))


def test_batches_come_again_mirrored(script: ModuleType) -> None:
    fresh = [(torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)) for _ in range(script.DELAY + 3)]
    stream = script.reused(lambda _: iter(fresh))(None)
    seen = list(stream)
    assert [id(pair[0]) for pair in seen if any(pair[0] is own[0] for own in fresh)] == [id(x) for x, _ in fresh]
    again = [pair for pair in seen if not any(pair[0] is own[0] for own in fresh)]
    assert len(again) == 3
    for (x, y), (inputs, targets) in zip(again, fresh, strict=False):
        assert torch.equal(x.flip(-1), inputs)
        assert torch.equal(y.flip(-1), targets)
