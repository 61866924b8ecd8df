"""What 8 bits cost and gain: `python benchmarks/int8.py FOLDER [WEIGHTS ...]` (`pip install nncf openvino` first)

Weights and activations are rounded to 8 bits by NNCF's quantisation after training, with ranges found on crops of the
pictures of FOLDER, clean ones that are no test pictures, degraded by the task. PSNR is of the crops of
``benchmarks/precision.py``. Prints Markdown: PSNR of OpenVINO in float32, bfloat16 and int8, and CPU seconds of each on
512 x 512, best of three in turn. int8 is worth offering within 0.1 dB.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nncf
import numpy as np
import torch
from precision import pairs, strength
from torch import Tensor

import undegrade
from undegrade.core import image
from undegrade.graphs import openvino
from undegrade.graphs._graph import Graph
from undegrade.inference.restorer import Restorer
from undegrade.metrics.psnr import psnr

SIDE = 256


def main() -> None:
    """The table for every weights id named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights", nargs="*", default=["denoising_fast", "jpeg_artifacts_fast"])
    parser.add_argument("--crops", type=int, default=24, help="for the ranges of the activations")
    wish = parser.parse_args()
    print("| weights | form | PSNR, dB | change, dB | CPU seconds | faster |\n| --- | --- | --- | --- | --- | --- |")
    for name in wish.weights:
        restorer = undegrade.load(name, device="cpu")
        assert isinstance(restorer, Restorer)
        crops = [x.numpy() for x in degraded(restorer, wish.folder, wish.crops)]
        model = openvino.converted(Graph(restorer.backend.module, restorer.spec, restorer.config))
        runs = {"float32": openvino.compiled(model), "bfloat16": openvino.compiled(model, "bf16")}
        small = nncf.quantize(model, nncf.Dataset(crops), subset_size=len(crops), preset=nncf.QuantizationPreset.MIXED)
        runs["int8"] = openvino.compiled(small)
        report(name, restorer, runs)


def report(name: str, restorer: Restorer, runs: dict[str, Callable[..., Tensor]]) -> None:
    """Prints the rows of one of the weights."""
    x = torch.rand(1, 3, 512, 512)
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(4):
        for form, run in runs.items():
            start = time.process_time()
            run(x)
            seconds[form] = min(seconds[form], time.process_time() - start)
    scores = {form: np.mean([psnr(run(x)[0].clamp(0, 1), y) for x, y in pairs(restorer)]) for form, run in runs.items()}
    for form, score in scores.items():
        print(
            f"| {name} | {form} | {score:.3f} | {score - scores['float32']:+.3f} "
            f"| {seconds[form]:.2f} | {seconds['float32'] / seconds[form]:.1f}x |",
            flush=True,
        )


def degraded(restorer: Restorer, folder: Path, count: int) -> Iterator[Tensor]:
    """(1, 3, 256, 256): the middles of the folder's pictures, degraded by the task in its middle strength."""
    assert restorer.task is not None
    for number, path in enumerate(sorted(path for path in folder.iterdir() if path.is_file())[:count]):
        pixels = image.read(path).pixels
        top, left = ((length - SIDE) // 2 for length in pixels.shape[-2:])
        crop = pixels[:3, top : top + SIDE, left : left + SIDE].expand(3, -1, -1)
        yield restorer.task.degrade(crop, torch.Generator().manual_seed(number), **strength(restorer))[None]


if __name__ == "__main__":
    main()
