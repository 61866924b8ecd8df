"""How many of the pictures in folders `auto` would touch: `python scripts/auto_touched.py FOLDER... [--side 1000]`

For folders of pictures that are fine, such as wallpapers. What is found is printed picture by picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from auto_after_edits import judge_of
from auto_samples import resized

from undegrade.core.image import Picture, read
from undegrade.data.folders import list_pictures
from undegrade.degradations._draw import round8
from undegrade.inference.judging import diagnose


def main() -> None:
    """Ask for every picture; print those that are not left alone, and the share."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("folders", type=Path, nargs="+")
    words.add_argument("--side", type=int, help="shrink to this longer side before; what files tell is then not known")
    words.add_argument("--weights", type=Path, help="a file instead of the one in the package")
    told = words.parse_args()
    torch.set_num_threads(1)
    judge = judge_of(told.weights)
    asked = touched = 0
    for path in [path for folder in told.folders for path in list_pictures(folder, recursive=True)]:
        picture = read(path)
        if told.side:
            factor = min(1.0, told.side / max(picture.pixels.shape[-2:]))
            picture = Picture(round8(resized(picture.pixels, factor)))
        found = diagnose(picture, judge)
        asked += 1
        if found.findings:
            touched += 1
            print(f"{path.name}: {found.summary} ({found.wrong:.2f})", flush=True)
    print(f"{touched} of {asked} touched")


if __name__ == "__main__":
    main()
