"""Pictures and tables of the task pages: `python scripts/make_gallery.py [TASK ...]` (`make gallery` makes all).

Public photographs that scikit-image bundles are spoilt by our own models with a fixed seed, restored with the shipped
weights, and shown as strips spoilt | restored | clean in docs/images/tasks. PSNR (RGB, 8 bits, the whole picture) goes
into the block between two marker lines of docs/tasks/TASK.md, together with a table of the weights from their cards.
Without a task named, the chart of docs/charts.md is drawn too, from the scores in docs/scores.

Licences: astronaut, hubble_deep_field: NASA, public domain; rocket: SpaceX, CC0; chelsea, clock: S. van der Walt, CC0;
coffee: R. Michel, CC0; camera: L. Varshney, CC0; brick, grass: CC0Textures, CC0.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

import undegrade
from undegrade import api
from undegrade.core.image import read
from undegrade.metrics.psnr import psnr

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = DOCS / "images" / "tasks"
START, END = "<!-- gallery starts -->", "<!-- gallery ends -->"
WIDTH, HEIGHT, GAP = 240, 200, 4


@dataclass(frozen=True)
class Example:
    """One strip.

    Attributes:
        picture: name in skimage.data.
        left, top: of the window of 240 x 200 pixels that is shown.
        words: what was done to the picture.
        strength: for the task's degradation; None takes the photograph as it is (no clean one exists then).
        options: for the restoring call.
        hard: a case that is expected to fail or nearly so.
        first, then: degradations of other tasks before and after the task's own, which nothing takes away.
        sharp: whether the photograph itself is what the result should look like.
    """

    picture: str
    left: int
    top: int
    words: str
    strength: Mapping[str, Any] | None = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    hard: bool = False
    first: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    then: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sharp: bool = True


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "denoising": (
        Example("astronaut", 130, 20, "sigma 25", {"sigma": 25, "clipped": True}),
        Example("coffee", 200, 90, "sigma 50", {"sigma": 50, "clipped": True}),
        Example("camera", 150, 60, "grey, sigma 35", {"sigma": 35, "clipped": True}),
        Example(
            "chelsea",
            120,
            50,
            "sigma 25, then JPEG quality 30",
            {"sigma": 25, "clipped": True},
            then={"jpeg_artifacts": {"quality": 30}},
        ),
        Example("coffee", 60, 240, "grain of a camera, sigma 20", {"sigma": 20, "camera": 1.0}),
        Example("grass", 100, 100, "sigma 75 over fine texture", {"sigma": 75, "clipped": True}, hard=True),
    ),
    "jpeg_artifacts": (
        Example("chelsea", 120, 50, "quality 10", {"quality": 10}),
        Example("astronaut", 130, 20, "quality 20", {"quality": 20}),
        Example("camera", 150, 60, "grey, quality 10", {"quality": 10}),
        Example("coffee", 200, 90, "quality 3", {"quality": 3}, hard=True),
    ),
    "super_resolution": (
        Example("astronaut", 130, 20, "2 times", {"scale": 2}, {"scale": 2}),
        Example("chelsea", 120, 50, "3 times", {"scale": 3}, {"scale": 3}),
        Example("coffee", 200, 90, "4 times", {"scale": 4}, {"scale": 4}),
        Example(
            "astronaut",
            130,
            20,
            "2 times, saved as JPEG of quality 75 while it was small",
            {"scale": 2},
            {"scale": 2},
            then={"jpeg_artifacts": {"quality": 75}},
        ),
        Example("gravel", 100, 100, "4 times, fine texture", {"scale": 4}, {"scale": 4}, hard=True),
        Example(
            "astronaut",
            130,
            20,
            "2 times, saved as JPEG of quality 30 while it was small",
            {"scale": 2},
            {"scale": 2},
            hard=True,
            then={"jpeg_artifacts": {"quality": 30}},
        ),
    ),
    "demosaicing": (
        Example("astronaut", 130, 20, "RGGB", {"pattern": "RGGB"}, {"pattern": "RGGB"}),
        Example("coffee", 200, 90, "GRBG", {"pattern": "GRBG"}, {"pattern": "GRBG"}),
        Example(
            "chelsea",
            120,
            50,
            "a mosaic with noise of sigma 15: the network keeps the noise",
            {"pattern": "RGGB"},
            {"pattern": "RGGB"},
            hard=True,
            first={"denoising": {"sigma": 15, "clipped": True}},
        ),
    ),
    "deraining": (
        Example("coffee", 200, 90, "light rain", {"heavy": 0.0, "model": "additive"}),
        Example("astronaut", 130, 20, "heavy rain", {"heavy": 1.0, "model": "additive"}),
        Example("chelsea", 120, 50, "heavy rain in mist", {"heavy": 1.0, "model": "mist"}, hard=True),
    ),
    "dehazing": (
        Example("rocket", 220, 110, "light haze", {"transmission": 0.65, "airlight": 0.9}, hard=True),
        Example("astronaut", 130, 20, "medium haze", {"transmission": 0.5, "airlight": 0.9}),
        Example("coffee", 200, 90, "dense haze", {"transmission": 0.2, "airlight": 0.95}, hard=True),
        Example("chelsea", 120, 50, "no haze at all; it should stay as it is", None),
    ),
    "desnowing": (
        Example("coffee", 200, 90, "light snow", {"density": 0.7, "veil": 0.0}),
        Example("astronaut", 130, 20, "snow", {"density": 1.5, "veil": 0.0}),
        Example("chelsea", 120, 50, "dense snow and a veil", {"density": 3.0, "veil": 1.0}, hard=True),
    ),
    "motion_deblurring": (
        Example("astronaut", 130, 20, "a path of 8 pixels", {"length": 8, "steady": 1.0, "foreground": 0.0}),
        Example("coffee", 200, 90, "a path of 15 pixels", {"length": 15, "steady": 1.0, "foreground": 0.0}),
        Example("chelsea", 120, 50, "a path of 35 pixels", {"length": 35, "steady": 1.0, "foreground": 0.0}, hard=True),
        Example(
            "clock", 20, 40, "a real photograph of a moving clock; there is no sharp one", None, hard=True, sharp=False
        ),
    ),
    "defocus_deblurring": (
        Example("astronaut", 130, 20, "radius 2", {"radius": 2.0, "level": 1.0}),
        Example("coffee", 200, 90, "radius 4", {"radius": 4.0, "level": 1.0}),
        Example("chelsea", 120, 50, "radius 10", {"radius": 10.0, "level": 1.0}, hard=True),
    ),
}


@dataclass(frozen=True)
class Strip:
    """A row as it was made: the shown windows, and PSNR before and after in dB (None without a clean picture)."""

    image: Image.Image
    before: float | None
    after: float | None


def make(task: str, example: Example) -> Strip:
    """Spoils, restores and cuts one example."""
    clean = Image.fromarray(getattr(skimage.data, example.picture)())
    width, height = (side // 12 * 12 for side in clean.size)
    clean = clean.crop((0, 0, width, height))
    own = {} if example.strength is None else {task: example.strength}
    spoilt = clean
    for name, strength in [*example.first.items(), *own.items(), *example.then.items()]:
        spoilt = undegrade.degrade(spoilt, name, seed=1, **strength)
    restored = undegrade.restore(spoilt, task=task, **example.options)
    large = spoilt.resize(clean.size, Image.Resampling.BICUBIC)
    shown = [large, restored] + ([clean] if example.sharp else [])
    windows = [one.convert("RGB").crop(_window(example, one.size)) for one in shown]
    row = Image.new("RGB", (3 * WIDTH + 2 * GAP, HEIGHT), "white")
    for number, window in enumerate(windows):
        row.paste(window, (number * (WIDTH + GAP), 0))
    if not example.sharp:
        return Strip(row, None, None)
    before, after = (psnr(read(one).pixels, read(clean).pixels) for one in (large, restored))
    return Strip(row, before, after)


def _window(example: Example, size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top = min(example.left, size[0] - WIDTH), min(example.top, size[1] - HEIGHT)
    return left, top, left + WIDTH, top + HEIGHT


def block(task: str, strips: Mapping[str, tuple[Example, Strip]]) -> str:
    """Everything between the markers: pictures first, those that fail last, then the weights."""
    lines = ["## Before and after", "", "Left to right: spoilt, restored, clean. PSNR is over the whole picture.", ""]
    failing = False
    for file, (example, strip) in strips.items():
        if example.hard and not failing:
            failing = True
            lines += ["### Where it fails, or nearly", ""]
        title = f"**{example.picture}**, {example.words}"
        if strip.before is None or strip.after is None:
            figures = "left as taken, right restored"
        elif np.isinf(strip.before):
            figures = f"restored: {strip.after:.2f} dB to the original"
        else:
            figures = f"{strip.before:.2f} dB, restored {strip.after:.2f} dB ({strip.after - strip.before:+.2f})"
        shown = "spoilt, restored, clean" if example.sharp else "as taken, restored"
        lines += [f"{title}: {figures}", "", f"![{example.words}: {shown}](../images/tasks/{file})", ""]
    lines += ["## Which weights", "", *weights_table(task), ""]
    return "\n".join(lines)


def weights_table(task: str) -> list[str]:
    """What the shipped cards say of a task's weights."""
    lines = ["| weights | network | trained for | steps |", "| --- | --- | --- | --- |"]
    cards = [undegrade.weights_card(name) for name in undegrade.list_weights(task=task)]
    for card in cards:
        what = ", ".join(f"{key} {_words(value)}" for key, value in card.parameters.items()) or "any strength"
        steps = f"{card.training.steps}" if card.training and card.training.steps else ""
        lines.append(f"| `{card.id}` | `{card.preset or card.network}` | {what} | {steps} |")
    limits: dict[str, list[str]] = {}
    for card in cards:
        if card.limits:
            limits.setdefault(card.limits, []).append(f"`{card.id}`")
    return [*lines, "", *(f"- {', '.join(names)}: {words}" for words, names in limits.items())]


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['low']:g}-{value['high']:g}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def write(task: str) -> None:
    """The pictures and the block of one task's page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    strips = {}
    for number, example in enumerate(sorted(EXAMPLES[task], key=lambda one: one.hard), start=1):
        strip = make(task, example)
        file = f"{task}-{number}.webp"
        strip.image.save(PICTURES / file, quality=85, method=6)
        strips[file] = (example, strip)
        print(f"{file:<28}{example.words:<72}{strip.before or 0:7.2f}{strip.after or 0:7.2f}", flush=True)
    page = DOCS / "tasks" / f"{task}.md"
    head, rest = page.read_text(encoding="utf-8").split(START)
    tail = rest.split(END)[1]
    page.write_text(f"{head}{START}\n\n{block(task, strips)}\n{END}{tail}", encoding="utf-8")


def chart() -> None:
    """Gain against time of all scores in docs/scores, and of the peers there."""
    with tempfile.TemporaryDirectory() as folder:
        api.report([DOCS / "scores", DOCS / "scores" / "peers"], folder)
        (DOCS / "images" / "scores.svg").write_bytes((Path(folder) / "scores.svg").read_bytes())


def main() -> None:
    """The tasks named on the command line, or all and the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="names of tasks; all when left out")
    parser.add_argument("--chart", action="store_true", help="only the chart of the scores")
    given = parser.parse_args()
    for task in () if given.chart else given.tasks or EXAMPLES:
        write(task)
    if given.chart or not given.tasks:
        chart()


if __name__ == "__main__":
    main()
