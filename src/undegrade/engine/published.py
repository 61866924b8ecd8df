"""Our figures set beside published ones, with a word on whether the two rulers are the same."""

from __future__ import annotations

from dataclasses import dataclass

from undegrade.data import layouts
from undegrade.engine.scores import EvalReport
from undegrade.metrics.published import beside

__all__ = ["Comparison", "published"]


@dataclass(frozen=True)
class Comparison:
    """One published table cut down to a test set and strength, with our row in it.

    Attributes:
        title, source: of the table.
        ruler: the table's protocol, and whether ours is another.
        rows: (method, PSNR, SSIM), best PSNR first; ours is called ``ours (...)``, the untouched input too.
        notes: what a reader must know before comparing.
    """

    title: str
    source: str
    ruler: str
    rows: tuple[tuple[str, float | None, float | None], ...]
    notes: tuple[str, ...]


def published(report: EvalReport) -> list[Comparison]:
    """Published tables for the report's task, test set and strength; none if the set is not a known one."""
    layout = layouts.find(report.set)
    if layout is None:
        return []
    mean, ours = report.mean, report.protocol["name"]
    scored, count = len(report.images), layout.tested
    made = f"{scored} pictures" if not count else f"{scored} of {count} pictures" if scored < count else "all pictures"
    own = [(f"ours ({report.weights}, {made})", mean["psnr"], mean["ssim"])]
    if report.weights != "none":
        own.append((f"our input ({made})", mean["input_psnr"], mean["input_ssim"]))
    comparisons = []
    for table, rows in beside(report.task, layout.name, report.strength):
        labelled = [(_label(row.method, row.strength, table.parameter), row.psnr, row.ssim) for row in rows]
        notes = list(table.notes)
        if scored < count:
            notes.append("Ours is a mean over part of the set: compare gains over the input, not absolute figures.")
        same = table.protocol == ours
        comparisons.append(
            Comparison(
                table.title,
                table.source,
                f"ruler {table.protocol}" + ("" if same else f", ours is {ours}"),
                tuple(sorted([*labelled, *own], key=lambda row: -(row[1] or 0.0))),
                tuple(notes),
            )
        )
    return comparisons


def _label(method: str, strength: int | str | None, parameter: str | None) -> str:
    return method if strength is None or parameter is None else f"{method}, {parameter} {strength}"
