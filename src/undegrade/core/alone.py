"""The lock for code that changes the state of the whole process, which one thread at a time may do."""

from __future__ import annotations

import threading

__all__ = ["ALONE"]

ALONE = threading.RLock()
"""Held while warnings are silenced, while Pillow's limits are ours, while torch records a network, and while it is told
what a pickle may hold or what type new tensors have."""
