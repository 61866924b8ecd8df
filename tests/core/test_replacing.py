"""Files that appear whole: what goes wrong is told of the name that was asked for."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from undegrade.core.replacing import replacing


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    taken, homeless = tmp_path / "taken", tmp_path / "nowhere" / "file"
    taken.mkdir()
    for wanted in (taken, homeless):
        with pytest.raises(OSError, match=wanted.name) as raised, replacing(wanted) as part:
            part.write_text("new")
        assert (raised.value.filename, raised.value.filename2) == (str(wanted), None)
    with pytest.raises(FileNotFoundError) as raised, replacing(tmp_path / "copy"):
        (tmp_path / "source").read_text()
    assert raised.value.filename == str(tmp_path / "source")
    assert list(tmp_path.iterdir()) == [taken]


def test_an_error_that_names_nothing_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    wanted = tmp_path / "file"
    with pytest.raises(OSError, match="full") as raised, replacing(wanted):
        raise OSError(errno.ENOSPC, "full")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(wanted))


def test_the_longest_names_are_written(tmp_path: Path) -> None:
    wanted = tmp_path / f"{'é' * 125}.json"  # 255 bytes, which disks take
    with replacing(wanted) as part:
        part.write_text("new")
    assert wanted.read_text() == "new"
    assert list(tmp_path.iterdir()) == [wanted]
