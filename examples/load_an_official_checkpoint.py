"""Loads a checkpoint of one of the five systems: `python examples/load_an_official_checkpoint.py [FILE TASK]`.

Without a file it writes one that looks like ChaIR's, with random values under the official names.
"""

from __future__ import annotations

import sys

import torch

import undegrade
from undegrade.networks import catalog


def stand_in(path: str) -> str:
    """A file as the authors of ChaIR publish them, for trying."""
    spec = catalog.get("chair")
    config = spec.configure("chair_small")
    ours = spec.build(config).state_dict()
    official = {name: ours[own] for name, own in spec.official(config).items() if own is not None}
    torch.save({"model": official}, path)
    return path


def main(path: str | None = None, task: str = "dehazing") -> None:
    """Network and all its numbers are found in the file; every entry must find its place."""
    path = path or stand_in("model_its.pkl")
    restorer = undegrade.load(path, task=task)
    info = restorer.info
    print(f"{path}: {info['network']} {info['numbers']}, {info['paper'].splitlines()[0]}")
    print("kept as safetensors, with its card:", undegrade.convert(path, "converted.safetensors", task=task))
    print("result:", restorer(torch.rand(3, 64, 96)).shape)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except undegrade.UndegradeError as error:
        sys.exit(str(error))
