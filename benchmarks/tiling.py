"""What tiles change, and what pictures cost: `python benchmarks/tiling.py [WEIGHTS ...] [--sizes 1 4 12]`

For each of the shipped weights: the difference between the tiled and the whole picture in dB, with means over each
tile alone and over the whole picture, and the PSNR against the clean picture; then time and peak memory for whole
files of 1, 4 and 12 megapixels, each in a fresh process. Prints Markdown tables; docs/tiling.md holds the last ones.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from precision import strength
from torch import Tensor

import undegrade
from undegrade.inference.restorer import Restorer
from undegrade.metrics.psnr import psnr

SIDE = (768, 1024)


def main() -> None:
    """Both tables for every weights id named, or for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="*", default=undegrade.list_weights())
    parser.add_argument("--sizes", nargs="*", type=float, default=[1, 4, 12], help="megapixels of the files")
    parser.add_argument("--tiles", nargs="*", type=int, default=[256, 512], help="sides")
    parser.add_argument("--enlarge", type=int, default=1, help="side of the first table's picture, times 1024 x 768")
    parser.add_argument("--one", nargs=2, metavar=("WEIGHTS", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(*_measure(*arguments.one))
        return
    print("| weights | tile | each tile its own means, dB | means of the whole picture, dB | PSNR, dB | CPU time |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in arguments.weights:
        print(*_differences(name, arguments.tiles, arguments.enlarge), sep="\n", flush=True)
    print("\n| weights | megapixels | tiles | seconds | CPU seconds | peak MB |\n| --- | --- | --- | --- | --- | --- |")
    for name in arguments.weights:
        for size in arguments.sizes:
            print(_cost(name, size), flush=True)


def scene(times: int = 1) -> Tensor:
    """(3, 768, 1024), or so many times as large: a portrait, a cup, a cat and a rocket side by side, so that no tile
    sees what the whole sees.
    """
    quarters = [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    height, width = (side * times // 2 for side in SIDE)
    parts = [Image.fromarray(quarter).resize((width, height), Image.Resampling.LANCZOS) for quarter in quarters]
    rows = [np.hstack([np.asarray(part) for part in parts[first : first + 2]]) for first in (0, 2)]
    return torch.from_numpy(np.vstack(rows)).permute(2, 0, 1) / 255


def _differences(name: str, tiles: list[int], times: int) -> list[str]:
    restorer = undegrade.load(name)
    assert isinstance(restorer, Restorer)
    assert restorer.task is not None
    clean = scene(times)
    x = restorer.task.degrade(clean, torch.Generator().manual_seed(0), **strength(restorer))[None]
    # A network said to see no further than its context gets no means of the whole picture.
    alone = replace(restorer, spec=replace(restorer.spec, tiling="free"))
    whole, seconds = _timed(restorer, x, None)
    clean = clean[:, : whole.shape[-2], : whole.shape[-1]]  # 1023 columns after a third of 1024
    rows = [f"| {name} | whole | | | {psnr(whole[0], clean):.2f} | |"]
    for side in tiles:
        own, _ = _timed(alone, x, side)
        shared, longer = _timed(restorer, x, side)
        rows.append(
            f"| {name} | {side} | {psnr(own[0], whole[0]):.1f} | {psnr(shared[0], whole[0]):.1f} "
            f"| {psnr(shared[0], clean):.2f} | {longer / seconds - 1:+.0%} |"
        )
    return rows


def _timed(restorer: Restorer, x: Tensor, tile: int | None) -> tuple[Tensor, float]:
    start = time.process_time()
    return restorer.tensor(x, tile=tile), time.process_time() - start


def _cost(name: str, megapixels: float) -> str:
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(megapixels * 1e6 / height)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, compress_level=0)
        result = subprocess.run(
            [sys.executable, __file__, "--one", name, str(path)], check=True, capture_output=True, text=True
        )
    return f"| {name} | {megapixels:g} | " + " | ".join(result.stdout.split()) + " |"


def _measure(name: str, path: str) -> tuple[int, str, str, int]:
    """In a process of its own: (tiles, seconds, CPU seconds, peak MB), start and loading included."""
    counts = []
    start = time.perf_counter()
    undegrade.load(name)(path, progress=lambda done, total: counts.append(total))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds, cpu = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    return counts[-1], f"{seconds:.1f}", f"{cpu:.1f}", usage.ru_maxrss // 1024


if __name__ == "__main__":
    main()
