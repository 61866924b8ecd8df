"""Pictures in object stores, here fsspec's store in memory and its disk."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from batches import Negative
from PIL import Image

from undegrade.core import image
from undegrade.core.errors import InputError
from undegrade.core.urls import Url
from undegrade.inference import engines, scan
from undegrade.inference.manifest import Manifest

fsspec = pytest.importorskip("fsspec")


def stored(url: str, level: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (level,) * 3).save(file, "PNG")
    Url(url).write_bytes(file.getvalue())


@pytest.mark.parametrize("scheme", ["memory://bucket", "file://"])
def test_from_store_to_store_and_on_from_the_record(scheme: str, tmp_path: Path) -> None:
    root = f"{scheme}{tmp_path}"
    for name in ("a.png", "a.PNG", "sub/b.png", "sub/deep/c.png", "notes.txt"):
        stored(f"{root}/in/{name}", 30)
    stored(f"{root}/in/sub/broken.png", 30)
    Url(f"{root}/in/sub/broken.png").write_bytes(b"no picture")
    for expected in (5, 0):
        with Manifest(tmp_path / "m.db", {}, retry=False) as manifest:
            jobs = scan.scan([f"{root}/in/"], f"{root}/out", recursive=True)
            outcomes = list(engines.run(jobs, Negative(), manifest=manifest))
            assert sum(outcome.status == "done" for outcome in outcomes) == min(expected, 4)
            assert [str(one.source) for one in outcomes if one.status == "failed"] == [f"{root}/in/sub/broken.png"]
    found = sorted(str(folder / name) for folder, _, names in Url(f"{root}/out").walk() for name in names)
    written = ["a.PNG.png", "a.png.2.png", "sub/b.png", "sub/deep/c.png"]
    assert found == [f"{root}/out/{name}" for name in written]
    result = image.read(Url(found[0]).read_bytes())
    assert round(float(result.pixels[0, 0, 0]) * 255) == 225


def test_from_store_to_disk_and_what_cannot_be_reached(tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}"
    stored(f"{root}/in/a.png", 30)
    (outcome,) = engines.run(scan.scan([f"{root}/in/a.png"], tmp_path / "out"), Negative())
    assert outcome.target == tmp_path / "out/a.png"
    assert (tmp_path / "out/a.png").is_file()
    (outcome,) = engines.run(scan.scan([f"{root}/in/none.png"], tmp_path / "out"), Negative())
    assert outcome.error == f"{root}/in/none.png: there is no such file"
    with pytest.raises(InputError, match="no-such-scheme"):
        list(scan.scan(["no-such-scheme://a/b.png"], tmp_path / "out"))


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, parts = type(fsspec.filesystem("file")), list[str]()
    move = disk.mv

    def moved(self: object, source: str, target: str) -> None:
        parts.append(source)
        move(self, source, target)

    monkeypatch.setattr(disk, "mv", moved)
    for content in (b"one", b"other"):
        Url(f"file://{tmp_path}/a.png").write_bytes(content)
    assert len(set(parts)) == 2
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"other"]


def test_a_file_that_lies_in_no_folder() -> None:
    job = scan.plan(["memory://top.jpg"])[0]
    assert (str(job.source), str(job.target)) == ("memory://top.jpg", "memory://top.restored.png")
    assert str(Url("s3://bucket/top.jpg/").parent / "sub") == "s3://bucket/sub"


def test_the_longest_names_are_written(tmp_path: Path) -> None:
    name = f"{'é' * 125}.json"  # 255 bytes, which disks take
    Url(f"file://{tmp_path}/{name}").write_bytes(b"new")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_what_cannot_be_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fsspec.get_filesystem_class("file"), "mv", full)
    with pytest.raises(InputError, match="No space left"):
        Url(f"file://{tmp_path}/a.png").write_bytes(b"new")
    assert list(tmp_path.iterdir()) == []
