"""The working part of a page: drop pictures, choose, press the button, compare, download."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from undegrade.core.errors import UndegradeError, UsageError
from undegrade.core.formats import SUFFIXES
from undegrade.web.cards import bar, batch_progress, hint, listed, progress, seconds, sentence, told, trouble
from undegrade.web.choice import Choice, button
from undegrade.web.desk import ITS_PICTURE, BusyError, Desk, Job
from undegrade.web.limits import Limits
from undegrade.web.wish import Wish, make_wish
from undegrade.web.worker import Answer, Order

__all__ = ["Panel"]

TICK = 0.3
TABS = ("one", "many")
Update = dict[Any, Any]
_Place = tuple[str, str]
"""A visitor's session, and the tab of the page; what goes on in one tab does not concern the other."""


@dataclass
class Panel:
    """Builds the controls and answers them.

    Attributes:
        desk, limits: where pictures go, and how many of what size.
        folder: for results.
        jobs: what is under way, by the visitor's session and the tab of the page.
    """

    desk: Desk
    limits: Limits
    folder: Path
    jobs: dict[_Place, _Run] = field(default_factory=dict)

    def build(self, task: str | None = None) -> Any:
        """The tabs for one and for many pictures; with ``task``, for this task only. Returns the drop area."""
        with gr.Tabs():
            with gr.Tab("One picture"):
                drop = self._one(task)
            with gr.Tab("Many pictures"):
                self._many(task)
        return drop

    def leave(self, request: gr.Request) -> None:
        """Called when a visitor closes the page."""
        for tab in TABS:
            self._cancel(_place(request, tab))

    def _cancel(self, place: _Place) -> None:
        """Gives up what this visitor has under way in this tab."""
        if run := self.jobs.get(place):
            run.stop(self.desk)

    def _one(self, task: str | None) -> Any:
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                drop = gr.File(label="Your picture", file_types=_kinds(), height=150, elem_classes="ud-drop")
                choice = Choice(task)
                start = gr.Button("Restore", variant="primary", size="lg", elem_classes="ud-start")
                stop = gr.Button("Cancel", visible=False, elem_classes="ud-stop")
            with gr.Column(scale=6, min_width=300):
                status = gr.Markdown(hint(), elem_classes="ud-status")
                slider = gr.ImageSlider(
                    label="Before and after",
                    interactive=False,
                    visible=False,
                    max_height=640,
                    buttons=["fullscreen"],
                    elem_classes="ud-slider",
                )
                download = gr.DownloadButton("Download", visible=False, variant="primary", elem_classes="ud-download")
        shown = [status, slider, download, start, stop]

        async def run(path: str | None, *values: Any, request: gr.Request) -> AsyncIterator[Update]:
            async for state in self._restore(path, choice.fields(values), _place(request, "one")):
                yield dict(zip(shown, state.updates(), strict=True))

        def cancel(request: gr.Request) -> None:
            self._cancel(_place(request, "one"))

        button(start.click, _with_request(run, 1 + len(choice.inputs)), [drop, *choice.inputs], shown)
        button(stop.click, cancel, None, None)
        return drop

    def _many(self, task: str | None) -> None:
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                drop = gr.File(
                    label=f"Your pictures, up to {self.limits.batch}",
                    file_count="multiple",
                    file_types=_kinds(),
                    height=200,
                    elem_classes="ud-drop-many",
                )
                choice = Choice(task)
                start = gr.Button("Restore all", variant="primary", size="lg", elem_classes="ud-start-many")
                stop = gr.Button("Cancel", visible=False, elem_classes="ud-stop-many")
            with gr.Column(scale=6, min_width=300):
                status = gr.Markdown(hint("Drop pictures, press the button, get them back in one zip file."))
                download = gr.DownloadButton(
                    "Download all (zip)", visible=False, variant="primary", elem_classes="ud-download-many"
                )
        shown = [status, download, start, stop]

        async def run(paths: list[str] | None, *values: Any, request: gr.Request) -> AsyncIterator[Update]:
            async for state in self._restore_all(paths or [], choice.fields(values), _place(request, "many")):
                updates = state.updates()
                yield dict(zip(shown, (updates[0], *updates[2:]), strict=True))

        def cancel(request: gr.Request) -> None:
            self._cancel(_place(request, "many"))

        button(start.click, _with_request(run, 1 + len(choice.inputs)), [drop, *choice.inputs], shown)
        button(stop.click, cancel, None, None)

    async def _restore(self, path: str | None, fields: dict[str, Any], place: _Place) -> AsyncIterator[_State]:
        """States of the page while one picture is restored."""
        if not path:
            yield _State(trouble("Drop a picture first."))
            return
        try:
            run = _Run(make_wish(fields), files=[Path(path)])
            job = self._submit(Path(path), run, shown=True)
        except UndegradeError as error:
            yield _State(trouble(str(error)))
            return
        self._register(place, run)
        try:
            while not job.future.done():
                run.hold(self.limits.keep)
                yield _State(progress(job, self.desk), busy=True)
                await asyncio.sleep(TICK)
            answer = job.future.result()
        finally:
            self._forget(place, run)
        if answer.status != "done" or answer.path is None:
            yield _State(trouble(sentence(answer)))
            return
        target = answer.path.rename(answer.path.with_name(_target_name(path, answer.path)))
        yield _State(told(answer), slider=answer.shown, download=target)

    async def _restore_all(self, paths: Sequence[str], fields: dict[str, Any], place: _Place) -> AsyncIterator[_State]:
        """States of the page while many pictures are restored, one after the other."""
        try:
            if not 0 < len(paths) <= self.limits.batch:
                raise UsageError(f"{len(paths)} pictures: drop 1 to {self.limits.batch}")
            run = _Run(make_wish(fields))
        except UndegradeError as error:
            yield _State(trouble(str(error)))
            return
        self._register(place, run)
        run.files += map(Path, paths)
        start, done, lines, archive = time.monotonic(), list[tuple[str, Path]](), list[str](), None
        try:
            for number, path in enumerate(paths):
                job = None
                while job is None and not run.stopped:
                    try:
                        job = self._submit(Path(path), run)
                    except BusyError:  # others are before us: our turn will come
                        run.hold(self.limits.keep)
                        yield _State(bar(number / len(paths), "Waiting for a place in the queue"), busy=True)
                        await asyncio.sleep(3 * TICK)
                while job is not None and not job.future.done():
                    share = (number + job.share) / len(paths)
                    run.hold(self.limits.keep)
                    yield _State(batch_progress(number, len(paths), Path(path).name, share, start, lines), busy=True)
                    await asyncio.sleep(TICK)
                if run.stopped or job is None:
                    lines.append(f"Cancelled; {len(paths) - number} pictures were not restored.")
                    break
                answer = job.future.result()
                if answer.status == "done" and answer.path is not None:
                    done.append((_target_name(path, answer.path), answer.path))
                    run.files.append(answer.path)
                else:
                    lines.append(f"{Path(path).name}: {answer.error.removeprefix(ITS_PICTURE)}")
            archive = await asyncio.to_thread(_zipped, done, self.folder) if done else None
        except OSError as error:
            lines.append(f"The zip file cannot be written ({error.strerror}).")
        finally:
            self._forget(place, run)
        text = f"<b>{len(done)} of {len(paths)} pictures restored</b> in {seconds(time.monotonic() - start)}"
        yield _State(f"<div class='ud-card' role='status'>{text}{listed(lines)}</div>", download=archive)

    def _submit(self, source: Path, run: _Run, shown: bool = False) -> Job:
        order = Order(source, self.folder, run.wish.for_load(), run.wish.keep_format, self.limits.pixels, shown)
        try:
            order = replace(order, output=Path(tempfile.mkdtemp(dir=self.folder)))
        except OSError as error:
            run.job = Job(order)
            run.job.answer(Answer("broken", f"no folder for the result can be made ({error.strerror or error})"))
            return run.job
        try:
            run.job = self.desk.submit(order)
        except BusyError:
            shutil.rmtree(order.output, ignore_errors=True)
            raise
        return run.job

    def _register(self, place: _Place, run: _Run) -> None:
        self._cancel(place)
        self.jobs[place] = run

    def _forget(self, place: _Place, run: _Run) -> None:
        run.stop(self.desk)  # does nothing to what is done
        if self.jobs.get(place) is run:
            del self.jobs[place]


