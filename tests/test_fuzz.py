"""A few damaged files of every kind through every reader; `make fuzz` tries more than ten thousand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PICTURES = ["PNG", "JPEG", "WebP", "TIFF", "AVIF", "GIF", "BMP"]
OTHERS = ["pickle", "safetensors", "recipe", "card", "ONNX", "ONNX for weights"]
SCRIPT = Path(__file__).parents[1] / "scripts/fuzz.py"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and processor time are read from /proc")


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", PICTURES + OTHERS)
def test_damaged_files_are_read_or_refused(fuzz: ModuleType, kind: str, tmp_path: Path) -> None:
    for package in fuzz.KINDS[kind].needs:
        pytest.importorskip(package)
    tally = fuzz.fuzz(kind, 8 if kind in ("pickle", "safetensors") else 24, 1, tmp_path)
    assert tally.losses == []
    assert tally.counts["refused"]


def test_losses_are_seen(fuzz: ModuleType, tmp_path: Path) -> None:
    def reader(content: bytes, path: Path) -> None:
        kind = content[0] % 4
        if kind == 0:
            raise ZeroDivisionError
        if kind == 1:
            (path.parent / "elsewhere").write_text("x")
        if kind == 2:
            import os

            os.abort()

    wrong = fuzz.Kind(lambda: [bytes([number]) * 40 for number in range(4)], reader, ".x")
    fuzz.KINDS["wrong"] = wrong
    fuzz.damaged = lambda content, other, chance: content
    tally = fuzz.fuzz("wrong", 8, 0, tmp_path)
    assert tally.counts == {"exception": 2, "action": 2, "crash": 2, "read": 2}
