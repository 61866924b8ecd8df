"""Keeping memory that was freed, for the next layer or the next training step.

The C library of Linux maps every block of 32 MB and more anew and unmaps it when it is freed, and the kernel zeroes
all of its pages each time. A network frees and takes such maps at every layer: a tenth of the time and more on large
pictures, more in training.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

__all__ = ["kept"]

_MMAP_THRESHOLD, _MMAP_MAX, _TRIM_THRESHOLD = -3, -4, -1  # of mallopt(3)

_LOCK = Lock()
_INSIDE: list[None] = []


@contextmanager
def kept() -> Iterator[None]:
    """Inside, freed memory stays in the process; it goes back to the system when the last of all threads has left.

    Does nothing where the C library is not glibc.
    """
    library = _glibc()
    with _LOCK:
        _INSIDE.append(None)
        if library and len(_INSIDE) == 1:
            library.mallopt(_MMAP_MAX, 0)
            library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE.pop()
            if library and not _INSIDE:
                # To what glibc comes by itself, after large blocks: any setting stops it from adapting.
                library.mallopt(_MMAP_MAX, 1 << 16)
                library.mallopt(_MMAP_THRESHOLD, 32 << 20)
                library.mallopt(_TRIM_THRESHOLD, 64 << 20)
                library.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The library, or None."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
