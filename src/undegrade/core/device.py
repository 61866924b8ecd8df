"""Which device to compute on, how much of its memory is free, and how many threads are worth having."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from undegrade.core.errors import UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["free_memory", "host_memory", "pick", "threads"]

_CGROUP = Path("/sys/fs/cgroup")
_GUESS = 4 << 30  # where the system does not tell


def pick(device: str | torch.device = "auto") -> torch.device:
    """The device called ``device``; ``"auto"`` is CUDA, then Apple's MPS, then the CPU.

    Raises:
        UsageError: no such device, or this machine or this build of torch does not have it.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        picked = torch.device(device)
        torch.empty(1, device=picked)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        there = [name for name in ("cuda", "mps") if getattr(torch, name).is_available()]
        raise UsageError(f"device={device}: not available here; there are: {', '.join([*there, 'cpu'])}") from error
    return picked


def free_memory(device: torch.device) -> int:
    """Bytes that a computation on ``device`` may take without pushing anyone out."""
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch's own allocator holds but does not use is free for us as well.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return min(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(), host_memory())
    return host_memory()


def host_memory() -> int:
    """Bytes of main memory that are free, the limits of containers (cgroup v1 and v2) included."""
    limits = [_cgroup_free("memory.max", "memory.current", "memory.stat")]
    limits.append(_cgroup_free("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"))
    limits.append(_available())
    return max(0, min((limit for limit in limits if limit is not None), default=_GUESS))


def threads() -> int:
    """How many threads this process may keep busy: its share of the cores, the quotas of containers (cgroup v1 and v2)
    included."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    old = _words(_CGROUP / "cpu/cpu.cfs_quota_us") + _words(_CGROUP / "cpu/cpu.cfs_period_us")  # cgroup v1
    quota = _words(_CGROUP / "cpu.max") or old
    if len(quota) == 2 and quota[0].isdigit():  # without a quota "max", in v1 -1
        cores = min(cores, max(1, round(int(quota[0]) / int(quota[1]))))
    return cores


def _available() -> int | None:
    """What the kernel calls available, else free pages, else unknown."""
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _cgroup_free(limit: str, usage: str, stat: str) -> int | None:
    words, used = _words(_CGROUP / limit), _words(_CGROUP / usage)
    if not words or not used or not words[0].isdigit():
        return None
    # Cached file pages count as used, but make way at once.
    cached = [int(line.split()[1]) for line in _lines(_CGROUP / stat) if line.startswith("inactive_file ")]
    return int(words[0]) - int(used[0]) + sum(cached)


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
