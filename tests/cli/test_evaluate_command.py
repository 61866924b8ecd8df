from __future__ import annotations

import json

import numpy as np
import pytest
import skimage.data
from PIL import Image

from undegrade.cli import run


@pytest.fixture(scope="module")
def rain(tmp_path_factory):
    """A folder called like a known test set: two pairs, the suffixes differ."""
    root = tmp_path_factory.mktemp("data") / "Rain100L"
    picture = skimage.data.astronaut()[:64, 180:260]
    for name, shift in (("one", 20), ("two", 40)):
        for side, array, suffix in (("input", picture // 2 + shift, ".png"), ("target", picture, ".bmp")):
            (root / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(root / side / f"{name}{suffix}")
    return root


def arguments(root, *more):
    folders = ["--inputs", str(root / "input"), "--targets", str(root / "target")]
    return ["evaluate", "-t", "derain", *folders, "-w", "none", *more]


def test_rows_mean_and_everything_a_figure_depends_on(rain, capsys):
    assert run(arguments(rain)) == 0
    text = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith(("one", "two", "mean"))}
    mean = (float(rows["one"][1]) + float(rows["two"][1])) / 2
    assert float(rows["mean"][3]) == pytest.approx(mean, abs=0.011)
    for word in (
        "colour",
        "border",
        "rounding",
        "ssim window",
        "resize",
        "derain-y",
        "rounded to 8 bits",
        "input psnr",
    ):
        assert word in text


def test_json_on_stdout_and_in_a_file_are_the_same(rain, capsys, tmp_path):
    file = tmp_path / "new" / "figures.json"
    assert run(arguments(rain, "--json", str(file))) == 0
    capsys.readouterr()
    assert run(arguments(rain, "--json", "-")) == 0
    printed = json.loads(capsys.readouterr().out)
    stored = json.loads(file.read_text())
    for report in (printed, stored):
        for image in report["images"]:
            image.pop("seconds")
        report["mean"].pop("seconds")
    assert printed == stored
    assert (stored["task"], stored["weights"], stored["set"]) == ("deraining", "none", "Rain100L")


def test_published_figures_stand_beside_ours(rain, capsys):
    assert run(arguments(rain, "--paper")) == 0
    text = capsys.readouterr().out
    assert "published: ChaIR, deraining" in text
    assert "source: ChaIR (Cui and Knoll" in text
    assert "ours (none, 2 of 100 pictures)" in text
    assert "ruler m3snet-derain, ours is derain-y" in text
    lines = [line for line in text.splitlines() if line.startswith("  M3SNet-64")]
    assert "40.04" in lines[0]


def test_failed_picture_gives_status_1_and_is_named(rain, capsys, tmp_path):
    for side in ("input", "target"):
        (tmp_path / side).mkdir()
        for file in (rain / side).iterdir():
            (tmp_path / side / file.name).write_bytes(file.read_bytes())
    (tmp_path / "input/one.png").write_bytes(b"\x89PNG broken")
    assert run(arguments(tmp_path)) == 1
    out, err = capsys.readouterr()
    assert "mean of 1" in out
    assert err.startswith("undegrade: one: ")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["-t", "derain", "-w", "none"], 2, "give inputs and targets"),
        (["-t", "derain", "-w", "none", "--inputs", "nowhere", "--targets", "nowhere"], 1, "no folder 'nowhere'"),
        (["-t", "deraim", "-w", "none"], 2, "did you mean"),
        (["-t", "denoise", "-w", "none", "--clean", ".", "--sigma", "99"], 2, "must lie in 0-75"),
    ],
)
def test_wrong_calls_are_one_line(words, status, message, capsys):
    assert run(["evaluate", *words]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_figures_replace_no_picture_and_are_refused_before_the_work(rain, tmp_path, capsys):
    picture = next((rain / "input").iterdir())
    before = picture.read_bytes()
    for name, words in ((picture, "the name of a picture"), (tmp_path, "is a folder")):
        for command in (arguments(rain), ["data", "check", str(rain / "input")], ["bench"], ["calibrate", str(rain)]):
            assert run([*command, "--json", str(name)]) == 2
            out, err = capsys.readouterr()
            assert words in err
            assert not out
    assert run(["calibrate", str(rain), "--markdown", str(picture)]) == 2
    assert "--markdown" in capsys.readouterr().err
    assert picture.read_bytes() == before
