"""What fewer digits cost: `python benchmarks/precision.py [WEIGHTS ...] [--backend openvino] [--dtype bf16]`

For each of the weights: PSNR of restored pictures in float32 by torch, and the change with the backend and dtype named.
The pictures are crops of 256 pixels of scikit-image's portrait, cup and cat, degraded by the task in its middle
strength. A dtype is fit for these weights where the change is below 0.02 dB. Prints Markdown.
"""

from __future__ import annotations

import argparse

import numpy as np
import skimage.data
import torch
from torch import Tensor

import undegrade
from undegrade.inference.restorer import Restorer
from undegrade.metrics.psnr import psnr

MIDDLE = {"sigma": 25, "quality": 30, "pattern": "RGGB"}
MOST = 0.02


def main() -> None:
    """The table for every weights id named, or for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="*", metavar="WEIGHTS")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--dtype", default="bf16")
    arguments = parser.parse_args()
    print(f"| weights | float32, dB | {arguments.backend} {arguments.dtype}, dB | change, dB | fit |")
    print("| --- | --- | --- | --- | --- |")
    for name in arguments.weights or undegrade.list_weights():
        restorer = undegrade.load(name, device="cpu")
        if not isinstance(restorer, Restorer) or restorer.task is None:
            continue
        other = undegrade.load(name, device="cpu", backend=arguments.backend, dtype=arguments.dtype)
        scores = np.array([[psnr(each.tensor(x)[0], y) for each in (restorer, other)] for x, y in pairs(restorer)])
        plain, changed = scores.mean(0)
        fit = "yes" if abs(changed - plain) <= MOST else "no"
        print(f"| {name} | {plain:.3f} | {changed:.3f} | {changed - plain:+.3f} | {fit} |", flush=True)


def pairs(restorer: Restorer) -> list[tuple[Tensor, Tensor]]:
    """(degraded with a batch axis, clean) of the three crops."""
    task = restorer.task
    assert task is not None
    found = []
    for number, name in enumerate(("astronaut", "coffee", "chelsea")):
        picture = torch.from_numpy(getattr(skimage.data, name)()[20:276, 100:356]).permute(2, 0, 1) / 255
        picture = picture[..., : 256 // restorer.scale * restorer.scale, : 256 // restorer.scale * restorer.scale]
        found.append(
            (task.degrade(picture, torch.Generator().manual_seed(number), **strength(restorer))[None], picture)
        )
    return found


def strength(restorer: Restorer) -> dict[str, object]:
    """A degradation in the middle of what the weights can do."""
    assert restorer.task is not None
    return {entry.name: {**MIDDLE, "scale": restorer.scale}[entry.name] for entry in restorer.task.parameters}


if __name__ == "__main__":
    main()
