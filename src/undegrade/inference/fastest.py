"""The fastest of several backends, found by running them and remembered for the machine."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undegrade.core.device import threads
from undegrade.core.errors import UndegradeError
from undegrade.core.replacing import replacing
from undegrade.inference.backend import Backend
from undegrade.weights.store import home

__all__ = ["HALF_TOLERANCE", "TOLERANCE", "fastest", "memory", "processor", "versions"]

TOLERANCE, HALF_TOLERANCE = 1e-4, 0.03
"""Largest difference to torch's result that a backend may have to be chosen, for pictures in 0..1."""

REPEATS = 3


def memory() -> Path:
    """The file that remembers. Deleting it forgets."""
    return home() / "fastest.json"


def fastest(candidates: Mapping[str, Callable[[], Backend]], what: str, x: Tensor, *, half: bool = False) -> Backend:
    """The backend that runs ``x`` in the least time.

    Args:
        candidates: name -> makes the backend; ``"torch"`` must be among them, its result is the measure.
        what: tells networks and precisions apart; machine, threads and versions are added.
        x: the input for timing.
        half: whether the candidates compute in half precision.
    """
    key = f"{what}; {_machine()}"
    known = _read()
    entry = known.get(key)
    name = entry.get("fastest") if isinstance(entry, dict) else None
    if isinstance(name, str) and name in candidates:
        return candidates[name]()
    made: dict[str, Backend] = {"torch": candidates["torch"]()}
    expected = made["torch"].run(x)
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    seconds = {"torch": _time(made["torch"], x)}
    for name, make in candidates.items():
        with suppress(UndegradeError, RuntimeError):  # one that cannot run this network is not the fastest
            made[name] = made.get(name) or make()
            if (made[name].run(x) - expected).abs().max() <= tolerance:
                seconds[name] = _time(made[name], x)
    best = min(seconds, key=seconds.__getitem__)
    _write({**_read(), key: {"fastest": best, "seconds": {name: round(value, 5) for name, value in seconds.items()}}})
    return made[best]


def _time(backend: Backend, x: Tensor) -> float:
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        backend.run(x)
        taken.append(time.perf_counter() - start)
    return min(taken)


def _machine() -> str:
    """What a measurement holds for."""
    count = min(threads(), torch.get_num_threads())
    packages = ", ".join(f"{package} {version}" for package, version in versions().items())
    return f"{platform.machine()} {processor()}, {count} threads; {packages}"


def versions() -> dict[str, str]:
    """Of the packages on which speed depends, as far as they are installed."""
    found = {}
    for package in ("undegrade", "torch", "onnxruntime", "openvino"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def processor() -> str:
    """Name of the processor and whether it computes in bfloat16, as far as the system tells."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        found = {line.split(":")[0].strip(): line.split(":", 1)[1].strip() for line in lines if ":" in line}
        flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in found.get("flags", "")]
        return " ".join([found.get("model name", ""), *flags]).strip()
    return platform.processor()


def _read() -> dict[str, Any]:
    try:
        table = json.loads(memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def _write(table: dict[str, Any]) -> None:
    path = memory()
    with suppress(OSError):  # a machine that keeps nothing measures again
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
