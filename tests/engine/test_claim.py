"""Two trainings in one folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import pictures, recipe

from undegrade.core.errors import InputError, UsageError
from undegrade.engine.loop import train

HOLD = """
import sys
from pathlib import Path
from undegrade.engine.claim import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that trains in the folder of the run "tiny"."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "tiny")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_training_is_refused_until_the_first_is_gone(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    pictures(tmp_path / "clean")
    with pytest.raises(UsageError, match="tiny: another training is at work there"):
        train(recipe(tmp_path, steps=1), runs=tmp_path, quiet=True)
    assert not (tmp_path / "tiny/recipe.yaml").exists()
    assert train(recipe(tmp_path, name="second", steps=1), runs=tmp_path, quiet=True).exists()
    other.kill()
    other.wait()
    assert train(recipe(tmp_path, steps=1), runs=tmp_path, quiet=True).exists()
    assert train(recipe(tmp_path, steps=2), runs=tmp_path, quiet=True).exists()


def test_a_training_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        train(recipe(tmp_path), runs=tmp_path, quiet=True)
    assert not (tmp_path / "tiny").exists()
