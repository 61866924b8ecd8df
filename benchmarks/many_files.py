"""How soon a very large batch begins: `python benchmarks/many_files.py [--files 100000]`

The same number of files, one of them a picture, once in one folder and once in folders of a hundred. Prints a Markdown
table: seconds until the first job is known, until all are, what that adds to the peak resident size (each in a process
of its own), and the seconds until `undegrade restore` has written the first result; last row: a folder of two files.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from undegrade.inference.scan import scan

IN_ONE = 100


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    print("| | first job s | all jobs s | more memory MB | first result s |")
    print("| --- | --- | --- | --- | --- |")
    layouts = {
        f"{arguments.files} files in one folder": (arguments.files, arguments.files),
        f"{arguments.files} files in folders of {IN_ONE}": (arguments.files, IN_ONE),
        "2 files": (2, 2),
    }
    for name, (files, together) in layouts.items():
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder) / "in", files, together)
            command = [sys.executable, __file__, "--one", f"{folder}/in"]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            assert found["jobs"] == files
            row = [f"{found[key]:.2f}" for key in ("first", "all", "memory")]
            print(f"| {name} | {' | '.join(row)} | {first_result(Path(folder)):.1f} |", flush=True)


def lay_out(root: Path, files: int, together: int) -> None:
    """A small picture that comes first, and files without content."""
    for start in range(0, files, together):
        folder = root / f"{start:06d}"
        folder.mkdir(parents=True)
        for number in range(start, start + together):
            (folder / f"{number:06d}.png").touch()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "000000/000000.png")


def measure(root: Path) -> dict[str, float]:
    """Seconds by the clock, MB, and how many jobs there were."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    jobs = scan([root], root.parent / "out", recursive=True)
    next(jobs)
    first = time.perf_counter() - start
    count = 1 + sum(1 for _ in jobs)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"first": first, "all": time.perf_counter() - start, "memory": more / 1024, "jobs": count}


def first_result(folder: Path) -> float:
    """Seconds from the start of the command to the first restored picture; the command is stopped then."""
    words = ["restore", f"{folder}/in", "-r", "-o", f"{folder}/out", "--task", "denoise"]
    start = time.perf_counter()
    command = [sys.executable, "-m", "undegrade", *words, "--manifest", f"{folder}/batch.db"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (folder / "out/000000/000000.png").exists():
            assert process.poll() in (None, 0, 1), "the command failed"
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
    return seconds


if __name__ == "__main__":
    main()
