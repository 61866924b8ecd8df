"""What would only be seen after installing: files left out of the wheel, packages used but not declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import undegrade

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "undegrade"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


BROUGHT = {"fastapi": "gradio", "starlette": "gradio", "uvicorn": "gradio"}
"""Modules that come with a declared distribution, which is built on them."""


def test_the_wheel_holds_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hatchling = pytest.importorskip("hatchling.build")
    monkeypatch.chdir(ROOT)
    name = hatchling.build_wheel(str(tmp_path))
    with zipfile.ZipFile(tmp_path / name) as wheel:
        held = {entry for entry in wheel.namelist() if entry.startswith("undegrade/")}
        metadata = wheel.read(next(entry for entry in wheel.namelist() if entry.endswith("METADATA"))).decode()
    wanted = {
        f"undegrade/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert wanted <= held
    assert "undegrade/py.typed" in held
    assert f"Version: {undegrade.__version__}\n" in metadata
    assert not [entry for entry in held if entry.endswith((".pyc", ".part"))]


def declared() -> set[str]:
    """Distributions that the core and the extras ask for, in one spelling."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return {_plain(re.split(r"[\[<>=~! ;]", line, maxsplit=1)[0]) for group in groups for line in group}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_declared() -> None:
    """Modules imported anywhere in the package belong to the standard library or to a declared distribution."""
    owners = packages_distributions()
    known = declared()
    problems = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {name.split(".")[0] for name in names} - {"undegrade"}:
                if top in sys.stdlib_module_names:
                    continue
                spellings = {_plain(owner) for owner in owners.get(top, [])} | {_plain(BROUGHT.get(top, top))}
                if not spellings & known:
                    problems.add(f"{path.relative_to(PACKAGE)}: {top}")
    assert problems == set()


def test_versions_agree() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {undegrade.__version__}\n" in citation
    assert re.search(rf"^## {re.escape(undegrade.__version__)} - ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert PROJECT["requires-python"] == ">=3.11"


def test_an_issue_starts_with_the_doctor() -> None:
    template = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")
    assert "undegrade doctor" in template
