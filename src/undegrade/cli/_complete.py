"""What the shell offers when Tab is pressed: names of tasks and weights. Nothing here imports torch."""

from __future__ import annotations

import os

__all__ = ["asked", "tasks", "weights"]


def asked() -> str | None:
    """The first word after the program's name, all of it or not yet, while a shell asks how the line may go on."""
    if "_UNDEGRADE_COMPLETE" not in os.environ:
        return None
    # bash tells the line by the one name, the other shells by the other; a quote may still be open.
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    return next((word for word in line.split()[1:] if not word.startswith("-")), "")


def tasks(incomplete: str) -> list[str]:
    """Names of tasks; after a comma, names that may stand next in a chain."""
    from undegrade import api

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in api.list_tasks() if name.startswith(last)]


def weights(incomplete: str) -> list[str]:
    """Ids of the known weights."""
    from undegrade import api

    return [name for name in api.list_weights() if name.startswith(incomplete)]
