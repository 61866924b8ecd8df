"""Prints time and extra memory of pyramid attention against its plain form: alone, inside whole networks, in training.

    python benchmarks/pyramid_attention.py [--only TEXT] [--skip-plain] [--json FILE]

Every figure comes from a process of its own on one thread: CPU seconds of the best of several runs, and the growth of
the peak resident size during the first one. The plain form uses the published operators (patches as convolution
kernels, see ``tests/networks/pyramid_plain.py``); at 128x128 it takes 13 GiB. Both forms run as `undegrade train` and
`restore` run a network: memory that was freed stays in the process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

FORMS = ("ours", "plain")
CASES = {
    "attention, 64 channels, 48x48": {"side": 48, "channels": 64},
    "attention, 64 channels, 96x96": {"side": 96, "channels": 64},
    "attention, 64 channels, 128x128": {"side": 128, "channels": 64},
    "attention of PA-EDSR, 256 channels, 48x48": {"side": 48, "channels": 256},
    "attention, forward and backward, 48x48": {"side": 48, "channels": 64, "train": True},
    "PANet, 80 blocks, 80x80": {"side": 80, "network": "panet"},
    "PANet, 80 blocks, training step, 48x48, batch 16": {"side": 48, "network": "panet", "train": True, "batch": 16},
}


def prepare(
    form: str, side: int, channels: int = 64, network: str = "", train: bool = False, batch: int = 1
) -> Callable[[int], None]:
    """What a case does, as a function of the side of the picture."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "networks"))
    import pyramid_plain
    import torch

    from undegrade.networks import catalog
    from undegrade.networks.layers.pyramid import PyramidAttention

    torch.set_num_threads(1)
    torch.manual_seed(0)
    spec = catalog.get(network) if network else None
    net = spec.build() if spec else PyramidAttention(channels, 32, residual=1 if channels == 64 else 0.1)
    forward = net
    if form == "plain":
        forward = partial(pyramid_plain.panet if spec else pyramid_plain.published, net)
    features = 3 if spec else channels

    def run(side: int) -> None:
        x = torch.randn(batch, features, side, side)
        with torch.set_grad_enabled(train):
            y = forward(x)
            if train:
                y.square().mean().backward()

    return run


def measure(form: str, case: str) -> dict[str, float]:
    """CPU seconds of the best run, and MiB by which the first full run raised the peak."""
    side = CASES[case]["side"]
    run = prepare(form, **CASES[case])

    from undegrade.core.heap import kept

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    with kept():
        run(8)
        before = peak()
        seconds, memory = [], 0.0
        while len(seconds) < 5 and sum(seconds) < 10:
            start = time.process_time()
            run(side)
            seconds.append(time.process_time() - start)
            memory = memory or peak() - before
    return {"seconds": min(seconds), "mib": memory}


def main() -> None:
    """Measure every case in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--skip-plain", action="store_true", help="ours alone")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--measure", nargs=2, metavar=("FORM", "CASE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    figures: dict[str, dict[str, dict[str, float]]] = {}
    print("| part | plain form | ours | faster | less memory |\n| --- | --- | --- | --- | --- |")
    for case in CASES:
        if arguments.only not in case:
            continue
        figures[case] = {}
        for form in FORMS[: 1 if arguments.skip_plain else 2]:
            done = subprocess.run(
                [sys.executable, __file__, "--measure", form, case],
                check=True,
                capture_output=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            figures[case][form] = json.loads(done.stdout)
        texts = {form: "{seconds:.3g} s, {mib:.0f} MiB".format(**figure) for form, figure in figures[case].items()}
        ours, plain = figures[case]["ours"], figures[case].get("plain")
        ratios = ["", ""]
        if plain:
            ratios = [f"{plain['seconds'] / ours['seconds']:.1f}x", f"1/{plain['mib'] / ours['mib']:.3g}"]
        print(f"| {case} | {texts.get('plain', '')} | {texts['ours']} | {ratios[0]} | {ratios[1]} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
