"""Time, peak memory and work of networks on every backend, beside what the machine can do at most.

Every figure comes from a process of its own. On the CPU the share of the peak is a ratio of CPU seconds, those of the
network and those of a large convolution, so that other programs disturb it little; ``seconds`` is what a user waits.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from undegrade.core.device import pick, threads
from undegrade.core.errors import UndegradeError, UnknownNameError, UsageError, one_line
from undegrade.core.heap import kept
from undegrade.core.memory import skeleton
from undegrade.core.names import exists
from undegrade.inference import runtimes
from undegrade.inference.backend import DTYPES, TorchBackend
from undegrade.inference.fastest import processor, versions
from undegrade.networks import catalog
from undegrade.weights import store
from undegrade.weights.load import build, open_weights

__all__ = ["bench", "gmacs", "megapixel_aim"]

SCHEMA = 1

AIM = 2.0
"""Seconds per megapixel on two cores that the default weights of a task may take on the fastest backend."""


def bench(
    *,
    networks: Sequence[str] = (),
    weights: Sequence[str] = (),
    preset: str | None = None,
    backends: Sequence[str] = (),
    size: int | tuple[int, int] = 512,
    device: str = "auto",
    dtype: str = "auto",
    repeats: int = 3,
    told: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Measure networks on backends.

    Args:
        networks: names; each with its default preset, or ``preset``, and fresh weights.
        weights: ids or files. Without networks and weights: the shipped ones, one of each architecture.
        preset: of the one network named.
        backends: default: all that are installed, without ``compile``.
        size: side, or height and width, of the picture.
        device, dtype: as for ``load``.
        repeats: runs after the first; the best counts.
        told: called with each result, and with what could not be measured (``"error"`` in place of figures).

    Returns:
        ``{"schema": 1, "machine": {...}, "results": [...], ...}`` as ``undegrade bench --json`` writes it.

    Raises:
        UsageError: a preset without one network.
        UnknownNameError: no such network, preset, weights, dtype or backend.
    """
    if preset is not None and len(networks) != 1:
        raise UsageError(f"preset={preset}: name the one network that it is of")
    if dtype not in ("auto", *DTYPES):
        raise UnknownNameError("dtype", dtype, ["auto", *DTYPES])
    for name in backends:
        if name not in ("auto", *runtimes.NAMES):
            raise UnknownNameError("backend", name, ["auto", *runtimes.NAMES])
    for name in networks:
        catalog.get(name).configure(preset)
    for name in weights:
        if name not in store.entries() and not exists(name):
            raise UnknownNameError("weights", name, list(store.entries()))
    height, width = (size, size) if isinstance(size, int) else size
    common = {"size": [height, width], "device": device, "dtype": dtype, "repeats": repeats}
    subjects = [{"network": name, "preset": preset} for name in networks] + [{"weights": name} for name in weights]
    results: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    machine = _machine(device, dtype)
    for subject in subjects or _shipped():
        for backend in backends or [name for name in runtimes.installed() if name != "compile"]:
            row = _in_process({**common, **subject, "backend": backend})
            if "error" in row:
                failed.append({**subject, "backend": backend, **row})
            else:
                rate = 2 * row["gmacs"] / row["cpu_seconds" if row["device"] == "cpu" else "seconds"]
                row["share_of_peak"] = round(rate / machine["peak_gflops"], 4)
                results.append(row)
            if told is not None:
                told(failed[-1] if "error" in row else row)
    return {
        "schema": SCHEMA,
        "machine": machine,
        "results": results,
        "failed": failed,
        "aim_seconds_per_megapixel": AIM,
        "fastest": megapixel_aim(results),
    }


