"""File names from strangers: how they are shown, kept within what file systems take, and told apart on every disk."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

__all__ = [
    "LONGEST",
    "SLASHES",
    "Paths",
    "below",
    "exists",
    "folded",
    "is_file",
    "is_folder",
    "means_folder",
    "printable",
    "same_file",
    "several",
    "shortened",
]

Paths = str | Path | Sequence[str | Path]
"""One path or many."""
LONGEST = 255
"""Bytes that nearly every file system takes for one name."""
SLASHES = tuple({"/", os.sep})
"""A name that ends in one stands for a folder, be it there or not."""


def exists(path: str | Path) -> bool:
    """Whether anything is there. Where a name is too long for any disk, this, ``is_file`` and ``is_folder`` say no;
    pathlib's methods raise an OSError."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: str | Path) -> bool:
    """Whether a file is there: no folder, pipe or device."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there."""
    return os.path.isdir(path)  # noqa: PTH112


def means_folder(path: str | Path) -> bool:
    """Whether a name stands for a folder: one that is there, or is to be made."""
    return str(path).endswith(SLASHES) or is_folder(path)


def printable(text: str) -> str:
    """``text`` without anything that a terminal obeys or an encoding refuses: such characters become escapes.

    Names may hold line breaks, colour codes, marks that turn the writing direction, and bytes that are no UTF-8.
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def folded(name: str) -> str:
    """One form of all spellings of ``name`` that some file system takes for the same: lower case, composed letters."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def below(folder: Path) -> Iterator[Path]:
    """All files and folders below ``folder``, links to folders followed, no folder twice."""
    seen = set[str]()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link leads back
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in (*folders, *files))


def same_file(one: Path, other: Path) -> bool:
    """Whether both names stand for one file that is there, links included."""
    return exists(one) and exists(other) and one.samefile(other)


def several(paths: Paths) -> list[str | Path]:
    """One path or many as a list; a single text is not taken for its letters."""
    return [paths] if isinstance(paths, str | Path) else list(paths)


def shortened(name: str) -> str:
    """A file name of at most ``LONGEST`` bytes: the stem is cut and marked with a part of the SHA-256 of ``name``."""
    if len(name) * 4 <= LONGEST:
        return name
    raw = os.fsencode(name)
    if len(raw) <= LONGEST:
        return name
    ending = f"~{hashlib.sha256(raw).hexdigest()[:12]}{PurePath(name).suffix}"
    # A letter cut in two must not be left behind, on disks that take only UTF-8.
    return raw[: LONGEST - len(os.fsencode(ending))].decode("utf-8", "ignore") + ending
