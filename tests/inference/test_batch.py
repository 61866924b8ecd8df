"""Batches of files: where results go, and that one bad file stops nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from batches import picture
from PIL import Image

from undegrade.core import image
from undegrade.core.errors import InputError, UsageError
from undegrade.core.image import Picture
from undegrade.inference import batch


class Negative:
    """Stands in for a Restorer: the negative of the picture."""

    info: ClassVar = {"task": "negative"}
    scale = 1

    def picture(self, picture: Picture, *, progress: Any = None) -> Picture:
        for part in range(3):
            progress(part + 1, 3)
        return picture.with_pixels(1 - picture.pixels)


def targets(jobs: list[batch.Job], root: Path) -> dict[str, str]:
    return {str(job.source.relative_to(root)): str(job.target.relative_to(root)) for job in jobs if not job.problem}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("in/a.jpg", "in/b.PNG", "in/sub/c.webp", "in/sub/deep/a.tif"):
        picture(tmp_path / name)
    (tmp_path / "in/notes.txt").write_text("no picture")
    (tmp_path / "in/.hidden.png").write_bytes(b"")
    return tmp_path


def test_beside_the_input(tree: Path) -> None:
    assert targets(batch.plan([tree / "in/a.jpg"]), tree) == {"in/a.jpg": "in/a.restored.png"}
    assert targets(batch.plan([tree / "in/a.jpg"], keep_format=True), tree) == {"in/a.jpg": "in/a.restored.jpg"}
    assert targets(batch.plan([tree / "in/b.PNG"], keep_format=True), tree) == {"in/b.PNG": "in/b.restored.PNG"}


def test_folder_and_its_mirror(tree: Path) -> None:
    flat = {"in/a.jpg": "in/a.restored.png", "in/b.PNG": "in/b.restored.png"}
    assert targets(batch.plan([tree / "in"]), tree) == flat
    assert targets(batch.plan([tree / "in"], tree / "out", recursive=True), tree) == {
        "in/a.jpg": "out/a.png",
        "in/b.PNG": "out/b.png",
        "in/sub/c.webp": "out/sub/c.png",
        "in/sub/deep/a.tif": "out/sub/deep/a.png",
    }


def test_results_of_an_earlier_run_are_no_inputs(tree: Path) -> None:
    picture(tree / "in/a.restored.png")
    assert len(batch.plan([tree / "in"])) == 2
    assert len(batch.plan([tree / "in"], tree / "out")) == 3


def test_output_folder_within_the_input_folder(tree: Path) -> None:
    first = batch.plan([tree / "in"], tree / "in/out", recursive=True)
    list(batch.run(first, Negative()))
    assert batch.plan([tree / "in"], tree / "in/out", recursive=True) == first


def test_one_file_into_a_file_or_a_folder(tree: Path) -> None:
    source = tree / "in/a.jpg"
    assert targets(batch.plan([source], tree / "x/y.tif"), tree) == {"in/a.jpg": "x/y.tif"}
    assert targets(batch.plan([source], tree / "x"), tree) == {"in/a.jpg": "x/a.png"}
    (tree / "odd.png").mkdir()
    assert targets(batch.plan([source], tree / "odd.png"), tree) == {"in/a.jpg": "odd.png/a.png"}


def test_a_slash_at_the_end_means_a_folder(tree: Path) -> None:
    source = tree / "in/a.jpg"
    for name in ("new.png", "new.gif"):
        assert targets(batch.plan([source], f"{tree}/{name}/"), tree) == {"in/a.jpg": f"{name}/a.png"}
    precious = picture(tree / "precious.png", 200)
    before = precious.read_bytes()
    (outcome,) = batch.run(batch.plan([source], f"{precious}/"), Negative())
    assert "the folder cannot be made" in outcome.error
    assert precious.read_bytes() == before


@pytest.mark.parametrize("word", ["", "-"])
def test_words_that_name_nothing_are_refused(tree: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.chdir(tree / "in")
    with pytest.raises(UsageError, match="give a file"):
        batch.plan([word])
    with pytest.raises(UsageError, match="give a file"):
        batch.plan(["a.jpg"], word)


@pytest.mark.parametrize("name", ["x.gif", "x.jp2", "x.psd"])
def test_picture_files_that_are_not_written(tree: Path, name: str) -> None:
    with pytest.raises(UsageError, match="are not written"):
        batch.plan([tree / "in/a.jpg"], tree / name)


def test_one_file_name_for_many_inputs(tree: Path) -> None:
    for inputs in ([tree / "in"], [tree / "in/a.jpg", tree / "in/b.PNG"]):
        with pytest.raises(UsageError, match="give a folder"):
            batch.plan(inputs, tree / "x.png")


def test_equal_stems_do_not_meet(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.png", "other/a.jpg"):
        picture(tmp_path / name)
    assert targets(batch.plan([tmp_path]), tmp_path) == {
        "a.jpg": "a.jpg.restored.png",
        "a.png": "a.png.restored.png",
        "b.png": "b.restored.png",
    }
    merged = targets(batch.plan([tmp_path / "a.jpg", tmp_path / "other/a.jpg"], tmp_path / "out"), tmp_path)
    assert merged == {"a.jpg": "out/a.jpg.png", "other/a.jpg": "out/a.jpg.2.png"}


def test_what_is_named_twice_is_done_once(tree: Path) -> None:
    source = tree / "in/a.jpg"
    twice = [source, f"{tree}//in/./a.jpg"]
    assert targets(batch.plan(twice, tree / "out"), tree) == {"in/a.jpg": "out/a.png"}
    assert targets(batch.plan([tree / "in", f"{tree}/in/"]), tree) == targets(batch.plan([tree / "in"]), tree)
    assert len(batch.plan(twice, tree / "out/b.png")) == 1


def test_a_second_run_takes_no_result_for_a_picture(tmp_path: Path) -> None:
    for name in ("IMG.JPG", "img.jpg"):
        picture(tmp_path / name)
    for job in batch.plan([tmp_path]):
        picture(job.target)
    assert {job.source.name for job in batch.plan([tmp_path])} == {"IMG.JPG", "img.jpg"}


def test_no_two_jobs_ever_share_a_target(tmp_path: Path) -> None:
    names = ["a.jpg", "a.png", "a.jpg.png", "a.png.jpg", "a.jpg.2.png", "x/a.jpg", "x/a.jpg.jpg", "x/a.png.png"]
    for name in names:
        picture(tmp_path / name)
    jobs = batch.plan([tmp_path, tmp_path / "x"], tmp_path / "out")
    assert len({job.target for job in jobs}) == len(jobs) == len(names)


def test_results_among_the_inputs_bear_the_mark(tree: Path) -> None:
    for _ in range(2):
        jobs = batch.plan([tree / "in"], tree / "in", recursive=True)
        assert targets(jobs, tree) == {
            "in/a.jpg": "in/a.restored.png",
            "in/b.PNG": "in/b.restored.png",
            "in/sub/c.webp": "in/sub/c.restored.png",
            "in/sub/deep/a.tif": "in/sub/deep/a.restored.png",
        }
        for job in jobs:
            picture(Path(job.target))


def test_one_path_need_not_be_a_list(tree: Path) -> None:
    assert batch.plan(str(tree / "in"), tree / "out") == batch.plan([tree / "in"], tree / "out")
    assert list(batch.scan(tree / "in")) == batch.plan([tree / "in"])


def test_inputs_are_never_replaced(tree: Path) -> None:
    source = tree / "in/b.PNG"
    for output in (source, tree / "in" / ".." / "in" / "b.PNG"):
        with pytest.raises(UsageError, match="would replace an input"):
            batch.plan([source], output)
    (tree / "link.png").symlink_to(source)
    with pytest.raises(UsageError, match="would replace an input"):
        batch.plan([source], tree / "link.png")
    picture(tree / "in/a.restored.png")
    with pytest.raises(UsageError, match="would replace an input"):
        batch.plan([tree / "in/a.jpg", tree / "in/a.restored.png"])


def test_run_goes_on_after_bad_files(tree: Path) -> None:
    (tree / "in/broken.png").write_bytes((tree / "in/b.PNG").read_bytes()[:50])
    (tree / "in/text.png").write_text("hello")
    jobs = batch.plan([tree / "in", tree / "missing.png"], tree / "out")
    seen: list[tuple[int, float]] = []
    outcomes = list(batch.run(jobs, Negative(), progress=lambda number, share: seen.append((number, share))))
    assert {outcome.source.name: outcome.status for outcome in outcomes} == {
        "a.jpg": "done",
        "b.PNG": "done",
        "broken.png": "failed",
        "text.png": "failed",
        "missing.png": "failed",
    }
    for outcome in outcomes:
        if outcome.status == "failed":
            assert str(outcome.source) in outcome.error
            assert "\n" not in outcome.error
    assert np.array_equal(image.load_rgb(tree / "out/b.png"), 255 - image.load_rgb(tree / "in/b.PNG"))
    assert sorted(path.name for path in (tree / "out").iterdir()) == ["a.png", "b.png"]
    assert seen[2] == (1, 1.0)  # missing.png is number 0: named files go before folders


def test_a_fault_in_the_restorer_is_told_and_the_run_goes_on(tree: Path) -> None:
    class Faulty(Negative):
        def picture(self, picture: Picture, *, progress: Any = None) -> Picture:
            if picture.metadata.format == "JPEG":
                raise ZeroDivisionError("division by zero")
            return super().picture(picture, progress=progress)

    first, second = batch.run(batch.plan([tree / "in"], tree / "out"), Faulty())
    assert first.error.endswith("internal error, ZeroDivisionError: division by zero")
    assert isinstance(first.cause, ZeroDivisionError)
    assert second.status == "done"


def test_what_progress_raises_ends_the_run(tree: Path) -> None:
    class Enough(Exception):  # noqa: N818
        pass

    def progress(number: int, share: float) -> None:
        if number == 1:
            raise Enough

    outcomes = batch.run(batch.plan([tree / "in"], tree / "out"), Negative(), progress=progress)
    assert next(outcomes).status == "done"
    with pytest.raises(Enough):
        next(outcomes)
    assert [path.name for path in (tree / "out").iterdir()] == ["a.png"]


def test_skip_existing(tree: Path) -> None:
    jobs = batch.plan([tree / "in"], tree / "out")
    list(batch.run(jobs, Negative()))
    (tree / "out/a.png").unlink()
    again = list(batch.run(jobs, Negative(), skip_existing=True))
    assert [outcome.status for outcome in again] == ["done", "skipped"]


def test_pages_stay_pages(tmp_path: Path) -> None:
    pages = [image.read(np.full((4, 5 + index, 3), index * 1000, np.uint16)) for index in range(3)]
    image.save(pages, tmp_path / "scan.tif")
    jobs = batch.plan([tmp_path / "scan.tif"])
    (outcome,) = batch.run(jobs, Negative())
    assert outcome.target == tmp_path / "scan.restored.tif"
    assert outcome.frames == 3
    result = list(image.frames(outcome.target))
    assert [page.size for page in result] == [(4, 5), (4, 6), (4, 7)]
    assert [int(page.pixels[0, 0, 0] * 65535) for page in result] == [65535, 64535, 63535]
    (again,) = batch.run(jobs, Negative(), skip_existing=True)
    assert again.status == "skipped"


def test_notes_of_all_pages_are_told_once(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (8, 8), "red"), Image.new("CMYK", (8, 8)), Image.new("CMYK", (8, 8))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    (outcome,) = batch.run(batch.plan([tmp_path / "a.tif"]), Negative())
    assert [note.partition(" ")[0] for note in outcome.notes] == ["CMYK"]


def test_animation_becomes_an_animation(tmp_path: Path) -> None:
    first, *rest = [Image.new("RGB", (6, 4), (60 * index, 0, 0)) for index in range(3)]
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=70)
    (outcome,) = batch.run(batch.plan([tmp_path / "a.gif"]), Negative())
    with Image.open(outcome.target) as result:
        assert (result.format, result.n_frames) == ("PNG", 3)
    (refused,) = batch.run(batch.plan([tmp_path / "a.gif"], keep_format=True), Negative())
    assert "256 colours" in refused.error


def test_what_does_not_fit_the_format_is_told_before_the_work(tmp_path: Path) -> None:
    image.save(image.read(np.zeros((4, 5, 3), np.uint16)), tmp_path / "a.png")

    class Never(Negative):
        def picture(self, picture: Picture, *, progress: Any = None) -> Picture:
            raise AssertionError("was run")

    (outcome,) = batch.run(batch.plan([tmp_path / "a.png"], tmp_path / "b.jpg"), Never())
    assert "JPEG holds 8 bits" in outcome.error


def test_empty_and_unreadable_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty/within").mkdir(parents=True)
    picture(tmp_path / "good/a.png")
    shut = tmp_path / "good/shut"
    shut.mkdir()
    scan = os.scandir

    def guarded(path: Any) -> Any:
        if Path(path) == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    jobs = batch.plan([tmp_path / "empty", tmp_path / "good"], tmp_path / "out", recursive=True)
    outcomes = list(batch.run(jobs, Negative()))
    assert [outcome.status for outcome in outcomes] == ["failed", "done", "failed"]
    assert outcomes[0].error.endswith("empty: the folder holds no pictures")
    assert outcomes[2].error == f"{shut}: the folder cannot be read (Permission denied)"
    assert "--recursive" in batch.plan([tmp_path / "empty"])[0].problem


def test_ctrl_c_leaves_no_half_file(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", stopped)
    run = batch.run(batch.plan([tree / "in"], tree / "out"), Negative())
    with pytest.raises(KeyboardInterrupt):
        next(run)
    assert list((tree / "out").iterdir()) == []


def test_outcome_as_json(tree: Path) -> None:
    (outcome,) = batch.run(batch.plan([tree / "in/a.jpg"]), Negative())
    told = outcome.to_dict()
    assert (told["status"], told["size"], told["frames"], told["error"]) == ("done", [4, 6], 1, None)
    assert told["output"] == str(tree / "in/a.restored.png")


def test_too_many_pixels(tree: Path) -> None:
    (outcome,) = batch.run(batch.plan([tree / "in/a.jpg"]), Negative(), max_pixels=20)
    assert isinstance(outcome.cause, InputError)
    assert "0.000024 megapixels, the limit is 0.00002:" in outcome.error


def test_a_folder_that_takes_no_files_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.open

    def read_only(path: Path, *mode: str, **rest: Any) -> Any:
        if not rest and mode in ((), ("xb",)):
            raise OSError(30, "Read-only file system")
        return plain(path, *mode, **rest)

    monkeypatch.setattr(Path, "open", read_only)
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok: read_only(path))
    (outcome,) = batch.run(batch.plan([tree / "in/a.jpg"]), Negative())
    assert outcome.error.endswith("a.restored.png: cannot be written (Read-only file system)")


def test_an_empty_file_is_called_empty(tree: Path) -> None:
    (tree / "none.png").touch()
    (outcome,) = batch.run(batch.plan([tree / "none.png"]), Negative())
    assert outcome.error == f"{tree / 'none.png'}: is empty"
