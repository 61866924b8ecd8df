"""The queue: everybody gets an answer, whatever the workers do."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import pytest
from fakes import deaf, fake, order
from PIL import Image

from undegrade.web import desk as desks
from undegrade.web import worker
from undegrade.web.desk import BusyError, Desk
from undegrade.web.limits import Limits
from undegrade.web.worker import Answer, Order


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(desks, "GRACE", 0.3)
    made = Desk(Limits(queue=3, seconds=30), "cpu", fake)
    yield made
    made.close()


def until_begun(job: desks.Job) -> None:
    for _ in range(600):
        if job.begun is not None and (job.share or job.order.load["task"] == "hang"):
            return
        job.cancelled.wait(0.05)
    pytest.fail("no worker took the job")


def test_answers_crashes_and_what_comes_after(desk: Desk, tmp_path: Path) -> None:
    jobs = [desk.submit(order(tmp_path, what)) for what in ("refuse", "crash", "done")]
    refused, crashed, done = (job.future.result(60) for job in jobs)
    # No word of where it lies.
    assert (refused.status, refused.error) == ("refused", "the picture: the file is damaged")
    assert crashed.status == "broken"
    assert "code 7" in crashed.error
    assert done.status == "done"
    assert done.path == tmp_path / "done"
    assert jobs[2].share == 0.5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_babbles_is_replaced(desk: Desk, tmp_path: Path) -> None:
    babbled, done = (desk.submit(order(tmp_path, what)) for what in ("babble", "done"))
    assert babbled.future.result(20).status == "broken"
    assert done.future.result(20).status == "done"
    assert desk.place(desk.submit(order(tmp_path, "done"))) == 0


def test_full_queue_cancelling_and_closing(desk: Desk, tmp_path: Path) -> None:
    tiles = desk.submit(order(tmp_path, "tiles"))
    until_begun(tiles)
    assert tiles.left() is not None
    first, second, third = (desk.submit(order(tmp_path, "done")) for _ in range(3))
    assert desk.full
    with pytest.raises(BusyError, match="3 pictures wait"):
        desk.submit(order(tmp_path, "done"))
    assert [desk.place(job) for job in (tiles, first, third)] == [0, 1, 3]
    desk.cancel(second)
    assert second.future.result(0).status == "stopped"
    desk.cancel(tiles)  # between two tiles: the process lives on
    assert tiles.future.result(20).status == "stopped"
    assert first.future.result(20).status == "done"
    assert third.future.result(20).status == "done"
    hanging = desk.submit(order(tmp_path, "hang"))
    until_begun(hanging)
    waiting = desk.submit(order(tmp_path, "done"))
    desk.close()
    assert hanging.future.result(20).status in ("stopped", "late")
    assert waiting.future.result(0).error == "the server is going down"


def test_who_is_before(tmp_path: Path) -> None:
    desk = Desk(Limits(workers=2), "cpu", fake)
    served = [desk.submit(order(tmp_path, "tiles")) for _ in range(2)]
    for job in served:
        until_begun(job)
    waiting = [desk.submit(order(tmp_path, "done")) for _ in range(2)]
    assert [desk.place(job) for job in (*served, *waiting)] == [0, 0, 2, 3]
    for job in served:
        desk.cancel(job)
    assert [job.future.result(20).status for job in waiting] == ["done", "done"]
    desk.close()


def test_no_worker_can_be_started(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    assert desk.submit(order(tmp_path, "crash")).future.result(60).status == "broken"
    with monkeypatch.context() as patch:
        patch.setattr(desks, "_Worker", refuse)
        answer = desk.submit(order(tmp_path, "done")).future.result(20)
        assert (answer.status, "try again later" in answer.error) == ("broken", True)
    assert desk.submit(order(tmp_path, "done")).future.result(60).status == "done"


def test_what_never_ends_is_given_up(tmp_path: Path) -> None:
    desk = Desk(Limits(seconds=0.5), "cpu", fake)
    hanging, next_one = desk.submit(order(tmp_path, "hang")), desk.submit(order(tmp_path, "done"))
    assert hanging.future.result(60).status == "late"
    assert next_one.future.result(60).status == "done"
    desk.close()


def test_cancelled_while_its_worker_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(desks, "GRACE", 5)
    desk = Desk(Limits(seconds=300), "cpu", deaf)
    job = desk.submit(order(tmp_path, "done"))
    while job.begun is None:
        job.cancelled.wait(0.01)
    desk.cancel(job)
    assert job.future.result(30).status == "stopped"
    desk.close()


def test_a_full_disk_is_told_of_each_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio", reason="pip install 'undegrade[web]'")
    from undegrade.web.panel import Panel

    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    async def told() -> tuple[str, str]:
        panel = Panel(None, Limits(), tmp_path)  # type: ignore[arg-type]
        fields = {"task": "denoise"}
        one = [state.status async for state in panel._restore("in/a.png", fields, ("visitor", "one"))]
        many = [state.status async for state in panel._restore_all(["in/a.png"], fields, ("visitor", "many"))]
        return one[-1], many[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    for text in asyncio.run(told()):
        assert "o folder for the result can be made (No space left on device)" in text
        assert "zip" not in text


def test_without_room_for_the_slider_the_result_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    Image.new("RGB", (32, 24)).save(tmp_path / "a.png")
    monkeypatch.setattr(worker, "_shown", full)
    given = Order(tmp_path / "a.png", tmp_path / "out", {"task": "denoising", "strength": 0.0}, False, 1000, True)
    ours, theirs = Pipe()
    with ours, theirs:
        answer = worker._answered(given, ours, "cpu")
    assert (answer.status, answer.shown) == ("done", None)
    assert answer.path is not None
    assert answer.path.is_file()
    assert answer.notes[-1] == "before and after cannot be shown (No space left on device)"


def test_among_many_pictures_errors_begin_with_the_name(tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="pip install 'undegrade[web]'")
    from undegrade.web.panel import Panel

    class Refuses:
        """In place of the desk."""

        def submit(self, order: Order) -> desks.Job:
            job = desks.Job(order)
            job.answer(Answer("refused", f"{desks.ITS_PICTURE}the file is damaged"))
            return job

    async def last(paths: list[str]) -> str:
        panel = Panel(Refuses(), Limits(), tmp_path)  # type: ignore[arg-type]
        states = [state async for state in panel._restore_all(paths, {"task": "denoise"}, ("visitor", "many"))]
        return str(states[-1].status)

    told = asyncio.run(last(["in/first.png", "in/second.png"]))
    assert "first.png: the file is damaged" in told
    assert "second.png: the file is damaged" in told
