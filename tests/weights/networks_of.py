"""Which network a stored file belongs to."""

from __future__ import annotations


def network_of(stem: str) -> str:
    """The network that a stored file's name begins with."""
    name = stem.split("_", maxsplit=1)[0]
    return "pa_edsr" if name == "paedsr" else name
