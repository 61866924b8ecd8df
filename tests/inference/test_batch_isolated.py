"""A child process that is killed or crashes costs one picture at most, and is tried again with smaller tiles."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import Negative, picture

from undegrade import load
from undegrade.core import image
from undegrade.core.errors import UsageError, WeightsError
from undegrade.inference import engines, scan
from undegrade.inference.isolate import _Smaller, published
from undegrade.inference.manifest import Manifest
from undegrade.inference.outcome import Outcome
from undegrade.inference.run import HOST_BUDGET


def refused() -> Negative:
    raise WeightsError("no such weights")


def test_a_killed_child_is_told_and_the_picture_done_with_smaller_tiles(tmp_path: Path) -> None:
    for name, height in (("a", 4), ("b", 9), ("c", 4)):
        picture(tmp_path / f"in/{name}.png", size=(6, height))
    (tmp_path / "deaths").mkdir()
    make = partial(Negative, deadly=9, deaths=tmp_path / "deaths", tame=HOST_BUDGET >> 22)
    jobs = scan.scan([tmp_path / "in"], tmp_path / "out")
    outcomes = {outcome.source.stem: outcome for outcome in engines.run(jobs, make, engine="isolated")}
    assert {name: outcome.status for name, outcome in outcomes.items()} == dict.fromkeys("abc", "done")
    assert "was killed (SIGKILL: most likely the memory ran out); done again with smaller tiles" in " ".join(
        outcomes["b"].notes
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]
    for name in "abc":
        expected = 255 - image.load_rgb(tmp_path / f"in/{name}.png")
        assert np.array_equal(image.load_rgb(tmp_path / f"out/{name}.png"), expected)
    assert {int(path.name) for path in (tmp_path / "deaths").iterdir()} == {1 << 40}


def test_a_picture_that_always_crashes_fails_alone(tmp_path: Path) -> None:
    for name, height in (("a", 9), ("b", 4)):
        picture(tmp_path / f"in/{name}.png", size=(6, height))
    jobs = scan.scan([tmp_path / "in"], tmp_path / "out")
    make = partial(Negative, deadly=9, signal=signal.SIGSEGV)
    outcomes = {outcome.source.stem: outcome for outcome in engines.run(jobs, make, engine="isolated")}
    assert outcomes["a"].error.endswith("a.png: the process that restores it crashed (SIGSEGV), 3 times")
    assert outcomes["b"].status == "done"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]


def test_a_picture_of_which_nobody_understands_the_child_fails_alone(tmp_path: Path) -> None:
    for name, height in (("a", 4), ("b", 9), ("c", 4)):
        picture(tmp_path / f"in/{name}.png", size=(6, height))
    jobs = scan.scan([tmp_path / "in"], tmp_path / "out")
    outcomes = {
        outcome.source.stem: outcome for outcome in engines.run(jobs, partial(Negative, babbling=9), engine="isolated")
    }
    assert outcomes["b"].error.endswith("b.png: the process that restores it said what cannot be read, 3 times")
    assert (outcomes["a"].status, outcomes["c"].status) == ("done", "done")
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["a.png", "c.png"]


def test_children_where_the_system_lacks_signals_and_forks(tmp_path: Path) -> None:
    code = (
        "import functools, multiprocessing.context, signal, time\n"
        "del multiprocessing.context.ForkServerContext, signal.SIGKILL\n"
        "from undegrade.inference.isolate import _Child\n"
        "child = _Child(functools.partial(time.sleep, 600), {})\n"
        "child._process.terminate()\n"
        "print(child.reason())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "crashed (SIGTERM)\n"), done.stderr


def test_a_result_that_somebody_removes_fails_alone(tmp_path: Path) -> None:
    job = scan.Job(tmp_path / "a.png", tmp_path / "out.png")
    outcome = Outcome(job.source, job.target, "done")
    with Manifest(tmp_path / "m.db", {}) as record:
        told = published(job, outcome, tmp_path / ".gone.part", record.publish)
    assert told.status == "failed"
    assert str(job.source) in told.error


def test_what_cannot_be_made_is_told(tmp_path: Path) -> None:
    jobs = scan.plan([picture(tmp_path / "a.png")])
    with pytest.raises(WeightsError, match="no such weights"):
        list(engines.run(jobs, refused, engine="isolated"))
    with pytest.raises(UsageError, match="engine=isolated"):
        engines.run(jobs, Negative(), engine="isolated")
    with pytest.raises(UsageError, match="unknown engine 'rey': did you mean 'ray'"):
        engines.run(jobs, Negative, engine="rey")
    assert list(engines.run([], Negative, engine="isolated")) == []


def test_auto_too_is_tried_again_with_smaller_tiles() -> None:
    auto = load("auto", max_memory=2.0**30)
    grey = image.Picture(torch.full((3, 40, 40), 0.5))
    assert torch.equal(_Smaller(auto, 1).picture(grey).pixels, auto.picture(grey).pixels)
    assert _Smaller(auto, 1)._options["max_memory"] == 1 << 28
