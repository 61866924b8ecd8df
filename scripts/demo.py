"""What `make demo` does: spoils four bundled photographs, restores them with the shipped weights, shows the gain.

python scripts/demo.py                 the bundled samples, with PSNR
python scripts/demo.py my-photo.jpg    any picture of yours
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from PIL import Image

import undegrade
from undegrade.core.image import read
from undegrade.metrics.psnr import psnr

SAMPLES = Path(__file__).parents[1] / "examples" / "samples"
OUT = Path("demo")


def side_by_side(*pictures: Image.Image) -> Image.Image:
    """The pictures in a row, with a thin white line between."""
    width, height = pictures[0].size
    row = Image.new("RGB", ((width + 4) * len(pictures) - 4, height), "white")
    for number, picture in enumerate(pictures):
        row.paste(picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), (number * (width + 4), 0))
    return row


def sheet(rows: list[Image.Image]) -> Image.Image:
    """The rows below one another."""
    whole = Image.new("RGB", (rows[0].width, sum(row.height + 4 for row in rows) - 4), "white")
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height + 4
    return whole


def restore_photo(path: Path) -> None:
    """One picture of the user's."""
    start = time.perf_counter()
    before = Image.open(path)
    after = undegrade.restore(path, task="denoising")
    seconds = time.perf_counter() - start
    after.save(OUT / f"{path.stem}.restored.png")
    side_by_side(before, after).save(OUT / f"{path.stem}.before-after.png")
    print(f"{path.name}: {before.width}x{before.height} denoised in {seconds:.1f} s")
    print(f"look at {OUT / f'{path.stem}.before-after.png'}")


def restore_samples() -> None:
    """Every sample ``<name>.<task>.png`` beside its clean ``<name>.png``."""
    rows = []
    print(f"{'picture':<14}{'task':<22}{'spoilt':>9}{'restored':>10}{'time':>9}")
    for path in sorted(SAMPLES.glob("*.*.*")):
        name, task = path.stem.split(".")
        clean, spoilt = (Image.open(file).convert("RGB") for file in (SAMPLES / f"{name}.png", path))
        start = time.perf_counter()
        restored = undegrade.restore(spoilt, task=task)
        seconds = time.perf_counter() - start
        before, after = (psnr(read(clean).pixels, read(picture).pixels) for picture in (spoilt, restored))
        print(f"{name:<14}{task:<22}{before:>6.2f} dB{after:>7.2f} dB{seconds:>7.1f} s")
        rows.append(side_by_side(spoilt, restored, clean))
        rows[-1].save(OUT / f"{name}.{task}.png")
    sheet(rows).save(OUT / "all.jpg", quality=88)
    print(f"look at the pictures in {OUT}/: spoilt, restored, clean")


def main() -> None:
    """The samples, or the pictures named on the command line."""
    OUT.mkdir(exist_ok=True)
    if photos := [Path(argument) for argument in sys.argv[1:]]:
        for photo in photos:
            restore_photo(photo)
    else:
        restore_samples()


if __name__ == "__main__":
    main()
