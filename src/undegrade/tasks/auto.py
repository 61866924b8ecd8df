"""Auto: finds out what is wrong with a picture and takes it away."""

from __future__ import annotations

from undegrade.tasks._task import Task

__all__ = ["TASK"]

TASK = Task(
    name="auto",
    title="Whatever is wrong",
    summary="Finds noise, JPEG blocks, blur, rain, haze and snow, and takes away what it found; else changes nothing.",
    protocol="rgb",
)
