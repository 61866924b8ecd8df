"""Every example runs, on small made data, as a reader would start it."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place with a folder of pictures called Set5."""
    (tmp_path / "Set5").mkdir()
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(getattr(skimage.data, name)()[100:196, 100:196]).save(tmp_path / "Set5" / f"{name}.png")
    return tmp_path


ARGUMENTS = {
    "restore_a_folder": (["Set5", "restored"], "chelsea.png done restored/chelsea.png"),
    "train_in_ten_minutes": (["Set5", "0.02"], "shipped: 20."),
    "load_an_official_checkpoint": ([], "result: torch.Size([3, 64, 96])"),
    "reproduce_a_table": (["Set5", "2"], "PA-EDSR"),
    "write_a_network": ([], "restored: 2"),
    "inside_pytorch": ([], "batch: torch.Size([2, 3, 40, 56])"),
}
"""Example -> (arguments, words that its output holds)."""


def test_no_example_is_forgotten() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(ARGUMENTS)


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_example(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, words = ARGUMENTS[name]
    path = EXAMPLES / f"{name}.py"
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    runpy.run_path(str(path), run_name="__main__")
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("reproduce_a_table", [], "no pictures in 'empty'"),
        ("train_in_ten_minutes", ["0.02"], "no pictures there"),
        ("load_an_official_checkpoint", [], "must hold one card"),
    ],
)
def test_example_on_an_empty_folder(
    name: str, arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    path = EXAMPLES / f"{name}.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), "empty", *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert words in str(ended.value.code)
    assert "\n" not in str(ended.value.code)


def test_restoring_an_empty_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["restore_a_folder", "empty", "restored"])
    runpy.run_path(str(EXAMPLES / "restore_a_folder.py"), run_name="__main__")
    assert "the folder holds no pictures" in capsys.readouterr().out


def test_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell by cell in one namespace, as a kernel does; its last figures are looked at."""
    monkeypatch.chdir(EXAMPLES)
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), "tour.ipynb", "exec"), names)
    assert names["after"] > names["before"] + 5  # type: ignore[operator]
    assert names["large"].size == (192, 160)  # type: ignore[attr-defined]
