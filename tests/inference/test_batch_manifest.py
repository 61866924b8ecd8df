"""Large batches: what the record holds after kills at every step, what is done again, and who may use it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batches import Negative, picture

from undegrade import api, cli
from undegrade.core.errors import InputError, UsageError
from undegrade.inference import engines, outcome, scan
from undegrade.inference.manifest import Manifest


class Killed(BaseException):
    """Stands for the end of the process."""


class Counting(Negative):
    """Counts the pictures."""

    done = 0

    def picture(self, *arguments: Any, **options: Any) -> Any:
        self.done += 1
        return super().picture(*arguments, **options)


@pytest.fixture
def batch(tmp_path: Path) -> Callable[..., list[Any]]:
    for number in range(4):
        picture(tmp_path / f"in/{number}.png", number)

    def run(restorer: Any = None, **options: Any) -> list[Any]:
        with Manifest(tmp_path / "m.db", {"task": "negative"}, **options) as manifest:
            jobs = scan.scan([tmp_path / "in"], tmp_path / "out")
            return list(engines.run(jobs, restorer or Negative(), manifest=manifest))

    return run


def test_what_is_done_is_not_done_again(batch: Callable[..., list[Any]], tmp_path: Path) -> None:
    assert [outcome.status for outcome in batch()] == ["done"] * 4
    picture(tmp_path / "in/later.png")
    restorer = Counting()
    assert [outcome.source.name for outcome in batch(restorer)] == ["later.png"]
    assert restorer.done == 1
    with Manifest(tmp_path / "m.db", {"task": "negative"}) as manifest:
        assert manifest.counts() == {"done": 5}


@pytest.mark.parametrize("renamed", [False, True], ids=["before the renaming", "after the renaming"])
def test_killed_around_the_renaming(
    batch: Callable[..., list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: bool
) -> None:
    def killed(job: Any, part: Path, target: Path) -> None:
        if renamed:
            part.replace(target)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("undegrade.inference.manifest.publish", killed)
        with pytest.raises(Killed):
            batch()
    found = sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("."))
    assert found == (["0.png"] if renamed else [])
    restorer = Counting()
    again = batch(restorer)
    assert restorer.done == 3  # the first is finished from its hidden file, or recognised under its name
    assert [one.source.name for one in again] == ["1.png", "2.png", "3.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{number}.png" for number in range(4)]


def test_a_file_that_took_the_name_of_a_lost_result_is_not_taken_for_it(
    batch: Callable[..., list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(job: Any, part: Path, target: Path) -> None:
        part.replace(tmp_path / "lost")  # and stays on the disk, so that nobody gets its number
        picture(target, 9)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("undegrade.inference.manifest.publish", killed)
        with pytest.raises(Killed):
            batch()
    restorer = Counting()
    assert [one.status for one in batch(restorer)] == ["done"] * 4
    assert restorer.done == 4


def test_file_numbers_beyond_63_bits(
    batch: Callable[..., list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows' disks and some file servers have them, SQLite does not."""
    plain = os.stat_result.st_ino.__get__
    stat = Path.stat

    class Large:
        def __init__(self, found: os.stat_result) -> None:
            self.found = found
            self.st_ino = (1 << 127) + plain(found)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.found, name)

    monkeypatch.setattr(Path, "stat", lambda path, **how: Large(stat(path, **how)))
    assert [(one.status, one.error) for one in batch()] == [("done", "")] * 4
    assert batch() == []


def test_killed_while_writing_leaves_nothing(batch: Callable[..., list[Any]], tmp_path: Path) -> None:
    class Dying(Negative):
        def picture(self, *arguments: Any, **options: Any) -> Any:
            target = tmp_path / "out/0.png"
            target.parent.mkdir(exist_ok=True)
            # What a process leaves behind that is killed in the middle of a file.
            target.with_name(f"{outcome_prefix(target)}cafe.part").write_bytes(b"half")
            raise Killed

    with pytest.raises(Killed):
        batch(Dying())
    assert len(list((tmp_path / "out").iterdir())) == 1
    batch()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{number}.png" for number in range(4)]


def outcome_prefix(target: Path) -> str:
    from undegrade.core import encode

    return encode._part_prefix(target)


def test_failures_are_remembered_and_tried_again_on_demand(batch: Callable[..., list[Any]], tmp_path: Path) -> None:
    (tmp_path / "in/2.png").write_text("no picture")
    assert [outcome.status for outcome in batch()] == ["done", "done", "failed", "done"]
    picture(tmp_path / "in/2.png")
    restorer = Counting()
    (told,) = batch(restorer)
    assert (told.status, restorer.done) == ("failed", 0)
    assert "not a picture" in told.error
    with Manifest(tmp_path / "m.db", {"task": "negative"}) as manifest:
        assert manifest.failures() == [(str(tmp_path / "in/2.png"), told.error)]
    assert [outcome.status for outcome in batch(retry=True)] == ["done"]
    assert batch() == []


def test_one_run_at_a_time_and_one_kind_of_run(batch: Callable[..., list[Any]], tmp_path: Path) -> None:
    with Manifest(tmp_path / "m.db", {"sigma": 25}), pytest.raises(UsageError, match="another run uses"):
        Manifest(tmp_path / "m.db", {"sigma": 25})
    assert len(batch()) == 4, "a call that did nothing binds nobody"
    with pytest.raises(UsageError, match="of another call"):
        Manifest(tmp_path / "m.db", {"sigma": 50})
    (tmp_path / "text.db").write_text("This is no database, but it is long enough to look like a file of one." * 20)
    with pytest.raises(InputError, match="not a manifest"):
        Manifest(tmp_path / "text.db", {})
    with pytest.raises(InputError, match="no such folder"):
        Manifest(tmp_path / "nowhere/m.db", {})


