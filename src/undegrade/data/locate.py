"""Where the pictures of a data set are, in whichever way the set is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from undegrade.core.errors import InputError, UsageError
from undegrade.data.folders import Key, Matching, Pair, list_pictures, match_folders, named
from undegrade.data.layouts import get

__all__ = ["Located", "locate"]


@dataclass(frozen=True)
class Located:
    """Where the pictures of a data set are.

    Attributes:
        matching: its pairs; in a clean set every picture is its own input.
        scale: how many times larger targets are than inputs.
        border: pixels by which targets are larger on every side.
        expected: how many there usually are; 0 if not known.
    """

    matching: Matching
    scale: int = 1
    border: int = 0
    expected: int = 0


def locate(
    root: Path | str | None = None,
    *,
    inputs: Path | str | None = None,
    targets: Path | str | None = None,
    layout: str | None = None,
    split: str = "test",
    pairing: Key | str = "stem",
    recursive: bool = False,
    scale: int = 1,
) -> Located:
    """A data set, named in one of three ways: a known one below ``root``, two folders, or clean pictures in ``root``.

    Raises:
        UsageError: none of the three, or more than one.
        InputError: there is no such folder, or no picture in it.
    """
    if layout is not None and root is not None and inputs is None and targets is None:
        known = get(layout)
        part = known.part(split)
        return Located(known.locate(root, split, scale=scale), known.factor(split, scale), part.border, part.count)
    if layout is None and root is None and inputs is not None and targets is not None:
        matching = match_folders(inputs, targets, pairing, recursive)
        if not matching.pairs and not matching.lonely_inputs:
            raise InputError(f"no pictures in '{inputs}': give the folder of the degraded ones")
        return Located(matching, scale)
    if layout is None and root is not None and inputs is None and targets is None:
        files = list_pictures(root, recursive)
        if not files:
            raise InputError(f"no pictures in '{root}': name a known data set, or look into subfolders (recursive)")
        return Located(Matching(tuple(Pair(name, file, file) for name, file in named(files, root))))
    raise UsageError("name the data one way: a folder of clean pictures, inputs and targets, or a known set's folder")
