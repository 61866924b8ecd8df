"""The restore command from its words to its files, exit status and JSON, around a restorer that inverts."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from skimage import data

from undegrade import api, cli
from undegrade.cli import _watch
from undegrade.core import image
from undegrade.core.errors import UndegradeError
from undegrade.core.image import Picture


class Negative:
    """Stands in for a Restorer."""

    info: ClassVar = {"task": "negative", "weights": "none"}
    scale = 1

    def picture(self, picture: Picture, *, progress: Any = None) -> Picture:
        return picture.with_pixels(1 - picture.pixels)


@pytest.fixture
def wish(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asked ``load`` for; nothing is loaded."""
    asked: dict[str, Any] = {}

    def load(**given: Any) -> Negative:
        asked.update(given)
        return Negative()

    monkeypatch.setattr(api, "load", load)
    return asked


def picture(path: Path) -> Path:
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(path)
    return path


def test_a_picture(tmp_path: Path, wish: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    source = picture(tmp_path / "a.png")
    assert cli.run(["restore", str(source)]) == 0
    told = capsys.readouterr()
    assert f"{source} -> {tmp_path / 'a.restored.png'}" in told.out
    assert told.err == ""
    assert np.array_equal(image.load_rgb(tmp_path / "a.restored.png"), 255 - image.load_rgb(source))
    assert wish == {
        "task": None,
        "weights": None,
        "device": "auto",
        "backend": "torch",
        "dtype": "auto",
        "tile": "auto",
        "max_memory": None,
        "strength": 1.0,
        "ensemble": 1,
    }


@pytest.mark.skipif(os.name == "nt", reason="colons cannot be in names there")
def test_names_are_shown_as_they_are(tmp_path: Path, wish: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    source = picture(tmp_path / "[red]:100:.png")
    assert cli.run(["restore", str(source), "-o", str(tmp_path / "out")]) == 0
    assert f"{source} -> " in capsys.readouterr().out


def test_options_arrive(tmp_path: Path, wish: dict[str, Any]) -> None:
    words = "-t derain,denoise --sigma 12.5 --quality auto --scale 2 --pattern RGGB --device cpu --tile 256"
    more = "--strength 0.5 --ensemble 8 --max-memory 500"
    assert cli.run(["restore", str(picture(tmp_path / "a.png")), *words.split(), *more.split()]) == 0
    assert wish["task"] == "derain,denoise"
    assert (wish["sigma"], wish["quality"], wish["scale"], wish["pattern"]) == (12.5, "auto", 2, "RGGB")
    assert (wish["tile"], wish["strength"], wish["ensemble"], wish["device"]) == (256, 0.5, 8, "cpu")
    assert wish["max_memory"] == 500 << 20
    assert cli.run(["restore", str(tmp_path / "a.png"), "-w", "some.pth", "--tile", "none"]) == 0
    assert (wish["task"], wish["weights"], wish["tile"]) == (None, "some.pth", None)


def test_parameters_of_plugins_arrive(tmp_path: Path, wish: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    source = str(picture(tmp_path / "a.png"))
    assert cli.run(["restore", source, "-t", "descratch", "--set", "width=3", "--set", "colours=[white, red]"]) == 0
    assert (wish["width"], wish["colours"]) == (3, ["white", "red"])
    for text, line in (
        ("width", "--set width: write it as name=value, for example gain=0.75 or gain=[0.4, 1.5]"),
        ("max_memory=3", "--set max_memory=3: write --max-memory 3"),
        ("sigma=3", "--set sigma=3: write --sigma 3"),
    ):
        assert cli.run(["restore", source, "--set", text]) == 2
        assert capsys.readouterr().err == f"undegrade: {line}\n"


def test_bad_files_are_named_and_the_rest_is_done(
    tmp_path: Path, wish: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("hello")
    report = tmp_path / "report.json"
    assert cli.run(["restore", str(tmp_path), "-o", str(tmp_path / "out"), "--json", str(report)]) == 1
    problem, summary = capsys.readouterr().err.splitlines()
    assert problem.startswith(f"undegrade: {tmp_path / 'text.png'}: not a picture")
    assert summary == "undegrade: 1 restored, 1 failed"
    assert (tmp_path / "out/good.png").is_file()
    content = json.loads(report.read_text())
    assert (content["schema"], content["done"], content["failed"], content["skipped"]) == (1, 1, 1, 0)
    assert content["restorer"]["task"] == "negative"
    assert [result["status"] for result in content["results"]] == ["done", "failed"]
    assert content["left"] == []


def test_json_on_stdout_stands_alone(tmp_path: Path, wish: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["restore", str(picture(tmp_path / "a.png")), "--json", "-"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["results"][0]["output"] == str(tmp_path / "a.restored.png")
    assert "a.restored.png" in told.err


def test_skip_existing(tmp_path: Path, wish: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    source = str(picture(tmp_path / "a.png"))
    assert cli.run(["restore", source]) == 0
    before = (tmp_path / "a.restored.png").stat().st_mtime_ns
    assert cli.run(["restore", source, "--skip-existing"]) == 0
    assert "is there already" in capsys.readouterr().out
    assert (tmp_path / "a.restored.png").stat().st_mtime_ns == before


def test_notes_are_told(tmp_path: Path, wish: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("CMYK", (5, 4)).save(tmp_path / "a.jpg")
    assert cli.run(["restore", str(tmp_path / "a.jpg")]) == 0
    assert "CMYK" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["restore"], "paths"),
        (["restore", "a.png", "--nonsense"], "--nonsense"),
        (["restore", "a.png", "--scale", "many"], "--scale"),
        (["restore", "a.png", "-o", "a.png"], "would replace an input"),
        (["restore", "a.png", "-o", "b.gif"], "not written"),
        (["restore", ""], "an empty name"),
        (["restore", "a.png", "-o", "-"], "nor written to stdout"),
        (["restore", "a.png", "--max-memory", "-5"], "--max-memory -5: a positive number of MB"),
        (["restore", "a.png", "--max-pixels", "1e-9"], "--max-pixels 1e-09: a positive number"),
        (["restroe", "a.png"], "did you mean 'restore'"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_wrong_calls_are_one_line_and_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(api, "load", lambda **_: Negative())
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "a.png")
    assert cli.run(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_wrong_parameter_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(picture(tmp_path / "a.png"))
    assert cli.run(["restore", source, "--sigma", "100"]) == 2
    assert "0-75" in capsys.readouterr().err
    assert cli.run(["restore", source, "-t", "denoisng"]) == 2
    assert "denois" in capsys.readouterr().err
    assert cli.run(["restore", source, source, "-t", "demosaic", "--strength", "0.5"]) == 2
    assert capsys.readouterr().err.count("no picture to blend with") == 1


def test_traceback_only_with_debug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Faulty(Negative):
        def picture(self, picture: Picture, *, progress: Any = None) -> Picture:
            raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(api, "load", lambda **_: Faulty())
    source = str(picture(tmp_path / "a.png"))
    assert cli.run(["restore", source]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert cli.run(["restore", source, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err

    def broken(**_: Any) -> None:
        raise ZeroDivisionError("at loading")

    monkeypatch.setattr(api, "load", broken)
    assert cli.run(["restore", source]) == 1
    assert capsys.readouterr().err == "undegrade: internal error, ZeroDivisionError: at loading (--debug shows where)\n"
    assert cli.run(["--debug", "restore", source]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_tells_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stopped(Negative):
        def picture(self, picture: Picture, *, progress: Any = None) -> Picture:
            if picture.size == (9, 9):
                raise KeyboardInterrupt
            return super().picture(picture)

    monkeypatch.setattr(api, "load", lambda **_: Stopped())
    (tmp_path / "in").mkdir()
    picture(tmp_path / "in/a.png")
    for name in "bcdef":
        Image.new("RGB", (9, 9)).save(tmp_path / f"in/{name}.png")
    report = tmp_path / "report.json"
    words = ["restore", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json", str(report)]
    assert cli.run(words) == 130
    assert "not restored: b.png, c.png, d.png and 2 more" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    assert [Path(name).name for name in json.loads(report.read_text())["left"]] == [f"{name}.png" for name in "bcdef"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_that_end_are_heard_like_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip("no such signal here")
    before = signal.signal(number, signal.SIG_DFL)  # also where the tests run under nohup

    class Ended(Negative):
        def picture(self, picture: Picture, *, progress: Any = None) -> Picture:
            signal.raise_signal(number)
            return super().picture(picture)

    monkeypatch.setattr(api, "load", lambda **_: Ended())
    source, report = picture(tmp_path / "a.png"), tmp_path / "report.json"
    try:
        assert cli.run(["restore", str(source), "--json", str(report)]) == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert "stopped; not restored: a.png" in capsys.readouterr().err
    assert json.loads(report.read_text())["left"] == [str(source)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "report.json"]


def test_stopped_while_weights_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "load", stopped)
    assert cli.run(["restore", str(picture(tmp_path / "a.png"))]) == 130
    assert capsys.readouterr().err == "undegrade: stopped\n"


def test_a_report_replaces_nothing_and_is_refused_before_the_work(
    tmp_path: Path, wish: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    source = picture(tmp_path / "a.png")
    plain = tmp_path / "scan"
    plain.write_bytes(source.read_bytes())
    before = {path: path.read_bytes() for path in (source, plain)}
    for report, words in {
        source: "the name of a picture",
        tmp_path / "new.mp4": "the name of a picture",
        plain: "would replace",
        tmp_path / "m.db": "would replace",
        tmp_path: "is a folder",
        plain / "r.json": "cannot be written",
        tmp_path / f"{'n' * 300}.json": "cannot be written (File name too long)",
    }.items():
        command = ["restore", str(source), str(plain), "--json", str(report), "--manifest", str(tmp_path / "m.db")]
        assert cli.run(command) == 2
        assert words in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_report_that_cannot_be_written_is_told(
    tmp_path: Path, wish: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    source, report = picture(tmp_path / "a.png"), tmp_path / "report.json"
    report.write_text("of the last run")
    monkeypatch.setattr(_watch.Watch, "_report", full)
    assert cli.run(["restore", str(source), "--json", str(report)]) == 1
    assert f"{report}: cannot be written (No space left on device)" in capsys.readouterr().err
    assert report.read_text() == "of the last run"
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    assert cli.run(["restore", str(source), "--json", str(report)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_tile_of_thousands_of_digits_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["restore", str(picture(tmp_path / "a.png")), "-t", "denoise", "--device", "cpu"]
    assert cli.run([*words, "--tile", "9" * 5000]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "choose auto, official, None (--tile none), or a side of at least" in line


def test_what_cannot_be_counted_is_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def scan() -> Iterator[Any]:
        yield object()
        raise UndegradeError("memory://x: the store is gone")

    watch = _watch.Watch(to_stderr=False, report=False)
    watch.bar.disable = False
    before = set(threading.enumerate())
    watch.expect(scan)
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert (told, watch._total) == ([], None)


def test_the_shipped_denoiser_denoises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way, nothing replaced: a 16-bit TIFF with noise of sigma 25 comes back 16-bit and 5 dB better."""
    clean = data.astronaut()[60:188, 150:278] / 255
    noisy = clean + np.random.default_rng(0).normal(0, 25 / 255, clean.shape)
    image.save(image.read(np.rint(noisy.clip(0, 1) * 65535).astype(np.uint16)), tmp_path / "noisy.tif")
    assert cli.run(["restore", str(tmp_path / "noisy.tif"), "--keep-format", "--device", "cpu", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["reports"][0]["auto"]["main"] == "denoising"
    before, after = (image.load_rgb(tmp_path / name) for name in ("noisy.tif", "noisy.restored.tif"))
    assert after.dtype == np.uint16
    errors = [float(np.mean((found / 65535 - clean) ** 2)) for found in (before, after)]
    assert 10 * np.log10(errors[0] / errors[1]) > 5
