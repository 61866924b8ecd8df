"""Addresses of this machine."""

from __future__ import annotations

__all__ = ["LOOPBACK"]

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Under which nobody but this machine itself reaches it."""
