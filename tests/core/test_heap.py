"""Freed memory is kept for the next step, and goes back to the system afterwards."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from undegrade.core.heap import kept

BLOCK = 64 << 20
PAGES = BLOCK // resource.getpagesize()


def faults(work: Callable[[], object]) -> int:
    """Pages that the system had to map."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def fill() -> None:
    bytearray(b"1") * BLOCK


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def main() -> None:
    """In a process of its own, whose heap nobody else has touched."""
    with kept():
        fill()
        with kept():
            assert faults(fill) < PAGES / 10
        assert faults(fill) < PAGES / 10  # the outer one still holds
        before = resident()
    assert resident() < before - PAGES / 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_memory_is_kept_inside_alone():
    subprocess.run([sys.executable, __file__], check=True)


def test_an_error_leaves_it():
    with pytest.raises(ZeroDivisionError), kept():
        1 / 0  # noqa: B018
    with kept():
        pass


if __name__ == "__main__":
    main()
