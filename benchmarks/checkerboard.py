"""How strong a grid networks leave where a picture is smooth: `python benchmarks/checkerboard.py [WEIGHTS ...]`

Halvings and pixel shuffles can leave a faint grid that no PSNR notices and everybody sees in a sky. Skies of a few
colours are spoilt by the task, restored, and compared with what they were: printed is what of the difference repeats
every 8 pixels, in levels of 0-255, over windows of 64 x 64 pixels (the loss `checkerboard`). WEIGHTS are ids or files.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

import undegrade
from undegrade import tasks
from undegrade.engine.degrade import generator_for
from undegrade.engine.losses import checkerboard
from undegrade.inference.restorer import Restorer

SIDE = 384
SKIES = {
    "blue": ((0.35, 0.55, 0.85), (0.7, 0.8, 0.95)),
    "grey": ((0.55, 0.57, 0.6), (0.75, 0.75, 0.75)),
    "evening": ((0.3, 0.35, 0.55), (0.95, 0.65, 0.45)),
    "night": ((0.02, 0.03, 0.08), (0.15, 0.18, 0.3)),
}
"""Colours at the top and above the horizon."""


def main() -> None:
    """A row for every weights id or file, a column for every sky."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="*", default=undegrade.list_weights())
    parser.add_argument("--task", help="of files that do not say it")
    arguments = parser.parse_args()
    print("| weights |", " | ".join(SKIES), "|\n|", "--- | " * (len(SKIES) + 1))
    for name in arguments.weights:
        restorer = undegrade.load(name, task=arguments.task)
        if isinstance(restorer, Restorer):  # auto has no fault of its own
            print(f"| {name} |", " | ".join(f"{levels:.2f}" for levels in grids(restorer)), "|", flush=True)


def grids(restorer: Restorer) -> list[float]:
    """The grid in every sky, in levels."""
    degrade = tasks.get(restorer.info["task"]).degrade
    strength = {"scale": restorer.scale} if restorer.scale > 1 else {}
    found = []
    for name, (top, bottom) in SKIES.items():
        clean = sky(top, bottom)
        restored = restorer(degrade(clean, generator_for(0, name), **strength).clamp(0, 1))
        found.append(255 * 10 ** (float(checkerboard(restored[None], clean[None])) / 20))
    return found


def sky(top: tuple[float, ...], bottom: tuple[float, ...]) -> Tensor:
    """(3, SIDE, SIDE) in 0..1: one colour above, another below, and what lies between them."""
    first, last = (torch.tensor(colour)[:, None, None] for colour in (top, bottom))
    return torch.lerp(first, last, torch.linspace(0, 1, SIDE)[:, None]).expand(3, SIDE, SIDE).contiguous()


if __name__ == "__main__":
    main()
