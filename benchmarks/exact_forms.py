"""Times each network and its units against the plain forms that the tests keep, on one CPU thread.

    python benchmarks/exact_forms.py [NAME ...] [--repeats 5] [--json FILE]
    python benchmarks/exact_forms.py [NAME ...] --memory [--size 512]

Both forms run in turn in the same process; the best of the repeats counts, in CPU seconds, so that other programs
disturb little. Each line also holds the largest difference of the two results, relative to the largest value.
With ``--memory`` each form computes once in a fresh process: what its peak is beyond what the process held before.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "networks")]

import mimo_plain  # noqa: E402
import naf_plain  # noqa: E402

from undegrade.core.heap import kept  # noqa: E402
from undegrade.networks import catalog, ccnet, chair  # noqa: E402

IN_A_ROW = 10


@dataclass(frozen=True)
class Case:
    """What is timed: ``module`` as shipped against ``plain`` on a picture or map of ``shape``."""

    name: str
    shape: tuple[int, int, int]
    module: Callable[[], nn.Module]
    plain: Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class Timing:
    """CPU seconds of both forms."""

    name: str
    shape: tuple[int, int, int]
    plain: float
    ours: float
    ratio: float
    difference: float


def with_all_heads(module: nn.Module) -> nn.Module:
    """The plain form of a network on three sizes, which computes the smaller results even where nobody asks."""
    plain = mimo_plain.plain(module)
    plain.forward = lambda x: plain.scales(x)[-1]
    return plain


def network(name: str, preset: str) -> Callable[[], nn.Module]:
    """Builds a preset."""
    spec = catalog.get(name)
    return lambda: spec.build(spec.configure(preset))


def units(name: str, kind: type[nn.Module], *sizes: tuple[int, int], taps: tuple[int, ...] = ()) -> Iterator[Case]:
    """One unit at several (channels, height and width)."""
    for width, size in sizes:
        yield Case(f"{name} {size}", (width, size, size), lambda w=width: kind(w, *taps), mimo_plain.plain)  # type: ignore[misc]


CASES = [
    *units("chair channel filter", chair.ChannelFilter, (32, 256), (64, 128), (128, 64)),
    *units("chair serial branches", chair.SerialBranches, (32, 256), (64, 128), (128, 64)),
    *units("ccnet strips of 11", ccnet.StripUnit, (20, 256), (40, 128), (80, 64), taps=(11,)),
    *units("ccnet strips of 7", ccnet.StripUnit, (20, 256), (40, 128), (80, 64), taps=(7,)),
    *units("ccnet gated unit", ccnet.GatedUnit, (40, 256), (80, 128), (160, 64)),
    Case("chair_r4", (3, 256, 256), network("chair", "chair_r4"), with_all_heads),
    Case("ccnet_dehaze", (3, 256, 256), network("ccnet", "ccnet_dehaze"), with_all_heads),
    Case("m3snet_w32", (3, 256, 256), network("m3snet", "m3snet_w32"), naf_plain.plain),
    Case("m3snet_w16_d8", (3, 256, 256), network("m3snet", "m3snet_w16_d8"), naf_plain.plain),
    Case("mhnet_w64", (3, 256, 256), network("mhnet", "mhnet_w64"), naf_plain.plain),
    Case("mhnet2023_nf40", (3, 256, 256), network("mhnet2023", "mhnet2023_nf40"), naf_plain.plain),
    Case("nafsr_x2", (3, 256, 256), network("nafsr", "nafsr_x2"), naf_plain.plain),
]


def seconds(module: nn.Module, x: Tensor) -> tuple[float, Tensor]:
    """CPU seconds of one call, and its result."""
    start = time.process_time()
    result = module(x)
    return time.process_time() - start, result


def measure(case: Case, repeats: int) -> Timing:
    """Both forms in turn, the first round for warming up."""
    torch.manual_seed(1)
    ours = case.module().eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))  # scales of zero would hide whole branches
    plain = case.plain(ours)
    x = torch.rand(1, *case.shape)
    # Our units meet what their network hands them: channels-last maps, and memory that they may write into.
    layout = torch.contiguous_format if case.shape[0] == 3 else torch.channels_last
    best = [float("inf"), float("inf")]
    results = [x, x]
    with torch.inference_mode(), kept():
        for repeat in range(repeats + 1):
            for form, module, memory in ((0, plain, torch.contiguous_format), (1, ours, layout)):
                # A few calls on end, as in a network: what the other form left in the caches is no part of either.
                for _ in range(IN_A_ROW):
                    taken, results[form] = seconds(module, x.clone(memory_format=memory))
                    if repeat:
                        best[form] = min(best[form], taken)
    expected, result = results
    difference = float((result - expected).abs().max() / expected.abs().max())
    return Timing(case.name, case.shape, best[0], best[1], best[0] / best[1], difference)


def extra_memory(number: int, side: int, as_plain: bool) -> float:
    """MB of one call beyond what the process held before; for a process of its own."""
    torch.set_num_threads(1)
    case = CASES[number]
    module = case.module().eval()
    module = case.plain(module) if as_plain else module
    x = torch.rand(1, case.shape[0], side, side)
    with torch.inference_mode(), kept():
        module(torch.rand(1, case.shape[0], 128, 128))  # what happens only once
        held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        module(x)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - held) / 2**20


def print_memory(names: list[str], side: int) -> None:
    """A line for each network among the cases, the middle of three processes of each form."""
    print(f"{'':<28}{'plain MB':>10}{'ours MB':>10}")
    for number, case in enumerate(CASES):
        if case.shape[0] != 3 or (names and not any(word in case.name for word in names)):
            continue
        taken = []
        for as_plain in (True, False):
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:
                taken.append(median(fresh.apply(extra_memory, (number, side, as_plain)) for _ in range(3)))
        print(f"{case.name:<28}{taken[0]:>10.0f}{taken[1]:>10.0f}", flush=True)


def main() -> None:
    """Measure the cases whose name holds one of the words given; all of them without words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="words of the names to measure")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--memory", action="store_true", help="peak memory of the networks instead of time")
    parser.add_argument("--size", type=int, default=512, help="side of the picture for --memory")
    arguments = parser.parse_args()
    if arguments.memory:
        print_memory(arguments.names, arguments.size)
        return
    torch.set_num_threads(1)
    timings = []
    print(f"{'':<28}{'plain ms':>10}{'ours ms':>10}{'ratio':>8}{'difference':>12}")
    for case in CASES:
        if arguments.names and not any(word in case.name for word in arguments.names):
            continue
        timing = measure(case, arguments.repeats)
        timings.append(timing)
        print(
            f"{timing.name:<28}{1e3 * timing.plain:>10.1f}{1e3 * timing.ours:>10.1f}{timing.ratio:>8.2f}"
            f"{timing.difference:>12.1e}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(timing) for timing in timings], indent=1) + "\n")


if __name__ == "__main__":
    main()
