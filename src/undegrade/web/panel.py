"""The working part of a page: drop pictures, choose, press the button, compare, download."""

from __future__ import annotations

import asyncio
import html
import inspect
import shutil
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from undegrade.core.errors import UndegradeError, UsageError
from undegrade.core.formats import SUFFIXES
from undegrade.web.desk import BusyError, Desk, Job
from undegrade.web.known import offered, plain, weights
from undegrade.web.limits import Limits
from undegrade.web.wish import Wish, default_task, make_wish
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
                choice = _Choice(task)
                start = gr.Button("Restore", variant="primary", size="lg", elem_classes="ud-start")
                stop = gr.Button("Cancel", visible=False, elem_classes="ud-stop")
            with gr.Column(scale=6, min_width=300):
                status = gr.Markdown(_hint(), elem_classes="ud-status")
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

        _button(start.click, _with_request(run, 1 + len(choice.inputs)), [drop, *choice.inputs], shown)
        _button(stop.click, cancel, None, None)
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
                choice = _Choice(task)
                start = gr.Button("Restore all", variant="primary", size="lg", elem_classes="ud-start-many")
                stop = gr.Button("Cancel", visible=False, elem_classes="ud-stop-many")
            with gr.Column(scale=6, min_width=300):
                status = gr.Markdown(_hint("Drop pictures, press the button, get them back in one zip file."))
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

        _button(start.click, _with_request(run, 1 + len(choice.inputs)), [drop, *choice.inputs], shown)
        _button(stop.click, cancel, None, None)

    async def _restore(self, path: str | None, fields: dict[str, Any], place: _Place) -> AsyncIterator[_State]:
        """States of the page while one picture is restored."""
        if not path:
            yield _State(_trouble("Drop a picture first."))
            return
        try:
            run = _Run(make_wish(fields))
            job = self._submit(Path(path), run, shown=True)
        except UndegradeError as error:
            yield _State(_trouble(str(error)))
            return
        self._register(place, run)
        try:
            while not job.future.done():
                yield _State(_progress(job, self.desk), busy=True)
                await asyncio.sleep(TICK)
            answer = job.future.result()
        finally:
            self._forget(place, run)
        if answer.status != "done" or answer.path is None:
            yield _State(_trouble(_sentence(answer)))
            return
        target = answer.path.rename(answer.path.with_name(_target_name(path, answer.path)))
        yield _State(_told(answer), slider=answer.shown, download=target)

    async def _restore_all(self, paths: Sequence[str], fields: dict[str, Any], place: _Place) -> AsyncIterator[_State]:
        """States of the page while many pictures are restored, one after the other."""
        try:
            if not 0 < len(paths) <= self.limits.batch:
                raise UsageError(f"{len(paths)} pictures: drop 1 to {self.limits.batch}")
            run = _Run(make_wish(fields))
        except UndegradeError as error:
            yield _State(_trouble(str(error)))
            return
        self._register(place, run)
        start, done, lines = time.monotonic(), list[tuple[str, Path]](), list[str]()
        try:
            for number, path in enumerate(paths):
                job = None
                while job is None and not run.stopped:
                    try:
                        job = self._submit(Path(path), run)
                    except BusyError:  # others are before us: our turn will come
                        yield _State(_bar(number / len(paths), "Waiting for a place in the queue"), busy=True)
                        await asyncio.sleep(3 * TICK)
                while job is not None and not job.future.done():
                    share = (number + job.share) / len(paths)
                    yield _State(_batch_progress(number, len(paths), Path(path).name, share, start, lines), busy=True)
                    await asyncio.sleep(TICK)
                if run.stopped or job is None:
                    lines.append(f"Cancelled; {len(paths) - number} pictures were not restored.")
                    break
                answer = job.future.result()
                if answer.status == "done" and answer.path is not None:
                    done.append((_target_name(path, answer.path), answer.path))
                else:
                    lines.append(f"{Path(path).name}: {answer.error}")
            archive = await asyncio.to_thread(_zipped, done, self.folder) if done else None
        finally:
            self._forget(place, run)
        text = f"<b>{len(done)} of {len(paths)} pictures restored</b> in {_seconds(time.monotonic() - start)}"
        yield _State(f"<div class='ud-card'>{text}{_list(lines)}</div>", download=archive)

    def _submit(self, source: Path, run: _Run, shown: bool = False) -> Job:
        output = Path(tempfile.mkdtemp(dir=self.folder))
        order = Order(source, output, run.wish.for_load(), run.wish.keep_format, self.limits.pixels, shown)
        try:
            run.job = self.desk.submit(order)
        except BusyError:
            shutil.rmtree(output, ignore_errors=True)
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


