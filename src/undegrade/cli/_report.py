"""Where a command writes its figures: looked at before the work, and written whole or not at all."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TextIO

from undegrade.core.errors import InputError, UsageError
from undegrade.core.formats import SUFFIXES
from undegrade.core.names import same_file
from undegrade.core.replacing import replacing

__all__ = ["check_report", "write_report", "write_text"]


def check_report(path: Path | None, others: Iterable[str | Path | None] = (), option: str = "--json") -> None:
    """Refuses a report that would replace a picture or cannot be written, before hours are spent.

    Args:
        path: what ``option`` names; None where none is wanted, ``-`` for stdout.
        others: what else the call reads or records.
        option: its name.

    Raises:
        UsageError: so it is.
    """
    from undegrade import api

    if path is None or str(path) == "-":
        return
    if path.suffix.lower() in SUFFIXES or api.is_video(path):
        raise UsageError(f"{option} {path}: is the name of a picture or video: give another one")
    try:
        if path.is_dir():
            raise UsageError(f"{option} {path}: is a folder: give a file in it")
        named = [Path(other) for other in others if other is not None]
        if any(path.absolute() == other.absolute() or same_file(path, other) for other in named):
            raise UsageError(f"{option} {path}: would replace what this call reads or records: give another file")
        if path.is_file() or not path.exists():  # else a pipe or a device
            there = next(folder for folder in path.absolute().parents if folder.exists())
            tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written ({error.strerror or error})") from error


def write_report(path: Path, write: Callable[[TextIO], object]) -> None:
    """Lets ``write`` write to a file that appears when it is whole, or to stdout for ``-``. Missing folders are made.

    Raises:
        InputError: it cannot be written.
    """
    if str(path) == "-":
        write(sys.stdout)
        return
    through = path.exists() and not path.is_file()  # a pipe, for example of a shell's >(jq)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with nullcontext(path) if through else replacing(path) as place, place.open("w", encoding="utf-8") as file:
            write(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_text(path: Path, text: str) -> None:
    """``write_report`` of a text that is there already."""
    write_report(path, lambda file: file.write(text))
