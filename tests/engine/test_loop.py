"""Training: what must be equal to the bit, and that it learns."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import TINY, pictures, recipe

from undegrade.core.errors import InputError, UsageError
from undegrade.engine import checkpoint
from undegrade.engine.loop import DivergedError, train


@pytest.fixture
def data(tmp_path: Path) -> Path:
    pictures(tmp_path / "clean")
    return tmp_path


def losses(run: Path) -> list[float]:
    events = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [event["loss"] for event in events if event["event"] == "train"]


def assert_same_run(one: Path, other: Path) -> None:
    a, b = checkpoint.load(one / "last.pt"), checkpoint.load(other / "last.pt")
    assert a["step"] == b["step"]
    for part in ("net", "ema"):
        for name, value in a[part].items():
            assert torch.equal(value, b[part][name]), (part, name)


class Killed(BaseException):
    """Stands for the process's end."""


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_equals_not_having_stopped(data: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(recipe(data), runs=data / "whole", quiet=True)
    save = checkpoint.save

    def save_and_die(path: Path, state: dict[str, Any]) -> None:
        save(path, state)
        if path.name == "last.pt":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_die)
        with pytest.raises(Killed):
            train(recipe(data, workers=workers), runs=data / "cut", quiet=True)
    assert checkpoint.load(data / "cut" / "tiny" / "last.pt")["step"] == 3
    resumed = train(recipe(data, workers=workers), runs=data / "cut", quiet=True)
    assert_same_run(whole.parent, resumed.parent)


def test_a_run_of_another_recipe_is_not_continued(data: Path) -> None:
    train(recipe(data, steps=1), runs=data / "runs", quiet=True)
    with pytest.raises(UsageError, match="lr"):
        train(recipe(data, lr=2e-3), runs=data / "runs", quiet=True)
    train(recipe(data, lr=2e-3, steps=1), runs=data / "runs", quiet=True, fresh=True)


def test_accumulation_equals_the_large_batch(data: Path) -> None:
    one = train(recipe(data, steps=2), runs=data / "one", quiet=True)
    two = train(recipe(data, steps=2, accumulate=2), runs=data / "two", quiet=True)
    a, b = (checkpoint.load(card.parent / "last.pt")["net"] for card in (one, two))
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-4, atol=2e-6)


def test_two_processes_equal_one_with_the_joint_batch(data: Path) -> None:
    one = train(recipe(data, steps=2, held_back=0), runs=data / "one", quiet=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from runs import recipe; from undegrade.engine.loop import train\n"
        "data = Path(sys.argv[2])\n"
        "train(recipe(data, steps=2, held_back=0), runs=data / 'two', quiet=True, device='cpu')\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(data)]
    processes = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    folders = (one.parent, data / "two" / "tiny")
    a, b = (checkpoint.load(folder / "last.pt")["net"] for folder in folders)
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-4, atol=2e-6)
    logs = [[json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in folders]
    assert [len(log) for log in logs] == [1, 1]  # one process logs, for all
    assert logs[1][0]["loss"] == pytest.approx(logs[0][0]["loss"], rel=1e-4)


def test_it_learns(data: Path) -> None:
    card = train(recipe(data, steps=40, lr=1e-2, validate_every=40), runs=data / "runs", quiet=True)
    events = [json.loads(line) for line in (card.parent / "log.jsonl").read_text().splitlines()]
    score = [event for event in events if event["event"] == "validation"][-1]["sigma=25"]
    assert score > 20.7  # the noisy input has 20.2 dB
    assert card.with_suffix(".safetensors").exists()


def test_a_loss_that_is_not_finite_stops_the_run(data: Path) -> None:
    with pytest.raises(DivergedError, match=r"loss (nan|inf)"):
        train(
            recipe(data, steps=1, sources=[{"clean": "clean", "strength": {"sigma": math.nan}}]), runs=data, quiet=True
        )


def test_warm_start_takes_what_fits(data: Path) -> None:
    first = train(recipe(data, steps=1), runs=data / "first", quiet=True)
    start = str(first.with_suffix(".safetensors"))
    card = train(recipe(data, steps=1, lr=0.0, lr_min=0.0, start=start), runs=data / "second", quiet=True)
    a, b = (checkpoint.load(path.parent / "last.pt") for path in (first, card))
    for name, value in a["ema"].items():
        torch.testing.assert_close(b["net"][name], value.half().float())


def test_numbers_reach_the_network(data: Path) -> None:
    card = train(recipe(data, steps=1), runs=data / "runs", quiet=True)
    entry = checkpoint.load(card.parent / "last.pt")["net"]
    assert next(iter(entry.values())).shape[0] == TINY["width"]


def test_an_optional_source_may_be_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path / "clean")
    sources = [{"clean": "clean"}, {"clean": "more", "optional": True}]
    card = train(recipe(tmp_path, sources=sources, steps=1), runs=tmp_path)
    assert "more is not there: the run goes on without it" in capsys.readouterr().err
    assert "more" not in card.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="more"):
        train(recipe(tmp_path, sources=[{"clean": "clean"}, {"clean": "more"}], name="other"), runs=tmp_path)


def test_a_folder_of_clean_pictures_is_all_that_the_recipe_of_the_readme_takes(tmp_path: Path) -> None:
    pictures(tmp_path / "train")
    small = ["steps=1", "max_minutes=null", "patches=[{until: 1.0, size: 32, batch: 1}]", "held_back=1"]
    card = train("denoising_fast", [f"data={tmp_path}", *small, "start=null"], runs=tmp_path, quiet=True)
    assert "undegrade developers" not in card.read_text(encoding="utf-8")
