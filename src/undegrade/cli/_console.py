"""The one way in which commands print through rich: text as it is, lines whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["plain"]


def plain(*, stderr: bool = False) -> Console:
    """A console that takes nothing in a text for a style or an emoji, as in names such as ``[a].png`` or ``:100:.png``,
    and breaks no line, lest what is copied from it be wrong."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