class _Choice:
    """The controls of a wish, made from the catalogue of tasks."""

    def __init__(self, task: str | None) -> None:
        rows = offered()
        self.fixed = task
        first = task or default_task()
        self.inputs: list[Any] = []
        self.names: list[str] = []
        if task is None:
            titles = [(plain(row["name"]), row["name"]) for row in rows]
            self._add("task", gr.Dropdown(titles, value=first, label="What to take away", filterable=False))
        self._add("strength", gr.Slider(0, 1, value=1, step=0.05, label="Strength"))
        self.of_task = {row["name"]: [one["name"] for one in row["parameters"]] for row in rows}
        self.rules = {one["name"]: one for row in rows for one in row["parameters"]}
        with gr.Accordion("More", open=False):
            for name, rule in self.rules.items():
                self._add(name, _control(rule, name in self.of_task[first]))
            those = gr.Dropdown(_weights(first), value="", label="Weights", filterable=False)
            self._add("weights", those)
            best = gr.Checkbox(label="Best quality: averages eight turned copies, eight times as slow")
            self._add("ensemble", best)
            self._add("keep_format", gr.Checkbox(label="Keep the file's format instead of PNG"))
        named = [self.inputs[self.names.index(name)] for name in self.rules]
        _button(those.input, self._asked_by, those, named)
        for name, control in zip(self.rules, named, strict=True):
            if self.rules[name]["choices"]:
                _button(control.input, partial(_still_fitting, name), [those, control], those)
        if task is None:

            def chosen(name: str) -> list[Any]:
                own = [self._parameter(one, name) for one in self.rules]
                return [gr.update(choices=_weights(name), value=""), *own]

            _button(self.inputs[0].change, chosen, self.inputs[0], [those, *named])

    def _add(self, name: str, component: Any) -> None:
        self.names.append(name)
        self.inputs.append(component)

    def _parameter(self, name: str, task: str) -> Any:
        return gr.update(visible=name in self.of_task[task], value=self.rules[name]["default"])

    def _asked_by(self, name: str) -> list[Any]:
        """The parameters that weights leave no choice of, such as the scale."""
        own = _fixed(name)
        return [gr.update(value=own[one]) if one in own else gr.skip() for one in self.rules]

    def fields(self, values: Sequence[Any]) -> dict[str, Any]:
        """The controls' values as fields of a wish."""
        found = dict(zip(self.names, values, strict=True))
        if self.fixed is not None:
            found["task"] = self.fixed
        found["ensemble"] = 8 if found["ensemble"] else 1
        hidden = set(self.rules) - set(self.of_task[found["task"]])
        return {name: value for name, value in found.items() if value is not None and name not in hidden}


def _control(rule: dict[str, Any], visible: bool) -> Any:
    name, text = rule["name"].capitalize(), rule["help"][:1].upper() + rule["help"][1:]
    if rule["choices"]:
        return gr.Radio(rule["choices"], value=rule["default"], label=name, info=text, visible=visible)
    info = f"{text}; empty: judged by itself" if rule["auto"] else text
    low, high = rule["low"], rule["high"]
    return gr.Number(label=name, info=info, minimum=low, maximum=high, value=rule["default"], visible=visible)


def _weights(task: str) -> list[tuple[str, str]]:
    return [("The usual for this", ""), *((row["name"], row["name"]) for row in weights(task))]


