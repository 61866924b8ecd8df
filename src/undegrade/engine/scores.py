"""What a scoring gives: each picture's figures and everything that they depend on, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SCHEMA", "EvalReport", "ImageScore"]

SCHEMA = 1


@dataclass(frozen=True)
class ImageScore:
    """One picture's scores.

    Attributes:
        name: of the input, without suffix.
        output, input: measure -> value, of the restored picture and of the untouched input.
        seconds: spent in restoring, without reading and scoring.
    """

    name: str
    output: Mapping[str, float]
    input: Mapping[str, float]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Flat: ``psnr``, ``ssim``, ..., ``input_psnr``, ..., ``seconds``."""
        figures = {**self.output, **{f"input_{measure}": value for measure, value in self.input.items()}}
        return {"name": self.name, **_rounded(figures), "seconds": round(self.seconds, 4)}


@dataclass(frozen=True)
class EvalReport:
    """Scores of a test set, with everything that a figure depends on.

    Attributes:
        task, weights: names; ``none`` for the untouched inputs.
        protocol: every choice of the ruler in words, see `Protocol.describe`.
        set: name of the test set's folder.
        strength: parameters of the synthetic degradation, or of the restorer.
        inputs: where the inputs come from: files, or made here and how; and how many in subfolders were left out.
        images: in natural order of their names.
        failed: name -> why it could not be scored.
        options: how the weights were run: ``tile``, ``ensemble``, ``device``, and the ``sha256`` of their file; empty
            for untouched inputs and restorers in hand.
        selection: which pictures: ``pairing`` or ``seed``, ``recursive`` and ``limit``.
        versions: of undegrade, torch and Python.
    """

    task: str
    weights: str
    protocol: Mapping[str, str]
    set: str
    strength: Mapping[str, Any]
    inputs: str
    images: tuple[ImageScore, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, float]:
        """Mean over the pictures of every measure and of the seconds, of their decibels rather than their errors."""
        rows = [image.to_dict() for image in self.images]
        return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0] if key != "name"} if rows else {}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, schema 1."""
        return {
            "schema": SCHEMA,
            "task": self.task,
            "weights": self.weights,
            "options": dict(self.options),
            "set": self.set,
            "strength": dict(self.strength),
            "inputs": self.inputs,
            "selection": dict(self.selection),
            "protocol": dict(self.protocol),
            "mean": _rounded(self.mean),
            "images": [image.to_dict() for image in self.images],
            "failed": dict(self.failed),
            "versions": dict(self.versions),
        }


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {key: round(value, 6) for key, value in figures.items()}
