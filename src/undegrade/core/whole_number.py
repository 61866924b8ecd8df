"""Whole numbers in words of users: options, addresses, headers."""

from __future__ import annotations

__all__ = ["whole_number"]


def whole_number(word: str) -> int | None:
    """The number that ``word`` writes in decimal digits alone; None for other words.

    So for thousands of digits, of which Python makes no number.
    """
    try:
        return int(word) if word.isdecimal() else None
    except ValueError:
        return None
