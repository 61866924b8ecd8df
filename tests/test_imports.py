"""Who may import whom: the design's table, held by reading every import statement of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import undegrade

PACKAGE = Path(undegrade.__file__).parent

ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "ops": {"core"},
    "networks": {"core", "ops"},
    "metrics": {"core", "ops"},
    "degradations": {"core", "ops"},
    "data": {"core", "ops"},
    "recipes": set(),
    "tasks": {"core", "ops", "degradations", "metrics"},
    "weights": {"core", "networks"},
    "inference": {"core", "ops", "networks", "graphs", "tasks", "weights"},
    "engine": {"core", "ops", "networks", "metrics", "degradations", "data", "tasks", "weights", "inference", "graphs"},
    "graphs": {"core", "ops", "networks"},
    "cli": {"core", "api"},
    "web": {"core", "api"},
}
FREE = {"__init__", "__main__", "_version", "api"}


def imports(path: Path) -> set[str]:
    """First-level parts of undegrade that the file imports, late imports inside functions included."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
            if node.module == "undegrade":
                names = [f"undegrade.{alias.name}" for alias in node.names]
        else:
            continue
        parts |= {name.split(".")[1] for name in names if name.startswith("undegrade.")}
    return parts


FILES = [
    path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in FREE
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_import_direction(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0]
    foreign = imports(path) - {part, "_version"}
    assert foreign <= ALLOWED[part], f"{part} may not import {sorted(foreign - ALLOWED[part])}"


@pytest.mark.parametrize(
    "statement", ["import undegrade", "import undegrade.cli", "import undegrade; undegrade.list_tasks()"]
)
def test_no_torch_at_import(statement: str) -> None:
    code = f"{statement}\nimport sys\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_restoring_does_not_wait_for_the_compiler() -> None:
    code = (
        "import sys, torch, undegrade\n"
        "undegrade.load('auto')(torch.rand(3, 40, 40))\nundegrade.load('denoise')(torch.rand(3, 8, 8))\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
