"""What the classifier of `auto` measures of the samples, kept on disk; made where it is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from auto_faults import made
from auto_samples import Photographs, Sample
from torch import Generator, Tensor

from undegrade.degradations._draw import round8
from undegrade.inference.judging import crops, places, shown, view
from undegrade.networks._judge import measured

__all__ = ["CROPS", "Samples"]

CROPS = 5
"""Crops of every sample."""
CHUNK = 250
"""Samples in one file."""


class Samples:
    """Samples 0 .. ``count`` of a part of the photographs.

    Attributes:
        near: (N, CROPS, M) measures of crops.
        far: (N, M) measures of the view of the whole.
        truth: (N, 2 + 2 faults): the main fault, presence and strength of every fault, and the quality.
    """

    near: Tensor
    far: Tensor
    truth: Tensor

    def __init__(self, root: Path, part: str, count: int, folder: Path, seed: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{part}-{seed}-{first:06d}.npz" for first in range(0, count, CHUNK)]
        photographs = None
        for index, file in enumerate(files):
            if not file.exists():
                photographs = photographs or Photographs(root, part)
                _keep(photographs, seed, range(index * CHUNK, (index + 1) * CHUNK), file)
                print(f"{part}: {(index + 1) * CHUNK} samples", flush=True)
        kept = [np.load(file) for file in files]
        for name in ("near", "far", "truth"):
            setattr(self, name, torch.from_numpy(np.concatenate([part[name] for part in kept])))


def _keep(photographs: Photographs, seed: int, numbers: range, file: Path) -> None:
    near, far, truth = [], [], []
    for number in numbers:
        sample, generator = made(photographs, seed, number)
        sizes = measured(*_shown(sample, generator))
        near.append(sizes[0])
        far.append(sizes[1])
        truth.append(sample.truth)
    part = file.with_suffix(".part.npz")
    np.savez(part, near=torch.cat(near).numpy(), far=torch.cat(far).numpy(), truth=np.array(truth, np.float32))
    part.replace(file)  # what has its name is whole


def _shown(sample: Sample, generator: Generator) -> tuple[Tensor, Tensor]:
    """(1, CROPS, 3, S, S) spread over the picture, (1, 3, V, V)."""
    pixels = shown(sample.pixels)
    corners = places(pixels)
    order = torch.randperm(len(corners), generator=generator)[:CROPS].tolist()
    chosen = [corners[order[index % len(order)]] for index in range(CROPS)]
    return crops(pixels, chosen)[None], round8(view(pixels))[None]