@dataclass
class _Run:
    """What one visitor has under way."""

    wish: Wish
    job: Job | None = None
    stopped: bool = False
    files: list[Path] = field(default_factory=list)
    held: float = field(default_factory=time.monotonic)

    def hold(self, keep: float) -> None:
        """Makes the files that are still needed young again, lest they be deleted after ``keep`` seconds."""
        if time.monotonic() - self.held > keep / 10:
            self.held = time.monotonic()
            for file in self.files:
                with suppress(OSError):
                    os.utime(file)

    def stop(self, desk: Desk) -> None:
        self.stopped = True
        if self.job is not None and not self.job.future.done():
            desk.cancel(self.job)


@dataclass(frozen=True)
class _State:
    """What the right side of the page shows."""

    status: str
    slider: tuple[Path, Path] | None = None
    download: Path | None = None
    busy: bool = False

    def updates(self) -> tuple[Any, ...]:
        """For status, slider, download, start and stop."""
        slider = None if self.slider is None else tuple(map(str, self.slider))
        file = None if self.download is None else str(self.download)
        return (
            self.status,
            gr.update(value=slider, visible=slider is not None),
            gr.update(value=file, visible=file is not None),
            gr.update(visible=not self.busy),
            gr.update(visible=self.busy),
        )


def _place(request: gr.Request, tab: str) -> _Place:
    return str(request.session_hash), tab


def _with_request(function: Any, count: int) -> Any:
    """``function`` in the form from which gradio reads that it wants the request, after ``count`` values."""

    async def called(*values: Any) -> AsyncIterator[Update]:
        *given, request = values
        async for update in function(*given, request=request):
            yield update

    kinds = [inspect.Parameter(f"value{i}", inspect.Parameter.POSITIONAL_OR_KEYWORD) for i in range(count)]
    wanted = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request)
    called.__signature__ = inspect.Signature([*kinds, wanted])  # type: ignore[attr-defined]
    called.__annotations__ = {"request": gr.Request}
    return called


def _kinds() -> list[str]:
    return sorted(SUFFIXES)


def _target_name(source: str, target: Path) -> str:
    return f"{Path(source).stem[:100]}.restored{target.suffix}"


def _zipped(files: Sequence[tuple[str, Path]], folder: Path) -> Path:
    path = Path(tempfile.mkdtemp(dir=folder)) / "restored.zip"
    taken = set[str]()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # pictures are compressed already
        for name, file in files:
            own, number = name, 1
            while own.lower() in taken:
                number += 1
                own = f"{number}.{name}"
            taken.add(own.lower())
            archive.write(file, own)
            file.unlink()
    return path
