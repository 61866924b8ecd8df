"""Times each network against its plain form on a GPU, with the share of what the device's matrix units can do.

    python benchmarks/gpu.py [NAME ...] [--repeats 5] [--json FILE]

Both forms of a network run in turn in one process, in float32 and under float16 autocast; the best of the repeats
counts. The peak is that of a product of two 8192 x 8192 matrices in the same dtype. Memory is what the allocator
held at most above the weights.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from exact_forms import with_all_heads  # puts the plain forms that the tests keep on the path
from torch import Tensor, nn

# isort: split
import naf_plain
import pyramid_plain

from undegrade.engine.bench import gmacs
from undegrade.networks import catalog

Form = Callable[[Tensor], Tensor]

CASES: list[tuple[str, str, tuple[int, int, int], Callable[[nn.Module], Form]]] = [
    ("chair", "chair_r4", (1, 1024, 1024), with_all_heads),
    ("ccnet", "ccnet_dehaze", (1, 1024, 1024), with_all_heads),
    ("m3snet", "m3snet_w32", (1, 1024, 1024), naf_plain.plain),
    ("m3snet", "m3snet_w16_d8_top2", (1, 1024, 1024), naf_plain.plain),
    ("mhnet", "mhnet_w64", (1, 1024, 1024), naf_plain.plain),
    ("mhnet2023", "mhnet2023_nf40", (1, 1024, 1024), naf_plain.plain),
    ("panet", "panet_rgb", (4, 96, 96), lambda net: partial(pyramid_plain.panet, net)),
]


@dataclass(frozen=True)
class Row:
    """One network in one precision."""

    preset: str
    shape: tuple[int, int, int]
    dtype: str
    plain_ms: float
    ours_ms: float
    ratio: float
    plain_mb: float
    ours_mb: float
    mpx_per_s: float
    share_of_peak: float
    difference: float


def timed(form: Form, x: Tensor, dtype: torch.dtype, repeats: int) -> tuple[float, float, Tensor]:
    """Best seconds, MiB above what lay there before, and the result."""
    best = float("inf")
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(repeats + 2):
        given = x.clone()
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            result = form(given)
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best, (torch.cuda.max_memory_allocated() - before) / 2**20, result.float()


def peak(dtype: torch.dtype) -> float:
    """FLOP per second of a large matrix product."""
    a = torch.randn(8192, 8192, device="cuda", dtype=dtype)
    seconds, _, _ = timed(lambda x: x @ a, a, dtype, 5)
    return 2 * 8192**3 / seconds


def main() -> None:
    """Measure the cases whose name holds one of the words given; all of them without words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="words of the presets to measure")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    wish = parser.parse_args()
    peaks = {dtype: peak(dtype) for dtype in (torch.float32, torch.float16)}
    print(torch.cuda.get_device_name(), {str(dtype): f"{rate / 1e12:.0f} TFLOP/s" for dtype, rate in peaks.items()})
    rows = []
    for name, preset, (batch, height, width), plain_form in CASES:
        if wish.names and not any(word in preset for word in wish.names):
            continue
        spec = catalog.get(name)
        torch.manual_seed(1)
        module = spec.build(spec.configure(preset)).eval()
        work = gmacs(module, 3, height, width) * batch * 1e9
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))  # scales of zero would hide whole branches
        module.cuda().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        plain = plain_form(module)
        x = torch.rand(batch, 3, height, width, device="cuda").contiguous(memory_format=torch.channels_last)
        for dtype, rate in peaks.items():
            slow, slow_mb, expected = timed(plain, x, dtype, wish.repeats)
            fast, fast_mb, result = timed(module, x, dtype, wish.repeats)
            row = Row(
                preset=preset,
                shape=(batch, height, width),
                dtype=str(dtype).removeprefix("torch."),
                plain_ms=1e3 * slow,
                ours_ms=1e3 * fast,
                ratio=slow / fast,
                plain_mb=slow_mb,
                ours_mb=fast_mb,
                mpx_per_s=batch * height * width / fast / 1e6,
                share_of_peak=2 * work / fast / rate,
                difference=float((result - expected).abs().max() / expected.abs().max()),
            )
            rows.append(row)
            print(json.dumps(asdict(row)), flush=True)
    if wish.json:
        found = {"device": torch.cuda.get_device_name(), "torch": str(torch.__version__)}
        rates = {str(dtype).removeprefix("torch."): rate / 1e12 for dtype, rate in peaks.items()}
        report = {**found, "peak_tflops": rates, "rows": [asdict(row) for row in rows]}
        wish.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
