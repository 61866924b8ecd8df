from __future__ import annotations

import pytest
import torch

from undegrade.core import device
from undegrade.core.errors import UsageError


def test_pick():
    assert device.pick("cpu") == torch.device("cpu")
    assert device.pick() in {torch.device(name) for name in ("cpu", "cuda", "mps")}
    with pytest.raises(UsageError, match=r"device=tpu9: not available here; there are: .*cpu"):
        device.pick("tpu9")
    with pytest.raises(UsageError, match=r"device=1\.5: not available here"):
        device.pick(1.5)


def test_memory_and_threads_are_plausible():
    assert 1 << 20 < device.free_memory(torch.device("cpu")) < 1 << 50
    assert device.threads() >= 1


def group(monkeypatch, folder, **files):
    """A container's folder of limits in place of the system's."""
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(device, "_CGROUP", folder)


def test_limit_of_a_container(monkeypatch, tmp_path):
    files = {
        "memory.max": "300000000\n",
        "memory.current": "250000000\n",
        "memory.stat": "anon 1\ninactive_file 70000\n",
    }
    group(monkeypatch, tmp_path, **files)
    assert device.host_memory() == 50_070_000


def test_limit_of_an_old_container(monkeypatch, tmp_path):
    files = {"memory__memory.limit_in_bytes": "300000000", "memory__memory.usage_in_bytes": "350000000"}
    group(monkeypatch, tmp_path, **files)
    assert device.host_memory() == 0


def test_cores_of_an_old_container(monkeypatch, tmp_path):
    for quota, cores in (("200000", 2), ("-1", 8)):
        group(monkeypatch, tmp_path, **{"cpu__cpu.cfs_quota_us": quota, "cpu__cpu.cfs_period_us": "100000"})
        monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: range(8), raising=False)
        assert device.threads() == cores


def test_no_limit(monkeypatch, tmp_path):
    group(monkeypatch, tmp_path, **{"memory.max": "max", "memory.current": "1", "cpu.max": "max 100000"})
    free, cores = device.host_memory(), device.threads()
    assert free > 1 << 20
    group(monkeypatch, tmp_path, **{"cpu.max": "100000 100000"})
    assert device.threads() == 1 <= cores
