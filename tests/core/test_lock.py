"""A lock file: one holder at a time, and plain errors where it cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from undegrade.core.lock import hold


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    let_go = hold(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        hold(tmp_path / "lock")
    let_go()
    hold(tmp_path / "lock")()


def test_a_file_of_something_else_cannot_be_locked(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    file.write_text("notes, and no lock: " * 20)
    with pytest.raises(OSError, match="not a database"):
        hold(file)
