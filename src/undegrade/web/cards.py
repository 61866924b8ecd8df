"""What the right side of a page says: cards of HTML for what goes on, what was done and what went wrong."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence

from undegrade.web.desk import Desk, Job
from undegrade.web.known import plain
from undegrade.web.worker import Answer

__all__ = ["bar", "batch_progress", "hint", "listed", "progress", "seconds", "sentence", "told", "trouble"]


def hint(text: str = "Drop a picture and press the button. The result appears here.") -> str:
    """What to do, before anything was done."""
    return f"<div class='ud-card ud-hint'>{text}</div>"


def trouble(text: str) -> str:
    """What went wrong; read aloud by screen readers."""
    return f"<div class='ud-card ud-trouble' role='alert'>{html.escape(text[:1].upper() + text[1:])}</div>"


def bar(share: float | None, text: str, more: str = "") -> str:
    """How far work has come, 0..1, or None where that is not known; ``text`` is escaped, ``more`` is HTML."""
    width = "" if share is None else f" style='width:{100 * share:.0f}%'"
    kind = "ud-bar ud-unknown" if share is None else "ud-bar"
    drawn = f"<div class='{kind}'><div{width}></div></div>"
    return f"<div class='ud-card' role='status'>{html.escape(text)}{drawn}{more}</div>"


def progress(job: Job, desk: Desk) -> str:
    """How far one picture has come."""
    if job.begun is None:
        before = desk.place(job)
        return bar(None, f"Waiting: {before} before you" if before else "Starting")
    left, spent = job.left(), seconds(time.monotonic() - job.begun)
    if left is None:
        return bar(None, f"Working, {spent} so far")
    if job.share >= 1:
        return bar(1, "Writing the result")
    return bar(job.share, f"{100 * job.share:.0f} %, about {seconds(left)} left")


def batch_progress(number: int, count: int, name: str, share: float, start: float, lines: Sequence[str]) -> str:
    """How far many pictures have come: which is worked on, the share done, when it began, and what failed so far."""
    left = ""
    if share > 0:
        left = f", about {seconds((time.monotonic() - start) * (1 - share) / share)} left"
    return bar(share, f"{number + 1} of {count}: {name}{left}", listed(lines))


def listed(lines: Sequence[str]) -> str:
    """A list of what failed; nothing where nothing did."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul class='ud-failed'>{items}</ul>" if items else ""


def told(answer: Answer) -> str:
    """What was found and done, in words for people; read aloud by screen readers."""
    found = [report["auto"] for report in answer.reports if "auto" in report]
    lines = []
    if found:
        parts = [
            plain(one["task"]) + "".join(f" ({name} {value:g})" for name, value in one["parameters"].items())
            for one in found[0]["found"]
        ]
        lines.append(f"<b>Found:</b> {', '.join(parts)}" if parts else "<b>Found nothing wrong</b> with this picture.")
    height, width = answer.size or (0, 0)
    done = f"<b>Done</b> in {seconds(answer.seconds)}, {width} × {height} pixels"
    lines.append(done + (f", with {html.escape(', '.join(answer.weights))}" if answer.weights else ""))
    lines += [html.escape(note) for note in answer.notes]
    if answer.shown:
        lines.append("<span class='ud-limits'>Drag the line to compare; zoom with the wheel or two fingers.</span>")
    return f"<div class='ud-card' role='status'>{'<br>'.join(lines)}</div>"


def sentence(answer: Answer) -> str:
    """Why there is no result."""
    return "Cancelled." if answer.status == "stopped" else answer.error


def seconds(value: float) -> str:
    """A time in the unit that people would say it in."""
    value = round(value, 1) if value < 10 else round(value)
    if value < 60:
        return f"{value:g} s"
    return f"{int(value) // 60} min {int(value) % 60:02d} s" if value < 3600 else f"{value / 3600:.1f} h"
