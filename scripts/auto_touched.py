"""How many of the pictures in folders `auto` would touch: `python scripts/auto_touched.py FOLDER... [--side 1000]`

For folders of pictures that are fine, such as wallpapers. What is found is printed picture by picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.nn import functional as F

from undegrade.core.image import Picture, read
from undegrade.data.folders import list_pictures
from undegrade.inference.judging import diagnose, open_judge
from undegrade.weights.checkpoint import read as read_weights


def main() -> None:
    """Ask for every picture; print those that are not left alone, and the share."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("folders", type=Path, nargs="+")
    words.add_argument("--side", type=int, help="shrink to this longer side before; what files tell is then not known")
    words.add_argument("--weights", type=Path, help="a file instead of the one in the package")
    told = words.parse_args()
    torch.set_num_threads(1)
    judge, _ = open_judge()
    if told.weights is not None:
        judge.load_state_dict(read_weights(told.weights).entries)
    asked = touched = 0
    for path in [path for folder in told.folders for path in list_pictures(folder, recursive=True)]:
        picture = read(path)
        if told.side:
            picture = Picture(_shrunk(picture.pixels, told.side))
        found = diagnose(picture, judge)
        asked += 1
        if found.findings:
            touched += 1
            print(f"{path.name}: {found.summary} ({found.wrong:.2f})", flush=True)
    print(f"{touched} of {asked} touched")


def _shrunk(pixels: torch.Tensor, side: int) -> torch.Tensor:
    factor = min(1.0, side / max(pixels.shape[-2:]))
    size = [max(1, round(length * factor)) for length in pixels.shape[-2:]]
    small = F.interpolate(pixels[None], size, mode="bicubic", antialias=True, align_corners=False)[0]
    return (small.clamp(0, 1) * 255).round() / 255


if __name__ == "__main__":
    main()