def _fixed(name: str) -> dict[str, Any]:
    """The parameters of which weights know one value."""
    own: dict[str, Any] = next((row["parameters"] for row in weights() if row["name"] == name), {})
    return {one: value for one, value in own.items() if not isinstance(value, dict | list | tuple)}


def _still_fitting(parameter: str, name: str, value: Any) -> Any:
    """The weights, or the usual ones where those that were chosen do not do what is asked for now."""
    return gr.skip() if _fixed(name).get(parameter, value) == value else gr.update(value="")


def _place(request: gr.Request, tab: str) -> _Place:
    return str(request.session_hash), tab


def _button(event: Any, function: Any, inputs: Any, outputs: Any) -> None:
    """Binds a control; nothing of it appears in gradio's own API, the documented one is beside it."""
    event(
        function,
        inputs,
        outputs,
        show_progress="hidden",
        concurrency_limit=None,
        api_visibility="private",
    )


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


def _hint(text: str = "Drop a picture and press the button. The result appears here.") -> str:
    return f"<div class='ud-card ud-hint'>{text}</div>"


def _trouble(text: str) -> str:
    return f"<div class='ud-card ud-trouble' role='alert'>{html.escape(text[:1].upper() + text[1:])}</div>"


def _bar(share: float | None, text: str, more: str = "") -> str:
    width = "" if share is None else f" style='width:{100 * share:.0f}%'"
    kind = "ud-bar ud-unknown" if share is None else "ud-bar"
    bar = f"<div class='{kind}'><div{width}></div></div>"
    return f"<div class='ud-card' role='status'>{html.escape(text)}{bar}{more}</div>"


def _progress(job: Job, desk: Desk) -> str:
    if job.begun is None:
        before = desk.place(job)
        return _bar(None, f"Waiting: {before} before you" if before else "Starting")
    left, spent = job.left(), _seconds(time.monotonic() - job.begun)
    if left is None:
        return _bar(None, f"Working, {spent} so far")
    if job.share >= 1:
        return _bar(1, "Writing the result")
    return _bar(job.share, f"{100 * job.share:.0f} %, about {_seconds(left)} left")


def _batch_progress(number: int, count: int, name: str, share: float, start: float, lines: Sequence[str]) -> str:
    left = ""
    if share > 0:
        left = f", about {_seconds((time.monotonic() - start) * (1 - share) / share)} left"
    return _bar(share, f"{number + 1} of {count}: {name}{left}", _list(lines))


def _list(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul class='ud-failed'>{items}</ul>" if items else ""


def _told(answer: Answer) -> str:
    """What was found and done, in words for people."""
    found = [report["auto"] for report in answer.reports if "auto" in report]
    lines = []
    if found:
        parts = [
            plain(one["task"]) + "".join(f" ({name} {value:g})" for name, value in one["parameters"].items())
            for one in found[0]["found"]
        ]
        lines.append(f"<b>Found:</b> {', '.join(parts)}" if parts else "<b>Found nothing wrong</b> with this picture.")
    info = answer.info or {}
    used = [str(one["weights"]) for one in info.get("chain", [info]) if one.get("weights")]
    if found:
        used = [str(one["weights"]) for one in found[0].get("done", [])]
    height, width = answer.size or (0, 0)
    done = f"<b>Done</b> in {_seconds(answer.seconds)}, {width} × {height} pixels"
    lines.append(done + (f", with {html.escape(', '.join(used))}" if used else ""))
    lines += [html.escape(note) for note in answer.notes]
    lines.append("<span class='ud-limits'>Drag the line to compare; zoom with the wheel or two fingers.</span>")
    return f"<div class='ud-card'>{'<br>'.join(lines)}</div>"


def _sentence(answer: Answer) -> str:
    return "Cancelled." if answer.status == "stopped" else answer.error


def _seconds(value: float) -> str:
    value = round(value, 1) if value < 10 else round(value)
    if value < 60:
        return f"{value:g} s"
    return f"{int(value) // 60} min {int(value) % 60:02d} s" if value < 3600 else f"{value / 3600:.1f} h"
