"""The block in C++ that trains the shipped nets (scripts/train_fused.py)."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_fused.py"
CPU = Path("/proc/cpuinfo")


@pytest.mark.skipif(
    shutil.which("g++") is None or not CPU.exists() or "avx512f" not in CPU.read_text(),
    reason="needs g++ and AVX-512",
)
@pytest.mark.parametrize("sizes", [(16, 20, 24), (32, 5, 1), (48, 16, 17), (128, 9, 8)])
def test_result_and_gradients_equal_the_plain_block(sizes: tuple[int, int, int]) -> None:
    spec = importlib.util.spec_from_file_location("train_fused", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    fused = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fused)
    fused.Block.library = fused.build()
    plain, ours = fused.errors(fused.block, *sizes)
    assert ours < 1e-5, f"the plain block errs by {plain:.1e}"
