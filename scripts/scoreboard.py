"""Scores the shipped weights and writes docs/scoreboard.md: `python scripts/scoreboard.py DATA --task denoising`

DATA holds the test sets as ``test/SET`` (clean sets) or ``test/SET/{input,target}``. Every row of the board is one
`undegrade evaluate`; its JSON goes to docs/scores/ROW.json, one line per run to docs/scores/history.jsonl, and the
means into the weights' card. Without DATA the page, and the table in README.md, are written anew from these files.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import undegrade
from undegrade import tasks
from undegrade.weights.card import Score, WeightsCard

ROOT = Path(__file__).parents[1]
SCORES = ROOT / "docs" / "scores"
CARDS = ROOT / "src" / "undegrade" / "weights" / "cards"
PUBLISHED = ROOT / "src" / "undegrade" / "metrics" / "published"


@dataclass(frozen=True)
class Row:
    """One line of the board.

    Attributes:
        id: of its JSON file.
        task: what is restored.
        set: folder of the test set.
        kind: ``clean`` (degraded by the task with a fixed seed), ``pairs``, or ``untouched`` (clean pictures
            handed in as they are: the weights should leave them alone).
        protocol: the ruler.
        strength: parameters of the task.
        floor, goal: PSNR to reach, in dB; with ``gain`` over the input's.
        gain: whether these are gains.
        weights: id, where it is not the task's own choice.
    """

    id: str
    task: str
    set: str
    protocol: str
    kind: str = "clean"
    strength: tuple[tuple[str, Any], ...] = ()
    floor: float | None = None
    goal: float | None = None
    gain: bool = False
    weights: str | None = None

    @property
    def subject(self) -> str:
        """Test set and strength in words."""
        return self.set + "".join(f", {name} {value}" for name, value in self.strength)

    def settings(self, data: Path) -> dict[str, Any]:
        """What `undegrade.evaluate` is called with, besides the weights."""
        folder = data / "test" / self.set
        if self.kind == "pairs":
            where = {"inputs": folder / "input", "targets": folder / "target"}
        elif self.kind == "untouched":
            where = {"inputs": folder, "targets": folder}
        else:
            where = {"clean": folder}
        return {**where, "protocol": self.protocol, **dict(self.strength)}

    def command(self, weights: str | None) -> str:
        """The same as a command line, with DATA for the data's folder."""
        words = ["undegrade", "evaluate", "-t", self.task]
        for name, value in self.settings(Path("DATA")).items():
            words += [f"--{name}", str(value)]
        return shlex.join(words + (["-w", weights] if weights else []))


def rows() -> Iterator[Row]:
    """The whole board: the weights that each task chooses, then the slower ones."""
    own = list(_own())
    yield from own
    for task in ("denoising", "motion_deblurring"):
        yield from (replace(row, id=f"{row.id}-best", weights=f"{task}_best") for row in own if row.task == task)


