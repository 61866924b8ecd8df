"""`undegrade restore clip.mp4 -t denoise`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from undegrade import cli

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
    assert report["results"][0] | {"input": ""} == {
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


def test_what_a_clip_needs(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["restore", str(clip)]) == 2
    assert "a video needs a task" in capsys.readouterr().err
    clip.write_bytes(b"nothing")
    assert cli.run(["restore", str(clip), "-t", "denoise"]) == 1
    assert "clip.mp4" in capsys.readouterr().err
