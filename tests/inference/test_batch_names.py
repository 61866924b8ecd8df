"""Names from strangers: nothing is written outside the output folder, nothing is lost, nothing obeys a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from batches import Negative, picture

from undegrade import api, cli
from undegrade.core.errors import UsageError
from undegrade.core.names import folded, printable, shortened
from undegrade.inference import batch, scan

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")


def restored(source: Path, output: Path) -> dict[str, str]:
    """Name -> status; afterwards every result lies below ``output``."""
    jobs = scan.scan([source], output, recursive=True)
    outcomes = list(batch.run(jobs, Negative()))
    for outcome in outcomes:
        if outcome.target:
            assert Path(str(outcome.target)).resolve().is_relative_to(output.resolve())
    return {outcome.source.name: outcome.status for outcome in outcomes}


@LINUX
def test_odd_names_are_done_and_said_harmlessly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [
        b"new\nline.png",
        b"\x1b[31mred.png",
        b"-rf.png",
        b"not utf8 \xff\xfe.png",
        b" .png.png",
        "\u202egnp.png".encode(),
    ]
    names += [b"$(touch it-ran).png", b"a" * 250 + b".png", "ä".encode() * 125 + b".png", b"..png.png", b"nul.png"]
    for name in names:
        picture(tmp_path / "in/x.png").rename(tmp_path / "in" / os.fsdecode(name))
    hidden = b"..png.png"  # begins with a dot
    monkeypatch.setattr(api, "load", lambda **_: Negative())
    monkeypatch.chdir(tmp_path)
    assert cli.run(["restore", "in", "-o", "out", "--json", "report.json", "--engine", "local"]) == 0
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert "\u202e" not in told.out + told.err
    assert len(told.out.splitlines()) == len(names) - 1
    written = sorted(os.fsencode(path.name) for path in (tmp_path / "out").iterdir())
    assert written == sorted(name for name in names if name != hidden)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "report.json"]


def test_names_too_long_for_the_marked_result_are_shortened(tmp_path: Path) -> None:
    for letter in "ab":
        picture(tmp_path / f"in/{'x' * 249}{letter}.jpg")
    jobs = scan.plan([tmp_path / "in"])
    assert len({job.target for job in jobs}) == 2
    assert [outcome.status for outcome in batch.run(jobs, Negative())] == ["done", "done"]
    assert all(len(os.fsencode(job.target.name)) <= 255 for job in jobs)
    assert shortened("short.png") == "short.png"
    assert printable("a\n\x1b\udcff\u202eä") == "a\\n\\x1b\\udcff\\u202eä"


@LINUX
def test_names_that_differ_in_case_or_composition_only_do_not_meet(tmp_path: Path) -> None:
    for name in ("A.png", "a.png", "Sub/b.png", "sub/b.png", "sub/B.PNG", "e\u0301.png", "\u00e9.png"):
        picture(tmp_path / "in" / name)
    targets = [job.target for job in scan.plan([tmp_path / "in"], tmp_path / "out", recursive=True)]
    assert len({folded(str(target)) for target in targets}) == len(targets) == 7


def test_links_lead_nowhere(tmp_path: Path) -> None:
    picture(tmp_path / "in/sub/a.png")
    picture(tmp_path / "in/b.png")
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = picture(outside / "victim.png", 200)
    before = victim.read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").symlink_to(outside)
    (tmp_path / "out/b.png").symlink_to(victim)
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    jobs = scan.scan([tmp_path / "in"], tmp_path / "out", recursive=True)
    outcomes = {outcome.source.name: outcome for outcome in batch.run(jobs, Negative())}
    assert "a link leads out of the output folder" in outcomes["a.png"].error
    assert outcomes["b.png"].status == "done"
    assert len(outcomes) == 2
    assert not (tmp_path / "out/b.png").is_symlink()  # the link was replaced, not followed
    assert victim.read_bytes() == before
    assert [path.name for path in outside.iterdir()] == ["victim.png"]


@LINUX
def test_what_is_no_file_is_not_read_for_ever(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    os.mkfifo(tmp_path / "in/pipe.png")
    (tmp_path / "in/zero.png").symlink_to("/dev/zero")
    (tmp_path / "in/gone.png").symlink_to(tmp_path / "nowhere")
    with (tmp_path / "in/huge.png").open("wb") as file:
        file.truncate(8 << 30)  # takes no room on the disk
    status = restored(tmp_path / "in", tmp_path / "out")
    assert status == {"a.png": "done"} | dict.fromkeys(("pipe.png", "zero.png", "gone.png", "huge.png"), "failed")


def test_dots_in_the_call_stay_within_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a/b/x.png")
    monkeypatch.chdir(tmp_path / "a/b")
    jobs = scan.plan([".."], tmp_path / "out", recursive=True)
    assert [job.target for job in jobs] == [tmp_path / "out/b/x.png"]
    assert [job.target for job in scan.plan(["../b/../b/x.png"], tmp_path / "out")] == [tmp_path / "out/x.png"]


def test_files_of_one_name_in_several_folders_keep_it_beside_themselves(tmp_path: Path) -> None:
    inputs = [picture(tmp_path / name / "x.jpg") for name in "ab"]
    assert [job.target for job in scan.plan(inputs)] == [path.with_name("x.restored.png") for path in inputs]


def test_the_first_job_does_not_wait_for_a_look_at_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (tmp_path / "in" / f"{number:02d}.png").parent.mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number:02d}.png").touch()
    looked: list[Path] = []
    look = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **how: (looked.append(path), look(path, **how))[1])
    jobs = scan.scan([tmp_path / "in"], tmp_path / "out")
    assert next(jobs).source.name == "00.png"
    assert len(looked) < 10
    assert len(list(jobs)) == 49


def test_a_pictures_output_is_not_called_like_a_video(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a video's name for what is none"):
        list(scan.scan([picture(tmp_path / "a.png")], tmp_path / "a.mp4"))
    assert list(scan.scan([], tmp_path / "a.mp4")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]