def megapixel_aim(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each of the weights, the fastest float32 result, and whether it holds the aim on two cores.

    CPU seconds are divided by two: what two cores need when the work is shared well.
    """
    best: dict[str, dict[str, Any]] = {}
    for row in results:
        name = row["weights"] or row["network"]
        if row["device"] == "cpu" and row["dtype"] == "float32":
            seconds = row["cpu_seconds"] / (row["size"][0] * row["size"][1] / 1e6) / 2
            if name not in best or seconds < best[name]["seconds_per_megapixel"]:
                best[name] = {
                    "weights": name,
                    "backend": row["backend"],
                    "seconds_per_megapixel": round(seconds, 3),
                    "holds": seconds <= AIM,
                }
    return list(best.values())


def gmacs(module: nn.Module, channels: int, height: int, width: int) -> float:
    """Billions of multiply-adds in convolutions and matrix products for one picture."""
    shape = (1, channels, height, width)
    with torch.no_grad():
        try:
            with FlopCounterMode(display=False) as counter:
                skeleton(module)(torch.empty(shape, device="meta"))
        except RuntimeError:  # pyramid attention does not run without data
            with FlopCounterMode(display=False) as counter:
                module(torch.rand(shape))
    return float(counter.get_total_flops()) / 2e9


def _shipped() -> list[dict[str, Any]]:
    """Shipped weights, those of one architecture once."""
    found: dict[str, dict[str, Any]] = {}
    for name, stored in store.entries().items():
        card = stored.card
        if card.network in catalog.names():
            found.setdefault(f"{card.network} {dict(card.numbers)}", {"weights": name})
    return list(found.values())


def _in_process(job: dict[str, Any]) -> dict[str, Any]:
    """What ``_child`` finds in a fresh process."""
    done = subprocess.run(
        # -P: modules that lie in the current folder are not ours to run.
        [sys.executable, "-P", "-W", "ignore", "-m", "undegrade.engine.bench", json.dumps(job)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads()))},
        check=False,
    )
    with suppress(ValueError, IndexError):
        row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return row
    line = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return {"error": line}


def _machine(device: str, dtype: str) -> dict[str, Any]:
    found = _in_process({"peak": True, "device": device, "dtype": dtype})
    if "error" in found:
        raise UsageError(f"device={device}, dtype={dtype}: {found['error']}")
    return {"system": platform.platform(), "processor": processor(), **found, "versions": versions()}


def _child(job: dict[str, Any]) -> dict[str, Any]:
    """In the fresh process: the machine's peak, or one network on one backend."""
    device = pick("cpu" if job.get("backend") in ("onnx", "openvino") and job["device"] == "auto" else job["device"])
    if job.get("peak"):
        return {"device": _title(device), "threads": torch.get_num_threads(), "peak_gflops": _peak(device, job)}
    if job.get("weights"):
        loaded = open_weights(job["weights"])
        module, spec, config = loaded.module, loaded.spec, loaded.config
        preset = loaded.card.preset if loaded.card else None
    else:
        spec = catalog.get(job["network"])
        config = spec.configure(job["preset"])
        module, preset = build(spec, config).eval(), job["preset"] or spec.default
    height, width = (-(-max(side, spec.min_size) // spec.multiple_of) * spec.multiple_of for side in job["size"])
    channels = spec.channels(config)
    backend = runtimes.make(job["backend"], module, spec, config, device, job["dtype"])
    x = torch.rand(1, channels, height, width)
    before = _memory(device)
    with kept() if isinstance(backend, TorchBackend) else nullcontext():  # as a Restorer runs it
        backend.run(x)
        peak = _memory(device)
        seconds, cpu = _best(lambda: backend.run(x), job["repeats"], device)
    return {
        "network": spec.name,
        "preset": preset,
        "weights": job.get("weights"),
        "numbers": asdict(config),
        "backend": backend.name,
        "device": device.type,
        "size": [height, width],
        "dtype": _dtype(job["dtype"], device),
        "seconds": round(seconds, 5),
        "cpu_seconds": round(cpu, 5),
        "peak_mb": round(peak / 2**20, 1),
        "working_mb": round((peak - before) / 2**20, 1),
        "gmacs": round(gmacs(module.cpu(), channels, height, width), 3),
        "share_of_peak": None,
    }


def _dtype(asked: str, device: torch.device) -> str:
    if asked == "auto":
        return "float16" if device.type == "cuda" else "float32"
    return str(DTYPES[asked]).removeprefix("torch.")


def _title(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _peak(device: torch.device, job: dict[str, Any]) -> float:
    """GFLOP per second (on the CPU, per second of one core) of a large 3x3 convolution in the dtype."""
    dtype = getattr(torch, _dtype(job["dtype"], device))
    channels, side = (256, 64) if device.type == "cpu" else (1024, 256)
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(1, channels, side, side, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        conv(x)
        seconds, cpu = _best(lambda: conv(x), 8, device)
    flops = 2 * 9 * channels**2 * side**2
    return round(flops / (cpu if device.type == "cpu" else seconds) / 1e9, 1)


def _best(run: Callable[[], Any], repeats: int, device: torch.device) -> tuple[float, float]:
    """Seconds and CPU seconds, each of its best run."""
    taken = []
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append((time.perf_counter() - start, time.process_time() - cpu))
    return min(wall for wall, _ in taken), min(cpu for _, cpu in taken)


def _memory(device: torch.device) -> int:
    """Bytes: the most that this process held so far, on the GPU or in all; 0 where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    try:
        print(json.dumps(_child(json.loads(sys.argv[1]))))
    except UndegradeError as problem:
        print(json.dumps({"error": one_line(problem)}))
