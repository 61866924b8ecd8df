"""What `auto` makes of the test pictures: `python scripts/auto_confusion.py PACK [--json docs/auto_confusion.json]`

About twenty pictures of every fault, real ones and made ones, and clean ones of many kinds; `SETS` is the whole list.
A spoilt picture counts as right when the main fault that `auto` names is its label, a clean one when nothing at all is
found. Nothing here was trained on; `docs/trials.md` says what was changed after looks at the misses.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import undegrade
from undegrade import tasks
from undegrade._version import __version__
from undegrade.core.image import Picture, read
from undegrade.data.folders import list_pictures
from undegrade.engine.degrade import generator_for
from undegrade.networks._judge import FAULTS

CLEAN = "nothing"
LABELS = (*FAULTS, CLEAN)
SHORT = dict(zip(LABELS, ("noise", "JPEG", "motion", "defocus", "rain", "haze", "snow", "nothing"), strict=True))


@dataclass(frozen=True)
class Part:
    """Pictures of one folder with one label.

    Attributes:
        label: the task that is right, or ``CLEAN``.
        folder: below the pack.
        count: how many, spread evenly over the folder's names; None for all.
        strengths: clean pictures are degraded by the label's task, with these in turn; empty for finished pictures.
    """

    label: str
    folder: str
    count: int | None = None
    strengths: tuple[dict[str, Any], ...] = field(default=())

    def pictures(self, root: Path) -> Iterator[tuple[str, Picture]]:
        """Name and picture of each."""
        paths = list_pictures(root / self.folder)
        count = self.count or len(paths)
        for index in range(count):
            path = paths[index * len(paths) // count]
            picture = read(path)
            if self.strengths:
                strength = self.strengths[index % len(self.strengths)]
                degrade = tasks.get(self.label).degrade
                assert degrade is not None
                spoilt = degrade(picture.pixels, generator_for(0, path.stem), **strength)
                # As a file would hold it.
                yield (
                    f"{self.folder}/{path.name} {strength or ''}".strip(),
                    Picture((spoilt.clamp(0, 1) * 255).round() / 255),
                )
            else:
                yield f"{self.folder}/{path.name}", picture


SETS = (
    Part("denoising", "real/noise"),
    Part("denoising", "test/Kodak24", 4, ({"sigma": 15}, {"sigma": 50})),
    Part("denoising", "test/McMaster", 4, ({"sigma": 25}, {"sigma": 10})),
    Part("denoising", "test/Set12", 3, ({"sigma": 25},)),
    Part("jpeg_artifacts", "real/jpeg_old"),
    Part("jpeg_artifacts", "test/LIVE1", 8, ({"quality": 10}, {"quality": 20}, {"quality": 40})),
    Part("jpeg_artifacts", "test/classic5", 5, ({"quality": 20}, {"quality": 40})),
    Part("jpeg_artifacts", "test/Kodak24", 3, ({"quality": 30},)),
    Part("motion_deblurring", "real/motion_blur"),
    Part("motion_deblurring", "test/GoPro/input"),
    Part("motion_deblurring", "test/Levin09/input"),
    Part("motion_deblurring", "test/Kodak24", 5, ({"length": [10, 40]},)),
    Part("defocus_deblurring", "real/defocus"),
    Part("defocus_deblurring", "test/DPDD-demo/input"),
    Part("defocus_deblurring", "test/LytroDefocus/input"),
    Part("defocus_deblurring", "test/Kodak24", 8, ({"radius": [3, 12]},)),
    Part("deraining", "real/rain", 8),
    Part("deraining", "test/Rain100L/input", 5),
    Part("deraining", "test/Rain100H/input", 5),
    Part("deraining", "test/SPA/input"),
    Part("deraining", "test/HeavyRain/input"),
    Part("dehazing", "real/haze"),
    Part("dehazing", "test/SOTS-indoor/input", 9),
    Part("dehazing", "test/SOTS-outdoor/input"),
    Part("desnowing", "real/snow"),
    Part("desnowing", "test/CSD/input"),
    Part("desnowing", "test/Kodak24", 8, ({},)),
    Part("desnowing", "test/McMaster", 4, ({},)),
    Part(CLEAN, "test/Kodak24"),
    Part(CLEAN, "test/McMaster"),
    Part(CLEAN, "test/CBSD68"),
    Part(CLEAN, "test/LIVE1"),
    Part(CLEAN, "test/Set14"),
    Part(CLEAN, "test/Set12"),
    Part(CLEAN, "test/SOTS-indoor/target"),
    Part(CLEAN, "test/GoPro/target"),
    Part(CLEAN, "test/DPDD-demo/target"),
    Part(CLEAN, "test/CSD/target"),
)


def main() -> None:
    """Ask for every picture, print the table, and keep the figures."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("pack", type=Path, help="folder with test and real")
    words.add_argument("--json", type=Path, help="where the figures go")
    words.add_argument("--weights", default="auto", help="id of other weights")
    told = words.parse_args()
    torch.set_num_threads(1)
    figures = asked(told.pack, told.weights)
    print(table(figures))
    for name in ("right", "clean_left_alone"):
        print(f"{name}: {figures[name]:.3f}")
    if told.json is not None:
        told.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def asked(root: Path, weights: str = "auto") -> dict[str, Any]:
    """All answers and what they add up to."""
    auto = undegrade.load(weights, device="cpu")
    rows = []
    for part in SETS:
        for name, picture in part.pictures(root):
            found = auto.diagnose(picture)  # type: ignore[union-attr]
            rows.append(
                {
                    "name": name,
                    "label": part.label,
                    "main": found.main.task if found.main else CLEAN,
                    "wrong": round(found.wrong, 3),
                    "found": [finding.to_dict() for finding in found.findings],
                    "confidences": {task: round(value, 3) for task, value in found.confidences.items()},
                }
            )
    spoilt = [row for row in rows if row["label"] != CLEAN]
    clean = [row for row in rows if row["label"] == CLEAN]
    return {
        "schema": 1,
        "weights": auto.info["weights"],
        "version": __version__,
        "right": sum(row["main"] == row["label"] for row in spoilt) / len(spoilt),
        "among_the_found": sum(row["label"] in [finding["task"] for finding in row["found"]] for row in spoilt)
        / len(spoilt),
        "clean_left_alone": sum(row["main"] == CLEAN for row in clean) / len(clean),
        "pictures": rows,
    }


def table(figures: dict[str, Any]) -> str:
    """The confusion table in Markdown: labels down, answers across."""
    lines = [
        f"| is | {' | '.join(SHORT[label] for label in LABELS)} | right |",
        f"| --- {'| --- ' * (len(LABELS) + 1)}|",
    ]
    for label in LABELS:
        answers = [row["main"] for row in figures["pictures"] if row["label"] == label]
        counts = [str(answers.count(answer) or "") for answer in LABELS]
        lines.append(f"| {SHORT[label]} | {' | '.join(counts)} | {answers.count(label)} of {len(answers)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
