"""How often `auto` names the fault of an edited picture: `python scripts/auto_after_edits.py PACK [--weights FILE]`

Photographs of the training pack that were kept out of training are spoilt as in `auto_faults.py`, edited in one way and
judged: the same pictures as they are, and after each edit.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from auto_edits import pillow_of, saturated, tensor_of, webp
from auto_faults import MAKERS, NOISE, grained
from auto_samples import Photographs, few_colours, resized
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from undegrade.core.formats import Metadata
from undegrade.core.image import Picture
from undegrade.data.patches import sample_generator
from undegrade.degradations._draw import round8
from undegrade.inference.judging import diagnose, open_judge
from undegrade.networks._judge import FAULTS, NOTHING, Judge
from undegrade.ops.filters import gaussian_blur
from undegrade.weights.checkpoint import read


def inscribed(pixels: Tensor) -> Tensor:
    """White words across the middle and below."""
    picture = pillow_of(pixels)
    pen = ImageDraw.Draw(picture)
    pen.text((20, picture.height - 50), "www.example.org", (255, 255, 255), ImageFont.load_default(28))
    pen.text((picture.width // 3, picture.height // 2), "Example 2019", (230, 230, 230), ImageFont.load_default(40))
    return tensor_of(picture)


EDITS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda pixels: pixels,
    "256 colours": lambda pixels: few_colours(pixels, Image.Quantize.MEDIANCUT, Image.Dither.FLOYDSTEINBERG),
    "WebP 90": lambda pixels: webp(pixels, 90),
    "enlarged x1.5": lambda pixels: resized(pixels, 1.5),
    "sharpened": lambda pixels: pixels + 0.6 * (pixels - gaussian_blur(pixels, 2.5)),
    "more contrast": lambda pixels: 0.5 + 1.3 * (pixels - 0.5),
    "grey": lambda pixels: saturated(pixels, 0.0),
    "inscribed": inscribed,
}


def judge_of(weights: Path | None) -> Judge:
    """The classifier with the weights of a file, or with those of the package."""
    judge, _ = open_judge()
    if weights is not None:
        judge.load_state_dict(read(weights).entries)
    return judge


def main() -> None:
    """Print a row of the table of `docs/trials.md`."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("pack", type=Path, help="folder with train, train_extra, train_pairs, depth and kernels")
    words.add_argument("--weights", type=Path, help="a file instead of the one in the package")
    words.add_argument("--each", type=int, default=24, help="pictures of every fault")
    told = words.parse_args()
    judge = judge_of(told.weights)
    photographs = Photographs(told.pack, "check")
    right, pictures = dict.fromkeys(EDITS, 0), 0
    for main_fault, maker in MAKERS.items():
        for number in range(told.each):
            generator = sample_generator(1, main_fault, number)
            sample = maker(photographs, generator)
            if main_fault == NOISE:
                grained(sample, NOISE, generator)
            if main_fault == NOTHING or sample.present[main_fault] != 1:
                continue
            pictures += 1
            for name, edit in EDITS.items():
                found = diagnose(Picture(round8(edit(sample.pixels).clamp(0, 1)), Metadata()), judge)
                right[name] += found.main is not None and found.main.task == FAULTS[main_fault]
    print(f"{pictures} pictures:", ", ".join(f"{name} {count / pictures:.0%}" for name, count in right.items()))


if __name__ == "__main__":
    main()
