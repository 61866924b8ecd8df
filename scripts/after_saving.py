"""What a remover still wins when the spoilt picture has been saved, is noisy, or is grey.

    python scripts/after_saving.py PACK RECIPE [--weights FILE] [--draws N] [--crop PIXELS] [KEY=VALUE...]

The pictures that the recipe holds back are spoilt as in its validation, and restored as they are and after each change.
A figure is the gain over the spoilt picture, for super-resolution over its bicubic enlargement, in dB over RGB; sources
that are clean already are left out. The pictures are few: before one file is preferred to another, spoil each in
several ways (``--draws``), and take the whole of it (``--crop``), as users do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

import undegrade
from undegrade import tasks
from undegrade.data.patches import sample_generator
from undegrade.degradations._draw import round8
from undegrade.engine.recipe import Recipe
from undegrade.engine.run import open_patches
from undegrade.metrics.psnr import psnr
from undegrade.ops.colour import rgb_to_ycbcr
from undegrade.ops.jpeg import round_trip
from undegrade.ops.resize import imresize
from undegrade.weights.checkpoint import read


def gain(restored: Tensor, spoilt: Tensor, clean: Tensor) -> float:
    """dB won over the spoilt picture, enlarged where the clean one is larger."""
    if spoilt.shape != clean.shape:
        spoilt = imresize(spoilt, size=(clean.shape[-2], clean.shape[-1]))
    return psnr(restored.clamp(0, 1), clean) - psnr(spoilt.clamp(0, 1), clean)


def grained(sigma: float) -> Callable[[Tensor], Tensor]:
    """Adds Gaussian noise, the same in every run, and rounds to 8 bits."""

    def add(pixels: Tensor) -> Tensor:
        noise = torch.randn(pixels.shape, generator=sample_generator(0, round(sigma)))
        return round8(pixels + sigma / 255 * noise)

    return add


def grey(pixels: Tensor) -> Tensor:
    """Three channels of luma."""
    return rgb_to_ycbcr(pixels)[:1].expand_as(pixels)


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda pixels: pixels,
    "JPEG 95": lambda pixels: round_trip(pixels, 95),
    "JPEG 85": lambda pixels: round_trip(pixels, 85),
    "JPEG 70": lambda pixels: round_trip(pixels, 70),
    "sigma 3": grained(3),
    "sigma 6": grained(6),
    "grey": grey,
}


def main() -> None:
    """Print one line: every change and what is won."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("pack", type=Path, help="folder with train, train_extra, train_pairs, depth and kernels")
    words.add_argument("recipe")
    words.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    words.add_argument("--weights", type=Path, help="a file instead of the one in the package")
    words.add_argument("--draws", type=int, default=1, help="ways in which each picture is spoilt")
    words.add_argument("--crop", type=int, default=320, help="pixels of a side, at most")
    told = words.parse_intermixed_args()
    recipe = Recipe.load(told.recipe, [f"data={told.pack}", *told.changes])
    patches = open_patches(recipe, tasks.get(recipe.task))
    restorer = undegrade.load(Path(told.recipe).stem, device="cpu")
    if told.weights is not None:
        restorer.backend.module.load_state_dict(read(told.weights).entries)
    gains: dict[str, list[float]] = {name: [] for name in CHANGES}
    for strength in recipe.validate_at or ({},):
        for index, draw in product(range(len(patches.validation)), range(told.draws)):
            source = patches.validation[index].source
            if source.inputs is not None and (source.inputs == source.targets or draw):
                continue  # clean already, or a finished pair, which does not change
            _, degraded, clean = patches.whole(index, told.crop, strength, draw)
            for name, change in CHANGES.items():
                spoilt, target = change(degraded), grey(clean) if change is grey else clean
                with torch.inference_mode():
                    restored = restorer.tensor(spoilt[None])[0]
                gains[name].append(gain(restored, spoilt, target))
    print(f"{len(gains['as it is'])} pictures:", ", ".join(f"{n} {fmean(won):+.2f}" for n, won in gains.items()))


if __name__ == "__main__":
    main()
