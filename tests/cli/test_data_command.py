from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image

from undegrade.cli import run


@pytest.fixture
def reside(tmp_path):
    """A tiny RESIDE in its official form: labels 10 pixels larger on every side, one hazy picture too many."""
    generator = np.random.default_rng(0)
    for name, size in (("hazy/1_1_0.9.png", 24), ("hazy/1_2_0.8.png", 24), ("gt/1.png", 44)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (size, size, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def test_check_a_known_set(reside, capsys):
    words = ["data", "check", str(reside), "--set", "SOTS", "--split", "reside"]
    assert run(words) == 0
    text = capsys.readouterr().out
    assert "2 pictures or pairs (usually 500), 44x44 to 44x44; 0 faults" in text
    assert "note: many-to-one" in text
    (reside / "hazy/2_1_0.9.png").write_bytes((reside / "hazy/1_1_0.9.png").read_bytes())
    assert run([*words, "--json", "-"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == 1
    assert [finding["kind"] for finding in report["findings"]] == ["unpaired-input", "many-to-one"]


def test_a_name_that_is_no_text(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"no picture")
    words = ["data", "check", str(tmp_path), "--json"]
    assert run([*words, str(tmp_path / "found.json")]) == 1
    found = json.loads((tmp_path / "found.json").read_text(encoding="ascii"))["findings"]
    assert [finding["files"] for finding in found] == [[str(tmp_path / os.fsdecode(b"\xff.png"))]]


def test_prepare_and_check_again(reside, capsys, tmp_path):
    out = tmp_path / "out"
    words = [
        "data",
        "prepare",
        str(reside),
        "-o",
        str(out),
        "--set",
        "sots-indoor",
        "--split",
        "reside",
        "--crop",
        "16",
    ]
    assert run(words) == 0
    assert "2 read, 8 written" in capsys.readouterr().out
    assert run(["data", "check", "--inputs", str(out / "input"), "--targets", str(out / "target")]) == 1
    assert "duplicate" in capsys.readouterr().out  # both hazes have the same label, so its crops are there twice


def test_layouts(capsys):
    assert run(["data", "layouts"]) == 0
    assert "sots-indoor   pairs  dehazing" in capsys.readouterr().out
    assert run(["data", "layouts", "RESIDE-ITS"]) == 0
    assert "train/hazy/* with train/gt/*, paired by before-underscore, usually 13990" in capsys.readouterr().out


def test_wrong_calls(capsys):
    assert run(["data", "check"]) == 2
    assert "name the data one way" in capsys.readouterr().err
    assert run(["data", "check", ".", "--set", "Rain100M"]) == 2
    assert "did you mean 'rain100" in capsys.readouterr().err


def test_the_folder_of_the_findings_is_made(reside, tmp_path):
    assert run(["data", "check", str(reside / "gt"), "--json", str(tmp_path / "new/found.json")]) == 0
    assert json.loads((tmp_path / "new/found.json").read_text())["pairs"] == 1
