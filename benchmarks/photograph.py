"""A photograph of 24 megapixels through the command line: `python benchmarks/photograph.py [--backend torch openvino]`

Makes a noisy JPEG of 6000 x 4000 pixels from scikit-image's portrait, and runs `undegrade restore` on it in a process
of its own for each backend. Prints Markdown: seconds by the clock, CPU seconds and the peak resident size, start of
Python, reading and writing included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image


def main() -> None:
    """A row for every backend."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", nargs="*", default=["torch", "openvino"])
    parser.add_argument("--task", default="denoising")
    parser.add_argument("--size", nargs=2, type=int, default=(6000, 4000), metavar=("WIDTH", "HEIGHT"))
    wish = parser.parse_args()
    print("| task | backend | megapixels | seconds | CPU seconds | peak MB |\n| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "photograph.jpg"
        photograph(*wish.size).save(source, quality=95)
        for backend in wish.backend:
            command = ["-m", "undegrade", "restore", source, "-o", source.with_suffix(".png"), "-t", wish.task]
            start = time.perf_counter()
            process = subprocess.Popen([sys.executable, *command, "--backend", backend])
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            assert status == 0
            print(
                f"| {wish.task} | {backend} | {wish.size[0] * wish.size[1] / 1e6:g} | {seconds:.1f} "
                f"| {usage.ru_utime + usage.ru_stime:.1f} | {usage.ru_maxrss // 1024} |",
                flush=True,
            )


def photograph(width: int, height: int) -> Image.Image:
    """The portrait side by side until the size is reached, with noise of sigma 25."""
    portrait, generator = skimage.data.astronaut(), np.random.default_rng(0)
    times = -(-height // portrait.shape[0]), -(-width // portrait.shape[1]), 1
    picture = np.tile(portrait, times)[:height, :width].astype(np.float32)
    picture += generator.standard_normal(picture.shape, np.float32) * 25
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