def _own() -> Iterator[Row]:
    for sigma, floor, goal in ((15, 33.5, 34.1), (25, 31.0, 31.6), (50, 27.7, 28.4)):
        yield _at("denoising", "CBSD68", "rgb", "sigma", sigma, floor=floor, goal=goal)
    for sigma, goal in ((10, 36.55), (30, 31.16), (50, 28.85), (70, 27.40)):
        yield _at("denoising", "Kodak24", "rgb-8bit", "sigma", sigma, goal=goal)
    for sigma in (15, 25, 50):
        yield _at("denoising", "Set12", "rgb", "sigma", sigma)
    yield _untouched("denoising", 45)
    for name in ("LIVE1", "classic5"):
        for quality in (10, 20, 30, 40):
            bounds = {"floor": 1.25, "goal": 1.78} if quality == 10 else {}
            yield _at("jpeg_artifacts", name, "jpeg-luma", "quality", quality, gain=True, **bounds)
    for quality in (10, 20, 30, 40):
        yield _at("jpeg_artifacts", "LIVE1", "rgb-8bit", "quality", quality)
    yield _untouched("jpeg_artifacts", 45)
    for name, floor, goal in (("Kodak24", 40.0, 42.8), ("McMaster", 36.5, 39.3)):
        for pattern in ("GRBG", "RGGB", "BGGR", "GBRG"):
            yield _at("demosaicing", name, "demosaic-cpsnr", "pattern", pattern, floor=floor, goal=goal)
    for scale, floor, goal in ((2, 37.2, 38.0), (3, 33.4, 34.3), (4, 31.0, 32.2)):
        yield _at("super_resolution", "Set5", "y-matlab", "scale", scale, floor=floor, goal=goal)
        yield _at("super_resolution", "Set14", "y-matlab", "scale", scale)
    yield _real("deraining", "Rain100L", "derain-y", 34.0, 38.0, gain=False)
    yield _real("deraining", "Rain100H", "derain-y", 25.5, 29.5, gain=False)
    yield _real("dehazing", "SOTS-indoor", "dehaze", 21.0, 27.0, gain=False)
    yield Row("desnowing-kodak24", "desnowing", "Kodak24", "rgb", floor=6, goal=10, gain=True)
    yield _real("desnowing", "CSD", "rgb", 6, 10)
    yield _real("motion_deblurring", "GoPro", "rgb", 1.0, 4.0)
    yield _real("motion_deblurring", "Levin09", "levin", 1.5, 5.0)
    yield Row("motion_deblurring-kodak24", "motion_deblurring", "Kodak24", "rgb", floor=2, goal=5, gain=True)
    yield _real("defocus_deblurring", "DPDD-demo", "defocus", 0.3, 1.2)
    yield _real("defocus_deblurring", "LytroDefocus", "defocus", 0.5, 1.5)
    yield Row("defocus_deblurring-kodak24", "defocus_deblurring", "Kodak24", "rgb", floor=2, goal=4, gain=True)
    for task in ("deraining", "dehazing", "desnowing", "motion_deblurring", "defocus_deblurring"):
        yield _untouched(task, 38)


def _at(task: str, name: str, protocol: str, parameter: str, value: Any, **bounds: Any) -> Row:
    tail = "" if protocol != "rgb-8bit" else "-8bit"
    return Row(
        f"{task}-{name.lower()}-{parameter}{value}{tail}",
        task,
        name,
        protocol,
        "clean",
        ((parameter, value),),
        **bounds,
    )


def _real(task: str, name: str, protocol: str, floor: float, goal: float, gain: bool = True) -> Row:
    return Row(f"{task}-{name.lower()}", task, name, protocol, "pairs", (), floor, goal, gain)


def _untouched(task: str, floor: float) -> Row:
    return Row(f"{task}-untouched", task, "Kodak24", "rgb", "untouched", (), floor)


def score(row: Row, data: Path, weights: str | None, limit: int | None, device: str) -> dict[str, Any]:
    """One `undegrade evaluate`, as data with the command that repeats it."""
    report = undegrade.evaluate(row.task, **row.settings(data), weights=weights, limit=limit, device=device)
    result = report.to_dict()
    result |= {"row": row.id, "command": row.command(weights), "commit": commit()}
    return result | {"date": datetime.date.today().isoformat()}