def test_a_task_is_the_same_by_its_alias(tmp_path: Path) -> None:
    jobs = scan.scan([picture(tmp_path / "in/a.png")], tmp_path / "out")
    with api.open_manifest(tmp_path / "m.db", {"task": "derain, denoise"}) as manifest:
        assert len(list(engines.run(jobs, Negative(), manifest=manifest))) == 1
    with api.open_manifest(tmp_path / "m.db", {"task": "deraining,denoising"}) as manifest:
        assert manifest.counts() == {"done": 1}
    with pytest.raises(UsageError, match="of another call"):
        api.open_manifest(tmp_path / "m.db", {"task": "derain"})


@pytest.mark.parametrize(
    "tables",
    [
        "CREATE TABLE photos (name TEXT)",
        "CREATE VIEW one AS SELECT 1",
        "CREATE TABLE about (author TEXT); CREATE TABLE files (name TEXT)",
    ],
)
def test_a_database_of_something_else_stays_as_it_is(tmp_path: Path, tables: str) -> None:
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as base:
        base.executescript(tables)
    base.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="not a manifest"):
        Manifest(path, {})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"x", b"some words", b"some words" * 100, b"SQLite format 3\0", bytes(4096)])
def test_a_file_of_something_else_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"notes\.txt: not a manifest"):
        Manifest(path, {})
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_manifest_that_can_no_longer_be_written_is_told(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / f"in/{number}.png", number)
    with Manifest(tmp_path / "m.db", {}) as manifest:
        jobs = scan.scan([tmp_path / "in"], tmp_path / "out")
        run = engines.run(jobs, Negative(), manifest=manifest)
        assert next(run).status == "done"
        manifest._base.execute("PRAGMA query_only = ON")  # stands for a full disk
        with pytest.raises(InputError, match=r"m\.db: the manifest cannot be used"):
            list(run)
    with Manifest(tmp_path / "m.db", {}) as manifest:
        list(engines.run(scan.scan([tmp_path / "in"], tmp_path / "out"), Negative(), manifest=manifest))
        assert manifest.counts() == {"done": 4}
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_file_named_twice_is_done_once(tmp_path: Path) -> None:
    source = picture(tmp_path / "in/a.png")
    with Manifest(tmp_path / "m.db", {}) as manifest:
        jobs = scan.scan([source, tmp_path / "in"], tmp_path / "out")
        assert len(list(engines.run(jobs, Negative(), manifest=manifest))) == 1


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from undegrade import api

    monkeypatch.setattr(api, "load", lambda **_: Negative())
    for name in "abc":
        picture(tmp_path / f"in/{name}.png")
    (tmp_path / "in/b.png").write_text("no picture")
    words = ["restore", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--manifest", str(tmp_path / "m.db")]
    assert cli.run([*words, "--engine", "local"]) == 1
    capsys.readouterr()
    assert cli.run([*words, "--engine", "local"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "b.png: not a picture" in told.err
    assert "3 files were dealt with before" in told.err
    picture(tmp_path / "in/b.png")
    assert cli.run([*words, "--engine", "local", "--retry-failed"]) == 0
    assert cli.run([*words, "--engine", "local"]) == 0
    assert cli.run(["restore", str(tmp_path / "in"), "--retry-failed"]) == 2
    monkeypatch.chdir(tmp_path)
    words[words.index("-o") + 1] = "./out/"
    assert cli.run([*words, "--engine", "local"]) == 0
    words[words.index("-o") + 1] = "other"
    capsys.readouterr()
    assert cli.run([*words, "--engine", "local"]) == 2
    assert f"output: '{tmp_path / 'out'}' then, '{tmp_path / 'other'}' now" in capsys.readouterr().err


def test_shards_are_disjoint_and_complete(tmp_path: Path) -> None:
    for number in range(60):
        picture(tmp_path / f"in/{number % 7}/{number}.png")
    whole = {(job.source, job.target) for job in scan.scan([tmp_path / "in"], tmp_path / "out", recursive=True)}
    shares = [
        [
            (job.source, job.target)
            for job in scan.scan([tmp_path / "in"], tmp_path / "out", recursive=True, shard=(number, 3))
        ]
        for number in (1, 2, 3)
    ]
    assert sum(map(len, shares)) == len(whole) == 60
    assert set().union(*shares) == whole
    assert min(map(len, shares)) > 8
    for wrong in ("0/3", "4/3", "3", "a/b", "1/0", "-1/3", f"1/{'9' * 5000}"):
        with pytest.raises(UsageError, match="shard="):
            scan.parse_shard(wrong)


def test_the_first_file_is_known_before_the_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        picture(tmp_path / f"in/{number}/a.png")
    walk, entered = os.walk, []

    def counted(*arguments: Any, **options: Any) -> Iterator[Any]:
        for folder in walk(*arguments, **options):
            entered.append(folder[0])
            yield folder

    monkeypatch.setattr(os, "walk", counted)
    jobs = scan.scan([tmp_path / "in"], tmp_path / "out", recursive=True)
    assert next(jobs).source == tmp_path / "in/0/a.png"
    assert len(entered) == 2
    assert len(list(jobs)) == 4


def test_publishing_over_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "part").touch()
    (tmp_path / "target").mkdir()
    job = scan.Job(tmp_path / "a.png", tmp_path / "target")
    with pytest.raises(InputError, match="cannot be written"):
        outcome.publish(job, tmp_path / "part", tmp_path / "target")
