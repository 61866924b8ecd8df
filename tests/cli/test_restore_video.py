"""`undegrade restore clip.mp4 -t denoise`."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from undegrade import api, cli

av = pytest.importorskip("av")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": "4", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            noisy = np.clip(generator.normal(128, 25, (48, 64, 3)), 0, 255).astype(np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(noisy, format="rgb24")))
        out.mux(video.encode(None))
    return path


def spread(path: Path) -> float:
    with av.open(str(path)) as file:
        return float(np.mean([frame.to_ndarray(format="gray").std() for frame in file.decode(video=0)]))


def test_a_clip_is_denoised(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["restore", str(clip), "-t", "denoise", "--json", str(clip.parent / "done.json")]) == 0
    made = clip.with_name("clip.restored.mp4")
    assert f"{clip} -> {made} (5 frames, 0.20 s of video)" in capsys.readouterr().out
    assert spread(made) < spread(clip) / 3
    report = json.loads((clip.parent / "done.json").read_text(encoding="utf-8"))
    assert report["videos"][0] | {"input": ""} == {
        "input": "",
        "status": "done",
        "output": str(made),
        "frames": 5,
        "resumed": 0,
        "size": [48, 64],
        "rate": "25",
        "seconds": 0.2,
        "notes": [],
    }
    assert cli.run(["restore", str(clip), "-t", "denoise", "--skip-existing"]) == 0
    assert capsys.readouterr().out == f"{clip}: {made} is there already\n"


def test_what_a_clip_needs(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["restore", str(clip)]) == 2
    assert "a video needs a task" in capsys.readouterr().err
    assert cli.run(["restore", str(clip), "-t", "denoise,auto"]) == 2
    assert cli.run(["restore", str(clip), "-w", "auto_fast"]) == 2
    assert capsys.readouterr().err.count("a video needs a task") == 2
    for words in (["--shard", "1/2"], ["--manifest", str(clip.parent / "m.db")], ["--engine", "isolated"]):
        assert cli.run(["restore", str(clip), "-t", "denoise", *words]) == 2
        assert "are for pictures" in capsys.readouterr().err
    assert cli.run(["restore", str(clip), "-t", "denoise", "--max-pixels", "1e-3"]) == 1
    assert f"{clip}: frames of " in (told := capsys.readouterr().err)
    assert "megapixels, the limit is 0.001" in told
    assert [path.name for path in clip.parent.iterdir()] == [clip.name]
    clip.write_bytes(b"nothing")
    assert cli.run(["restore", str(clip), "-t", "denoise"]) == 1
    assert "clip.mp4" in capsys.readouterr().err


def test_no_clip_replaces_another(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = clip.with_suffix(".avi")
    other.write_bytes(clip.read_bytes())
    known = clip.with_suffix(".mkv")
    known.write_bytes(b"of the user")
    before = {path: path.read_bytes() for path in clip.parent.iterdir()}
    folder = str(clip.parent)
    assert cli.run(["restore", str(other), str(known), "-t", "denoise", "-o", folder]) == 2
    assert "would replace the input" in capsys.readouterr().err
    below = clip.parent / "below" / clip.name
    below.parent.mkdir()
    below.write_bytes(clip.read_bytes())
    assert cli.run(["restore", str(clip), str(below), "-t", "denoise", "-o", f"{folder}/out"]) == 2
    assert "both would become" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in clip.parent.iterdir() if path.is_file()} == before


def test_clips_and_pictures_share_a_report(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (20, 20)).save(clip.parent / "a.png")
    words = ["restore", str(clip), str(clip.parent / "a.png"), "-t", "denoise", "-o", str(clip.parent / "out")]
    assert cli.run([*words, "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [entry["status"] for entry in report["videos"]] == ["done"]
    assert [Path(entry["input"]).name for entry in report["results"]] == ["a.png"]


def test_a_clip_that_cannot_be_written_leaves_the_others(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clip.parent / "file").touch()
    Image.new("RGB", (20, 20)).save(clip.parent / "a.png")
    words = ["restore", str(clip), str(clip.parent / "a.png"), "-t", "denoise", "-o", str(clip.parent / "file" / "x")]
    assert cli.run(words) == 1
    told = capsys.readouterr().err
    assert "clip.mp4" in told
    assert "a.png" in told
    assert "Traceback" not in told
    cli.run([*words, "--debug"])
    assert "Traceback" in capsys.readouterr().err


def test_a_stopped_clip_says_what_was_not_begun(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (20, 20)).save(clip.parent / "a.png")
    (clip.parent / "b.mp4").write_bytes(clip.read_bytes())
    names = [str(clip), str(clip.parent / "b.mp4"), str(clip.parent / "a.png")]
    monkeypatch.setattr(api, "restore_video", Mock(side_effect=KeyboardInterrupt))
    assert cli.run(["restore", *names, "-t", "denoise", "-o", str(clip.parent / "out"), "--json", "-"]) == 130
    out, err = capsys.readouterr()
    assert json.loads(out)["left"] == names
    assert f"{names[2]}: not begun" in err


def test_a_folder_may_be_called_like_a_clip(tmp_path: Path) -> None:
    (tmp_path / "day.mp4").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "day.mp4/a.png")
    assert cli.run(["restore", str(tmp_path / "day.mp4"), "-t", "denoise", "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/a.png").exists()
