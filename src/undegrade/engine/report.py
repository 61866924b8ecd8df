"""Pictures of a training run and of scores, for looking instead of reading; needs the extra ``report`` (matplotlib).

A run's folder gives training curves and, with pictures to try, a sheet of clean, spoilt and restored ones. Files that
``undegrade evaluate --json`` wrote give a chart of gain against time. Everything is joined in one HTML page that
needs nothing else.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from undegrade.core.errors import InputError, MissingExtraError, UsageError, one_line
from undegrade.core.names import Paths, several
from undegrade.core.replacing import replacing
from undegrade.weights import store

__all__ = ["report"]

FORMATS = ("png", "svg")
SMOOTHING = 40
"""Points that the curve of a loss has at most; each is the mean of its share of the log."""
COLUMNS = 3
SHEET_ROWS = 6


@dataclass(frozen=True)
class _Run:
    """What a run's folder tells."""

    folder: Path
    name: str
    recipe: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    @property
    def weights(self) -> Path | None:
        """The packed weights, else the last checkpoint."""
        packed = sorted(self.folder.glob("*.safetensors"))
        return next((path for path in [*packed, self.folder / "last.pt"] if path.exists()), None)


def report(
    sources: Paths,
    output: str | Path | None = None,
    *,
    pictures: Paths = (),
    device: str = "auto",
) -> list[Path]:
    """Draw runs and scores.

    Args:
        sources: one or many of: folders of runs or a folder above them, JSON files of evaluations, folders of these.
        output: folder to write to; default: ``report`` in the first source (beside it, if that is a file).
        pictures: clean pictures or folders; the runs' weights are tried on spoilt versions of them.
        device: for that.

    Returns:
        The files written, the HTML page last.

    Raises:
        UsageError: no source.
        InputError: a source is neither a run nor holds scores.
        MissingExtraError: matplotlib is not installed.
    """
    plt = _matplotlib()
    sources, pictures = several(sources), several(pictures)
    if not sources:
        raise UsageError("nothing to draw: give the folder of a run, or a file of evaluate --json")
    runs, scores = _sorted(sources)
    first = Path(sources[0])
    folder = Path(output) if output is not None else (first if first.is_dir() else first.parent) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    sections: list[tuple[str, Path]] = []
    with plt.rc_context({"svg.hashsalt": "undegrade", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        figures = []
        if runs:
            figures.append(("Training", "curves", _curves(plt, runs)))
        if scores:
            figures.append(("Gain against time", "scores", _chart(plt, scores)))
        for title, stem, figure in figures:
            for suffix in FORMATS:
                metadata = {"Date": None} if suffix == "svg" else {}
                path = folder / f"{stem}.{suffix}"
                with replacing(path) as part:
                    figure.savefig(part, dpi=120, metadata=metadata, format=suffix)
                written.append(path)
            plt.close(figure)
            sections.append((title, folder / f"{stem}.svg"))
    tried = [run for run in runs if run.weights is not None] if pictures else []
    if pictures and runs and not tried:
        raise InputError(f"{runs[0].folder}: holds no weights yet")
    for run in tried:
        path = folder / f"{run.name}.sheet.png"
        sheet = _sheet(run, pictures, device)
        with replacing(path) as part:
            sheet.save(part, format="PNG")
        written.append(path)
        sections.append((f"{run.name}: clean, spoilt, restored", path))
    page = folder / "report.html"
    with replacing(page) as part:
        part.write_text(_page(runs, sections), encoding="utf-8")
    return [*written, page]


def _sorted(sources: Sequence[str | Path]) -> tuple[list[_Run], list[Mapping[str, Any]]]:
    runs: list[_Run] = []
    scores: list[Mapping[str, Any]] = []
    for source in map(Path, sources):
        own = (source / "log.jsonl").is_file()
        logs = [source / "log.jsonl"] if own else sorted(source.glob("*/log.jsonl"))
        runs += [_run(log.parent, {run.name for run in runs}) for log in logs]
        files = [] if own else sorted(source.glob("*.json")) if source.is_dir() else [source]
        found = [entry for file in files if (entry := _score(file)) is not None]
        if not (logs or found):
            raise InputError(
                f"{source}: neither the folder of a run (log.jsonl) or of runs, nor scores of weights (evaluate "
                "--json; those of untouched inputs have no gain to draw)"
            )
        scores += found
    return runs, scores


def _run(folder: Path, taken: Collection[str]) -> _Run:
    """The run in a folder, called by the end of its path that tells it from those before."""
    parts = folder.absolute().parts
    names = ("-".join(parts[-length:]) for length in range(1, len(parts)))
    name = next((name for name in names if name not in taken), str(folder))
    recipe, log = folder / "recipe.yaml", folder / "log.jsonl"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):  # cut off by a kill
        lines.pop()
    events = tuple(_event(folder, line) for line in lines if line.strip())
    return _Run(folder, name, _recipe(recipe) if recipe.exists() else {}, events)


def _recipe(path: Path) -> Mapping[str, Any]:
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({one_line(error)})") from error
    return said if isinstance(said, dict) else {}


def _event(source: Path, line: str) -> Mapping[str, Any]:
    with suppress(json.JSONDecodeError):
        event = json.loads(line)
        if isinstance(event, dict) and {"event", "step"} <= event.keys():
            drawn = ("step", "loss", "lr", "mpx_per_s") if event["event"] == "train" else ("step",)
            if all(isinstance(event.get(name), int | float) for name in drawn):
                return event
    raise InputError(f"{source / 'log.jsonl'}: damaged line {line.strip()[:40]!r}")


def _score(path: Path) -> Mapping[str, Any] | None:
    """One evaluation, or None for any other JSON file and for tests without a gain."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file or folder")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    if not isinstance(content, dict) or not all(isinstance(content.get(name), str) for name in ("task", "weights")):
        return None
    mean = content.get("mean")
    if not isinstance(mean, dict):
        return None
    if not all(isinstance(mean.get(figure), int | float) for figure in ("psnr", "input_psnr", "seconds")):
        return None
    return content if mean["seconds"] and mean["input_psnr"] < 100 else None


def _curves(plt: Any, runs: Sequence[_Run]) -> Any:
    """Loss, validation and learning rate over the steps, a colour for each run."""
    figure, (loss, score, rate) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for run in runs:
        train, validation = run.of("train"), run.of("validation")
        (line,) = loss.plot(*_smoothed(train, "loss"), label=run.name)
        rate.plot([event["step"] for event in train], [event["lr"] for event in train], color=line.get_color())
        names = [name for name in (validation[-1] if validation else {}) if name not in ("event", "step", "time")]
        for name in names:
            points = [(event["step"], event[name]) for event in validation if name in event]
            main = name == "mean" or len(names) == 1
            score.plot(
                *zip(*points, strict=True),
                color=line.get_color(),
                alpha=1 if main else 0.35,
                marker="o" if len(points) < 3 else None,
            )
            score.annotate(name, points[-1], fontsize=7, xytext=(3, 0), textcoords="offset points")
    for axes, title in ((loss, "loss"), (score, "validation, PSNR in dB"), (rate, "learning rate")):
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.ticklabel_format(axis="x", scilimits=(-3, 4))
        axes.margins(x=0.12)
    loss.legend()
    return figure


def _smoothed(events: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    share = max(1, len(events) // SMOOTHING)
    parts = [events[start : start + share] for start in range(0, len(events), share)]
    return [fmean(one["step"] for one in part) for part in parts], [fmean(one[key] for one in part) for part in parts]


def _chart(plt: Any, scores: Sequence[Mapping[str, Any]]) -> Any:
    """One field per task: gain over the input against seconds per picture, a mark for each test.

    Weights that are at hand are dots, everything else (other programs, methods, networks) is crosses.
    """
    ours = set(store.entries())
    ordered = sorted(scores, key=lambda score: (score["task"], score["weights"] not in ours, score["weights"]))
    tasks = [(task, list(group)) for task, group in groupby(ordered, key=lambda score: score["task"])]
    columns = min(COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)
    figure, fields = plt.subplots(
        rows, columns, figsize=(4.4 * columns, 3.4 * rows), squeeze=False, layout="constrained"
    )
    for axes in fields.flat[len(tasks) :]:
        axes.axis("off")
    for axes, (task, group) in zip(fields.flat, tasks, strict=False):
        for weights, tests in groupby(group, key=lambda score: score["weights"]):
            marker = "o" if weights in ours else "x"
            axes.scatter(*zip(*map(_place, tests), strict=True), label=weights, s=18, marker=marker, linewidth=1)
        axes.set_title(task.replace("_", " "))
        axes.set_xscale("log")
        seconds = [_place(test)[0] for test in group]
        axes.set_xlim(min(seconds) / 2, max(seconds) * 6)  # room for the names
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.margins(y=0.15)
        _name_points(axes, group)
        axes.set_xlabel("seconds per picture")
        axes.set_ylabel("gain in PSNR, dB")
        axes.legend(fontsize=7)
    return figure


def _place(test: Mapping[str, Any]) -> tuple[float, float]:
    mean = test["mean"]
    return mean["seconds"], mean["psnr"] - mean["input_psnr"]


def _name_points(axes: Any, tests: Sequence[Mapping[str, Any]]) -> None:
    """Names beside the points, but for those that would cover a name."""
    low, high = axes.get_ylim()
    named: list[float] = []
    for test in sorted(tests, key=lambda test: _place(test)[1]):
        place = _place(test)
        if all(abs(place[1] - other) > 0.035 * (high - low) for other in named):
            axes.annotate(_label(test), place, fontsize=6, xytext=(4, -2), textcoords="offset points")
            named.append(place[1])


def _label(test: Mapping[str, Any]) -> str:
    strength = ", ".join(f"{name} {value}" for name, value in test.get("strength", {}).items())
    return f"{test.get('set', '')}{', ' if strength else ''}{strength}"


def _sheet(run: _Run, pictures: Sequence[str | Path], device: str) -> Any:
    """Rows of clean, spoilt and restored pictures."""
    import torch
    from PIL import Image

    from undegrade import tasks
    from undegrade.core.image import load_rgb
    from undegrade.engine.degrade import degrade, pictures_of
    from undegrade.engine.recipe import located
    from undegrade.inference.load import load

    assert run.weights is not None
    task = tasks.get(str(run.recipe.get("task")))
    restorer = load(run.weights, task=task.name, device=device)
    data = Path(str(run.recipe.get("data", "data")))
    strengths = [located(strength, data) for strength in run.recipe.get("validate_at") or [{}]]
    rows = []
    for number, file in enumerate(pictures_of(pictures)[:SHEET_ROWS]):
        clean = Image.fromarray(_eight_bits(load_rgb(file)))
        clean.thumbnail((384, 384))
        width, height = (side // 12 * 12 or side for side in clean.size)
        clean = clean.crop((0, 0, width, height))
        with torch.random.fork_rng(devices=[]):
            spoilt = degrade(clean, task.name, seed=number, **strengths[number % len(strengths)])
        rows.append([clean, spoilt, restorer(spoilt)])
    if not rows:
        raise InputError(f"{', '.join(map(str, pictures))}: no picture to try the weights on")
    width, height = (max(row[0].size[axis] for row in rows) for axis in (0, 1))
    sheet = Image.new("RGB", (3 * (width + 4), len(rows) * (height + 4)), "white")
    for index, row in enumerate(rows):
        for column, picture in enumerate(row):
            shown = picture.convert("RGB").resize(row[0].size, Image.Resampling.NEAREST)
            sheet.paste(shown, (column * (width + 4), index * (height + 4)))
    return sheet


def _eight_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples of 8 or 16 bits as those of 8."""
    return (samples // 257).astype(np.uint8) if samples.dtype == np.uint16 else samples


def _page(runs: Sequence[_Run], sections: Sequence[tuple[str, Path]]) -> str:
    body = "".join(f"<h2>{html.escape(title)}</h2>{_embedded(path)}" for title, path in sections)
    return (
        "<!doctype html><meta charset='utf-8'><title>undegrade report</title>"
        "<style>body{font:15px system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
        "img{max-width:100%}td{padding:.1em 1em .1em 0;vertical-align:top}</style>"
        f"<h1>Report</h1>{''.join(_facts(run) for run in runs)}{body}\n"
    )


def _facts(run: _Run) -> str:
    """A run in numbers."""
    rows = dict(_numbers(run))
    cells = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<h2>{html.escape(run.name)}</h2><table>{cells}</table>"


def _numbers(run: _Run) -> Iterator[tuple[str, str]]:
    for key in ("task", "network", "preset", "optimiser", "lr", "loss", "precision"):
        if key in run.recipe:
            yield key, str(run.recipe[key])
    train, validation = run.of("train"), run.of("validation")
    if train:
        yield "steps", f"{train[-1]['step']} of {run.recipe.get('steps', '?')}"
        yield "speed", f"{fmean(event['mpx_per_s'] for event in train):.3g} megapixels per second"
    if validation:
        best = max(validation, key=lambda event: event.get("mean", 0.0))
        yield "best validation", f"{best.get('mean', float('nan')):.2f} dB at step {best['step']}"


def _embedded(path: Path) -> str:
    kind = "image/svg+xml" if path.suffix == ".svg" else "image/png"
    return (
        f"<img alt='{html.escape(path.stem)}' src='data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}'>"
    )


def _matplotlib() -> Any:
    try:
        import matplotlib

        matplotlib.use("agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("report", "report") from error
    return plt
