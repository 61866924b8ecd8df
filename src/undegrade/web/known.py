"""The tasks and weights that a server offers: read once, and the tasks in words for people who never heard of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from undegrade import api

__all__ = ["offered", "plain", "tasks", "weights"]

PLAIN = {
    "auto": "Find out by itself",
    "denoising": "Noise",
    "jpeg_artifacts": "JPEG blocks",
    "deraining": "Rain",
    "dehazing": "Haze",
    "desnowing": "Snow",
    "motion_deblurring": "Motion blur",
    "defocus_deblurring": "Out of focus",
    "super_resolution": "Enlarge",
    "demosaicing": "Raw mosaic",
}
"""In the order in which they are offered; a task that does not stand here goes by its own title."""


@cache
def tasks() -> tuple[dict[str, Any], ...]:
    """All tasks as rows of the catalogue, each with the names of its ``weights``."""
    return tuple(row | {"weights": [one["name"] for one in weights(row["name"])]} for row in api.catalogue("tasks"))


@cache
def weights(task: str | None = None) -> tuple[dict[str, Any], ...]:
    """The weights, or those for a task, as rows of the catalogue."""
    if task is None:
        return tuple(api.catalogue("weights"))
    return tuple(row for row in weights() if row["task"] == task)


def plain(task: str) -> str:
    """What a task is called on the page."""
    return PLAIN.get(task) or next((row["title"] for row in tasks() if row["name"] == task), task)


def offered() -> list[dict[str, Any]]:
    """The tasks that have weights, in the page's order."""
    order = {name: number for number, name in enumerate(PLAIN)}
    rows = [row for row in tasks() if row["weights"]]
    return sorted(rows, key=lambda row: (order.get(row["name"], len(order)), row["title"]))
