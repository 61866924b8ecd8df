"""The same pictures scored by every protocol, for docs/protocols.md: `python scripts/which_psnr.py DATA`

DATA holds the test sets as ``test/SET``. Figures go to docs/scores/which_psnr.json; the tables in the page, between two
marker lines, are made from that file. Without DATA only the tables are written anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from undegrade.core.image import read
from undegrade.data.folders import pair_folders
from undegrade.engine.evaluate import Sample, samples
from undegrade.metrics import protocol

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "protocols.md"
FIGURES = ROOT / "docs" / "scores" / "which_psnr.json"
START, END = "<!-- which_psnr starts -->", "<!-- which_psnr ends -->"


def sets(data: Path) -> Iterator[tuple[str, list[Sample]]]:
    """Untouched degraded pictures of several kinds: everyone can score them, no weights are needed."""
    for name, title in (("Rain100L", "light rain"), ("SOTS-indoor", "haze"), ("GoPro", "motion blur")):
        pairs = pair_folders(data / "test" / name / "input", data / "test" / name / "target")
        yield f"{name} ({title})", [Sample(one.name, read(one.input).pixels, read(one.target).pixels) for one in pairs]
    kodak = data / "test" / "Kodak24"
    yield "Kodak24, sigma 25", list(samples("denoising", clean=kodak, protocol="rgb-8bit", sigma=25))
    yield "Kodak24, JPEG 10", list(samples("jpeg_artifacts", clean=kodak, protocol="rgb-8bit", quality=10))


def measure(data: Path) -> dict[str, Any]:
    """Set -> protocol -> mean PSNR and SSIM."""
    figures: dict[str, Any] = {}
    for title, pictures in sets(data):
        figures[title] = {"pictures": len(pictures)}
        for name in protocol.names():
            scored = [protocol.get(name).score(one.input, one.target) for one in pictures]
            figures[title][name] = {key: round(fmean(one[key] for one in scored), 4) for key in ("psnr", "ssim")}
        print(title, flush=True)
    return {"schema": 1, "figures": figures}


def table(figures: dict[str, Any]) -> str:
    """Rows are protocols, cells PSNR / SSIM."""
    titles = list(figures)
    lines = [
        "| protocol | " + " | ".join(f"{title}, {figures[title]['pictures']} pictures" for title in titles) + " |",
        "| --- |" + " --- |" * len(titles),
    ]
    for name in protocol.names():
        cells = (figures[title][name] for title in titles)
        lines.append(f"| `{name}` | " + " | ".join(f"{cell['psnr']:.2f} / {cell['ssim']:.4f}" for cell in cells) + " |")
    return "\n".join(lines)


def rulers() -> str:
    """Every protocol's choices, from its own description."""
    lines = ["| protocol | channels | border | rounding | SSIM | from |", "| --- | --- | --- | --- | --- | --- |"]
    for name in protocol.names():
        words = protocol.get(name).describe()
        choices = [words[key] for key in ("colour", "border", "rounding", "ssim_window")]
        if words["alignment"] != "none":
            choices[1] += f"; {words['alignment']}"
        lines.append(f"| `{name}` | {' | '.join(choices)} | {words['source']} |")
    return "\n".join(lines)


def main() -> None:
    """Measure if there is data, then write the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="folder with test/")
    data = parser.parse_args().data
    if data is not None:
        FIGURES.parent.mkdir(parents=True, exist_ok=True)
        FIGURES.write_text(json.dumps(measure(data), indent=1) + "\n", encoding="utf-8")
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))["figures"]
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    made = f"{START}\n\n## The rulers\n\n{rulers()}\n\n## The same pictures by each ruler\n\n{table(figures)}\n\n{END}"
    PAGE.write_text(before + made + after, encoding="utf-8")


if __name__ == "__main__":
    main()
