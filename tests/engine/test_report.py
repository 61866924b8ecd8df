"""`undegrade report`: curves of runs, sheets of pictures, gain against time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import skimage.data
from PIL import Image

from undegrade import api, cli
from undegrade.core.errors import UsageError
from undegrade.weights import store

pytest.importorskip("matplotlib")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run, as the training loop leaves it, without weights."""
    folder = tmp_path / "short"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("task: denoising\nnetwork: m3snet\nsteps: 200\nlr: 0.001\n", encoding="utf-8")
    events = [
        {"event": "train", "step": step, "loss": -20 - step / 50, "lr": 0.001, "mpx_per_s": 0.1}
        for step in range(50, 250, 50)
    ]
    events += [
        {"event": "validation", "step": step, "sigma=25": 28.0, "mean": 28.0 + step / 100} for step in (100, 200)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return folder


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    folder = tmp_path / "scores"
    folder.mkdir()
    for number, (task, psnr) in enumerate((("denoising", 30.0), ("denoising", 31.0), ("deraining", 33.0))):
        mean = {"psnr": psnr, "input_psnr": 20.0, "seconds": 0.1 * (number + 1)}
        content = {"task": task, "weights": f"w{number}", "set": "Set5", "strength": {"sigma": 25}, "mean": mean}
        (folder / f"{number}.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "other.json").write_text("[1, 2]", encoding="utf-8")
    return folder


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def texts(svg: Path) -> str:
    """An SVG of matplotlib draws its letters; comments beside them say which."""
    ElementTree.parse(svg)
    return svg.read_text(encoding="utf-8")


def test_curves_and_chart(run: Path, scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", str(run), str(scores)]) == 0
    written = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.name for path in written] == ["curves.png", "curves.svg", "scores.png", "scores.svg", "report.html"]
    assert all(path.parent == run / "report" for path in written)
    assert size(written[0])[0] > 1000
    assert "<!-- short -->" in texts(written[1])
    assert all(f"<!-- {name} -->" in texts(written[3]) for name in ("w0", "w2", "deraining", "Set5, sigma 25"))
    page = written[4].read_text(encoding="utf-8")
    assert "30.00 dB at step 200" in page
    assert "200 of 200" in page
    assert page.count("data:image/svg+xml") == 2


def test_a_figure_that_cannot_be_written_leaves_the_old_one(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    def full(self: Figure, place: Path, **_: object) -> None:
        Path(place).write_bytes(b"hal")
        raise OSError(28, "No space left on device")

    (tmp_path / "out").mkdir()
    (tmp_path / "out/curves.png").write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match="No space left"):
        api.report(run, tmp_path / "out")
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [b"old"]


def test_the_folder_above_the_runs(run: Path, scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    longer = run.with_name("longer")
    longer.mkdir()
    (longer / "log.jsonl").write_bytes((run / "log.jsonl").read_bytes())
    (run.parent / "one.json").write_bytes((scores / "0.json").read_bytes())
    assert cli.run(["report", str(run.parent)]) == 0
    assert "report.html" in capsys.readouterr().out
    page = (run.parent / "report" / "report.html").read_text(encoding="utf-8")
    assert "<h2>longer</h2>" in page
    assert "<h2>short</h2>" in page
    assert "Gain against time" in page


def test_sheet_of_a_run(run: Path, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.astronaut()[:60, :90]).save(tmp_path / "a.png")
    (run / "short.safetensors").write_bytes(store.fetch(store.find("denoising_fast")).read_bytes())
    assert cli.run(["report", str(run), "--pictures", str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]) == 0
    assert size(tmp_path / "out" / "short.sheet.png") == (3 * (84 + 4), 60 + 4)


def test_sheet_of_a_flat_picture_by_a_recipe_with_files(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strengths that are files lie in the recipe's folder of data, and no picture is cut to nothing."""
    (tmp_path / "sets").mkdir()
    Image.new("L", (64, 64), 40).save(tmp_path / "sets/streaks.png")
    Image.fromarray(skimage.data.astronaut()[:8, :90]).save(tmp_path / "a.png")
    (run / "recipe.yaml").write_text("task: deraining\ndata: sets\nvalidate_at: [{layers: streaks.png}]\n")
    (run / "short.safetensors").write_bytes(store.fetch(store.find("denoising_fast")).read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("undegrade.inference.load.load", lambda *_, **__: lambda picture: picture)
    api.report(run, "out", pictures="a.png")
    assert size(tmp_path / "out/short.sheet.png") == (3 * (84 + 4), 8 + 4)
    with pytest.raises(UsageError, match="nothing to draw"):
        api.report([])


def test_runs_of_one_name_are_told_apart(run: Path, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.astronaut()[:60, :90]).save(tmp_path / "a.png")
    (run / "short.safetensors").write_bytes(store.fetch(store.find("denoising_fast")).read_bytes())
    again = shutil.copytree(run, tmp_path / "second/short")
    out = tmp_path / "out"
    assert cli.run(["report", str(run), str(again), "--pictures", str(tmp_path / "a.png"), "-o", str(out)]) == 0
    assert {path.name for path in out.glob("*.sheet.png")} == {"short.sheet.png", "second-short.sheet.png"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<h2>second-short</h2>" in page
    assert "<!-- second-short -->" in texts(out / "curves.svg")


def test_runs_without_weights_have_no_sheet(run: Path, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.astronaut()[:60, :90]).save(tmp_path / "a.png")
    shutil.copytree(run, run.with_name("begun"))
    (run / "short.safetensors").write_bytes(store.fetch(store.find("denoising_fast")).read_bytes())
    assert cli.run(["report", str(run.parent), "--pictures", str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").glob("*.sheet.png")] == ["short.sheet.png"]


def test_refusals(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", str(tmp_path / "none")]) == 1
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert cli.run(["report", str(tmp_path / "empty")]) == 1
    assert "neither" in capsys.readouterr().err
    assert cli.run(["report", str(run), "--pictures", str(tmp_path)]) == 1
    assert "holds no weights" in capsys.readouterr().err
    mean = '"mean": {"psnr": 30, "input_psnr": 20, "seconds": 1}'
    named = [f'{{"task": {task}, "weights": {weights}, {mean}}}' for task, weights in (("1", '"w"'), ('"t"', "null"))]
    for content in (f"{{{mean}}}", *named, '{"mean": {"psnr": "x"}}', "[1]"):
        (tmp_path / "other.json").write_text(content)
        assert cli.run(["report", str(tmp_path / "other.json")]) == 1
        assert "neither" in capsys.readouterr().err
    (run / "recipe.yaml").write_text("a: [1")
    assert cli.run(["report", str(run)]) == 1
    assert "recipe.yaml: not YAML" in capsys.readouterr().err
    (run / "recipe.yaml").write_text("")
    assert cli.run(["report", str(run)]) == 0
    capsys.readouterr()
    whole = (run / "log.jsonl").read_text()
    train = '{"event": "train", "step": 1, "loss": 1, "lr": 1}'
    for line in ("5", '{"loss": 1}', '{"event": "validation", "step": "1"}', train):
        (run / "log.jsonl").write_text(f"{whole}{line}\n")
        assert cli.run(["report", str(run)]) == 1
        assert f"log.jsonl: damaged line {line[:40]!r}" in capsys.readouterr().err
    (run / "log.jsonl").write_text(whole)
    with (run / "log.jsonl").open("a") as log:
        log.write('{"event": "tra')  # cut off by a kill
    assert cli.run(["report", str(run)]) == 0
