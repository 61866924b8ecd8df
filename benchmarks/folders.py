"""What files cost beside the network: `python benchmarks/folders.py [--pictures 50] [--side 512] [--task denoising]`

Restores the same pictures twice, a few at a time in turn: from memory into memory, which is pure computing, and from
files into files as `undegrade restore` does it, where reading and writing go on beside the network. Prints the rate of
the second as a share of the rate of the first, by the clock and by processor time. The share by the clock tells the
overlap; that of processor time is what it would be without any.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

import undegrade
from undegrade import api
from undegrade.core import image

TURN = 5
"""Pictures in a turn: what else the machine does meets both forms alike."""


def main() -> None:
    """Prints a row of a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--task", default="denoising")
    wish = parser.parse_args()
    restorer = undegrade.load(wish.task, device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        paths = pictures(Path(scratch), wish.pictures, wish.side)
        in_memory = [image.read(path) for path in paths]
        restorer.picture(in_memory[0])  # what happens only once
        clock, processor = np.zeros(2), np.zeros(2)
        for first in range(0, wish.pictures, TURN):
            turn = slice(first, first + TURN)
            start, used = time.perf_counter(), time.process_time()
            for picture in in_memory[turn]:
                restorer.picture(picture)
            clock[0] += time.perf_counter() - start
            processor[0] += time.process_time() - used
            start, used = time.perf_counter(), time.process_time()
            outcomes = list(api.restore_files(api.plan_files(paths[turn], Path(scratch, "out")), restorer))
            clock[1] += time.perf_counter() - start
            processor[1] += time.process_time() - used
            assert all(outcome.status == "done" for outcome in outcomes)
    pixels = wish.pictures * wish.side**2 / 1e6
    print("| task | pictures | side | pure computing | files | share by the clock | share by processor time |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print(
        f"| {wish.task} | {wish.pictures} | {wish.side} | {pixels / clock[0]:.3f} Mpx/s "
        f"| {pixels / clock[1]:.3f} Mpx/s | {clock[0] / clock[1]:.0%} | {processor[0] / processor[1]:.0%} |"
    )
    print(f"\n{processor[0] / pixels:.2f} processor seconds a megapixel of pure computing")


def pictures(folder: Path, count: int, side: int) -> list[Path]:
    """Noisy crops of a photograph, as PNG."""
    photo, generator = skimage.data.astronaut(), np.random.default_rng(0)
    paths = []
    for number in range(count):
        clean = np.roll(photo, (7 * number, 5 * number), (0, 1))[:side, :side]
        noisy = (clean + generator.normal(0, 25, clean.shape)).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{number:03}.png")
        Image.fromarray(noisy).save(paths[-1])
    return paths


if __name__ == "__main__":
    main()