def commit() -> str:
    """The commit that is checked out."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def keep(row: Row, result: dict[str, Any]) -> None:
    """Writes the row's JSON, its line of history and its score in the weights' card."""
    SCORES.mkdir(parents=True, exist_ok=True)
    (SCORES / f"{row.id}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    mean = result["mean"]
    line = {
        "row": row.id,
        "weights": result["weights"],
        **{key: round(mean[key], 6) for key in ("psnr", "ssim", "input_psnr", "seconds")},
        "images": len(result["images"]),
        "commit": result["commit"],
        "date": result["date"],
    }
    with (SCORES / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    card_file = CARDS / f"{result['weights']}.toml"
    if not card_file.exists():
        return
    card = WeightsCard.from_toml(card_file.read_text(encoding="utf-8"), card_file.name)
    strength = " ".join(f"{name} {value}" for name, value in row.strength) or (
        "untouched" if row.kind == "untouched" else ""
    )
    new = Score(
        row.protocol,
        row.set,
        round(mean["psnr"], 2),
        round(mean["ssim"], 4),
        round(mean["input_psnr"], 2),
        strength=strength,
        commit=result["commit"],
    )
    others = [old for old in card.scores if (old.protocol, old.set, old.strength) != (new.protocol, new.set, strength)]
    card_file.write_text(replace(card, scores=(*others, new)).to_toml(), encoding="utf-8")


def verdict(row: Row, mean: dict[str, float]) -> str:
    """Where the row stands between floor and goal."""
    value = mean["psnr"] - (mean["input_psnr"] if row.gain else 0.0)
    if row.goal is not None and value >= row.goal:
        return "goal"
    if row.floor is not None and value < row.floor:
        return f"{value - row.floor:+.2f} to floor"
    if row.goal is not None:
        return f"{value - row.goal:+.2f} to goal"
    return "held" if row.floor is not None else ""


def _bounds(row: Row) -> str:
    sign = "+" if row.gain else ""
    return " / ".join("-" if value is None else f"{sign}{value:g}" for value in (row.floor, row.goal))


def render() -> str:
    """The page, from the JSON files."""
    lines = [
        "# Scoreboard",
        "",
        "Measured by `undegrade evaluate` on our test pictures, which are parts of the customary sets except for Set5,",
        "Set14, Set12 and Classic5: figures compare between weights, and with published tables only by their gain or",
        "by what a known method reaches on [the same part](#how-hard-the-parts-are).",
        "Written by `scripts/scoreboard.py` from the files in `docs/scores`; [protocols](protocols.md) says what each",
        "ruler measures. Floor and goal are aims in dB, with a plus sign as gain over the input: the least that was",
        "asked for, and what would be good. *Nothing wrong* are clean pictures, which should come back as they are.",
        "Seconds are per picture, on the machine that scored, beside whatever else ran there: for speeds see",
        "[Benchmarks](benchmarks.md).",
    ]
    known = list(rows())
    for task in dict.fromkeys(row.task for row in known):
        table = [line for row in known if row.task == task for line in _line(row)]
        if table:
            lines += ["", f"## {tasks.get(task).title}", "", *_HEAD, *table]
    lines += ["", "## How hard the parts are", "", *_hardness(known)]
    lines += ["", "## History", "", *_history()]
    return "\n".join(lines) + "\n"


_HEAD = (
    "| test | ruler | pictures | input PSNR | PSNR | SSIM | gain | floor / goal | stands at | weights | seconds |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)


HEADLINES = (
    ("noise, sigma 25", "denoising-cbsd68-sigma25"),
    ("JPEG, quality 10", "jpeg_artifacts-live1-quality10"),
    ("raw mosaics", "demosaicing-kodak24-patternGRBG"),
    ("enlarging 2 times, against bicubic", "super_resolution-set5-scale2"),
    ("light rain", "deraining-rain100l"),
    ("haze", "dehazing-sots-indoor"),
    ("snow", "desnowing-kodak24"),
    ("motion blur", "motion_deblurring-gopro"),
    ("out of focus", "defocus_deblurring-dpdd-demo"),
)
"""Rows that README.md shows."""


def headlines() -> str:
    """The table of README.md: a row for each task, and how well auto finds them, from the JSON files."""
    lines = ["| what is wrong | test pictures | spoilt, dB | restored, dB |", "| --- | --- | ---: | ---: |"]
    for words, name in HEADLINES:
        kept = json.loads((SCORES / f"{name}.json").read_text(encoding="utf-8"))
        mean, count = kept["mean"], len(kept["images"])
        lines.append(f"| {words} | {count} of {kept['set']} | {mean['input_psnr']:.2f} | {mean['psnr']:.2f} |")
    auto = json.loads((ROOT / "docs" / "auto_confusion.json").read_text(encoding="utf-8"))
    lines += [
        "",
        f"[`auto`](docs/tasks/auto.md) names the right fault of {100 * auto['right']:.0f} % of spoilt pictures,",
        f"and leaves {100 * auto['clean_left_alone']:.0f} % of clean ones alone (`scripts/auto_confusion.py`).",
    ]
    return "\n".join(lines) + "\n"


def write_headlines() -> None:
    """Puts the table between its two lines of README.md."""
    page = ROOT / "README.md"
    before, rest = page.read_text(encoding="utf-8").split(_START)
    page.write_text(f"{before}{_START}\n\n{headlines()}\n{_END}{rest.split(_END)[1]}", encoding="utf-8")


_START, _END = "<!-- scores start -->", "<!-- scores end -->"


def _line(row: Row) -> Iterator[str]:
    file = SCORES / f"{row.id}.json"
    if not file.exists():
        return
    result = json.loads(file.read_text(encoding="utf-8"))
    mean = result["mean"]
    what = row.subject
    what += {"untouched": ", nothing wrong", "pairs": "", "clean": "" if row.strength else ", made here"}[row.kind]
    gain = "" if row.kind == "untouched" else f"{mean['psnr'] - mean['input_psnr']:+.2f}"
    cells = (
        f"[{what}](scores/{row.id}.json)",
        row.protocol,
        len(result["images"]),
        f"{mean['input_psnr']:.2f}",
        f"{mean['psnr']:.2f}",
        f"{mean['ssim']:.4f}",
        gain,
        _bounds(row),
        verdict(row, mean),
        result["weights"],
        f"{mean['seconds']:.2f}",
    )
    yield f"| {' | '.join(map(str, cells))} |"


def _hardness(known: list[Row]) -> Iterator[str]:
    """What is published of a method for a whole set against what it reaches on our part, measured by peers.py."""
    yield "Methods that anyone can run, measured here by `scripts/peers.py`, and what the literature quotes for them on"
    yield "the whole set. The floors above were set for whole sets and are not lowered for a harder part."
    yield ""
    yield "| test | method | published, whole set | here, our part | part is harder by | ours | ours over the method |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in known:
        table = PUBLISHED / f"literature-{row.task}.json"
        own = SCORES / f"{row.id}.json"
        quoted = json.loads(table.read_text(encoding="utf-8"))["rows"] if table.exists() and own.exists() else ()
        for method, name, strength, psnr, _ssim in quoted:
            peer = SCORES / "peers" / f"{row.id}-{method.lower()}.json"
            if name != row.set.lower() or not peer.exists() or strength not in (None, *dict(row.strength).values()):
                continue
            here, ours = (json.loads(file.read_text(encoding="utf-8"))["mean"]["psnr"] for file in (peer, own))
            figures = (f"{psnr:.1f}", f"{here:.2f}", f"{psnr - here:.2f}", f"{ours:.2f}", f"{ours - here:+.2f}")
            yield f"| {row.subject} | {method} | {' | '.join(figures)} |"


def _history() -> Iterator[str]:
    """Per weights and row, every PSNR that was measured, oldest first."""
    file = SCORES / "history.jsonl"
    if not file.exists():
        yield "Nothing yet."
        return
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for text in file.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        runs.setdefault((line["weights"], line["row"]), []).append(line)
    yield "| weights | row | PSNR over time (commit) |"
    yield "| --- | --- | --- |"
    for (weights, row), found in sorted(runs.items()):
        figures = ", ".join(f"{line['psnr']:.2f} ({line['commit']})" for line in found)
        yield f"| {weights} | {row} | {figures} |"


def main() -> None:
    """Score the rows that are asked for, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="folder with test/; without it only the page is written")
    parser.add_argument("--task", help="only rows of this task")
    parser.add_argument("--only", default="*", help="only rows whose id fits this shell-style pattern")
    parser.add_argument("--weights", help="id or file; default: the task's own")
    parser.add_argument("--limit", type=int, help="only the first so many pictures (not kept)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--list", action="store_true", help="print the commands of the rows and leave")
    given = parser.parse_args()
    wanted = [
        replace(row, weights=given.weights or row.weights)
        for row in rows()
        if fnmatch(row.id, given.only)
        and given.task in (None, row.task)
        and (given.weights is None or row.weights in (None, given.weights))  # others would be kept as theirs
    ]
    if given.list:
        print("\n".join(row.command(row.weights) for row in wanted))
        return
    for row in wanted if given.data else []:
        if not (given.data / "test" / row.set).is_dir():
            print(f"{row.id}: no {row.set} here")
            continue
        try:
            result = score(row, given.data, row.weights, given.limit, given.device)
        except undegrade.UndegradeError as error:
            print(f"{row.id}: {error}")
            continue
        mean = result["mean"]
        print(
            f"{row.id:<42} {mean['input_psnr']:6.2f} -> {mean['psnr']:6.2f}  {verdict(row, mean)}"
            f"  ({mean['seconds']:.1f} s)",
            flush=True,
        )
        if given.limit is None:
            keep(row, result)
    (ROOT / "docs" / "scoreboard.md").write_text(render(), encoding="utf-8")
    write_headlines()


if __name__ == "__main__":
    main()
