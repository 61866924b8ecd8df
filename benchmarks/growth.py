"""Time and memory against the size of the picture: `python benchmarks/growth.py [WEIGHTS ...] [--megapixels ...]`

For each of the weights (default: those that the tasks take by themselves) a picture of random noise of every size goes
through a Restorer in a process of its own, start of Python left out of the seconds and in the memory. Prints a Markdown
table: CPU seconds in all and per megapixel, the deviation of the latter from its mean over the sizes, and the peak
resident size. ``--max-memory`` is the budget of a tile in MB, as of ``undegrade restore``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

import undegrade
from undegrade.core.errors import WeightsError
from undegrade.inference.restorer import Restorer


def main() -> None:
    """The table for every weights id named, or for the default of each task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="*", metavar="WEIGHTS")
    parser.add_argument("--megapixels", nargs="*", type=float, default=[0.25, 1, 4, 16, 64])
    parser.add_argument("--backend", nargs="*", default=["torch"], help="torch, onnx, openvino")
    parser.add_argument("--max-memory", type=int, help="MB that one tile may take; default: what is free")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(**json.loads(arguments.one))))
        return
    rows = []
    print("| weights | backend | megapixels | tiles | CPU s | CPU s per megapixel | deviation | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.weights or defaults():
        for backend in arguments.backend:
            done = []
            for megapixels in arguments.megapixels:
                job = {"weights": name, "backend": backend, "megapixels": megapixels, "memory": arguments.max_memory}
                command = [sys.executable, __file__, "--one", json.dumps(job)]
                result = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                done.append({**job, **json.loads(result.stdout.splitlines()[-1])})
            mean = sum(row["cpu_seconds"] / row["megapixels"] for row in done) / len(done)
            for row in done:
                each = row["cpu_seconds"] / row["megapixels"]
                print(
                    f"| {name} | {backend} | {row['megapixels']:g} | {row['tiles']} | {row['cpu_seconds']:.1f} "
                    f"| {each:.2f} | {each / mean - 1:+.0%} | {row['peak_mb']} |",
                    flush=True,
                )
            rows += done
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def defaults() -> list[str]:
    """Weights that the tasks take when nothing is said."""
    found = []
    for task in undegrade.list_tasks():
        try:
            restorer = undegrade.load(task)
        except WeightsError:
            continue
        if isinstance(restorer, Restorer) and restorer.card:
            found.append(restorer.card.id)
    return found


def measure(weights: str, backend: str, megapixels: float, memory: int | None) -> dict[str, Any]:
    """In a process of its own."""
    restorer = undegrade.load(weights, backend=backend, max_memory=memory and memory << 20)
    assert isinstance(restorer, Restorer)
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(megapixels * 1e6 / height)
    # Tasks may want another number of channels than the network; noise costs what a photograph costs.
    channels = 1 if restorer.task and restorer.task.name == "demosaicing" else 3
    restorer.tensor(torch.rand(1, channels, 64, 64))  # the first call allocates and compiles
    x = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))
    tiles: list[int] = []
    start = time.process_time()
    restorer.tensor(x, progress=lambda done, total: tiles.append(total))
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"tiles": tiles[-1], "cpu_seconds": round(seconds, 2), "peak_mb": peak}


if __name__ == "__main__":
    main()
