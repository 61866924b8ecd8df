"""Training: what must be equal to the bit, and that it learns."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pickled_call import Bomb
from PIL import Image
from runs import TINY, pictures, recipe
from torch import Tensor

from undegrade import tasks
from undegrade.core.errors import InputError, UsageError, WeightsError
from undegrade.engine import checkpoint, loop
from undegrade.engine.loop import DivergedError, train
from undegrade.engine.run import Place, Run, _optimiser, open_patches
from undegrade.weights.card import WeightsCard


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


CHAIR = {"network": "chair", "preset": "chair_small", "numbers": {"width": 8, "blocks": 1}}  # normalises by batch
SMALL_FIRST = {"patches": [{"until": 0.4, "size": 16, "batch": 4}, {"until": 1.0, "size": 24, "batch": 2}]}


@pytest.mark.parametrize(
    ("workers", "changes"),
    [
        (0, {}),
        (2, {}),
        (0, {"optimiser": "muon", "precision": "bf16", "channels_last": True, "clip": 1.0}),
        (0, CHAIR | SMALL_FIRST | {"loss": {"multiscale_l1_fft": 1.0}, "warmup": 2}),
    ],
)
def test_resuming_equals_not_having_stopped(
    data: Path, workers: int, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recipe(data, **changes), runs=data / "whole", quiet=True)
    save = checkpoint.save

    def save_and_die(path: Path, state: dict[str, Any]) -> None:
        save(path, state)
        if path.name == "last.pt":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_die)
        with pytest.raises(Killed):
            train(recipe(data, workers=workers, **changes), runs=data / "cut", quiet=True)
    assert checkpoint.load(data / "cut" / "tiny" / "last.pt")["step"] == 3
    resumed = train(recipe(data, workers=workers, **changes), runs=data / "cut", quiet=True)
    assert_same_run(whole.parent, resumed.parent)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, partial(torch.device, "meta")])
def test_modes_of_the_program_around_change_nothing(
    data: Path, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    plain = train(recipe(data), runs=data / "plain", quiet=True)
    with mode():
        within = train(recipe(data), runs=data / "within", quiet=True)
    assert_same_run(plain.parent, within.parent)


def test_another_precision_around_is_refused(data: Path) -> None:
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(UsageError, match=r"autocast around .*precision=bf16"):
        train(recipe(data), runs=data / "runs", quiet=True)
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(UsageError, match=r"default type torch\.float64: training takes float32"):
            train(recipe(data), runs=data / "runs", quiet=True)
    finally:
        torch.set_default_dtype(torch.float32)
    assert not (data / "runs/tiny/last.pt").exists()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C counts, which a shell that runs the tests in the background would have ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_lets_the_step_end_and_saves_it(
    data: Path, workers: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"save_every": 100, "workers": workers}
    train(recipe(data, **settings), runs=data / "whole", quiet=True)
    step = loop._step

    def disturbed(run: Run, inputs: Tensor, targets: Tensor) -> Tensor:
        if run.step == 1:
            signal.raise_signal(signal.SIGINT)
        return step(run, inputs, targets)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_step", disturbed)
        with pytest.raises(KeyboardInterrupt):
            train(recipe(data, **settings), runs=data / "stopped")
    assert "stopped after step 2; the same command goes on from there" in "".join(capfd.readouterr())
    assert checkpoint.load(data / "stopped/tiny/last.pt")["step"] == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(recipe(data, **settings), runs=data / "stopped", quiet=True)
    assert_same_run(data / "whole/tiny", data / "stopped/tiny")


def test_a_run_of_another_recipe_is_not_continued(data: Path) -> None:
    train(recipe(data, steps=1), runs=data / "runs", quiet=True)
    with pytest.raises(UsageError, match="lr"):
        train(recipe(data, lr=2e-3), runs=data / "runs", quiet=True)
    train(recipe(data, lr=2e-3, steps=1), runs=data / "runs", quiet=True, fresh=True)


def test_warm_up_lasts_its_steps_under_a_time_budget_too(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    changes = {"steps": 6, "warmup": 4, "max_minutes": 600, "lr": 1e-3, "milestones": [0.99]}
    train(recipe(data, **changes), runs=data / "runs", quiet=True)
    events = map(json.loads, (data / "runs" / "tiny" / "log.jsonl").read_text().splitlines())
    rates = [event["lr"] for event in events if event["event"] == "train"]
    assert rates[:5] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3])


def test_accumulation_equals_the_large_batch(data: Path) -> None:
    one = train(recipe(data, steps=2), runs=data / "one", quiet=True)
    two = train(recipe(data, steps=2, accumulate=2), runs=data / "two", quiet=True)
    a, b = (checkpoint.load(card.parent / "last.pt")["net"] for card in (one, two))
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(("clip", "least", "most"), [(0.0, 0.9, 1.1), (1e-12, 0.0, 0.01)])
def test_clip_holds_the_gradient_down(data: Path, clip: float, least: float, most: float) -> None:
    run = Run(recipe(data, clip=clip), data / "runs", Place(0, 1, torch.device("cpu")))
    before = [parameter.detach().clone() for parameter in run.net.parameters()]
    rate = loop._set_rate(run)
    loop._step(run, *next(run.batches()))
    moved = max(
        float((now.detach() - then).abs().max()) for now, then in zip(run.net.parameters(), before, strict=True)
    )
    assert least <= moved / rate <= most  # the first step of Adam is the rate, unless the gradient is next to nothing


def test_vectors_are_not_decayed(data: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    groups = _optimiser(net, recipe(data, optimiser="adamw", weight_decay=0.1)).param_groups
    decayed = {parameter: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert [decayed[parameter] for parameter in net.parameters()] == [0.1, 0.0, 0.0, 0.0]


def test_the_speed_counts_the_targets_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 2.0, 3.0])
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(now))
    meter = loop.Meter()
    for _ in range(2):
        meter.add(torch.zeros(4, 3, 1000, 500), world=3)
    assert meter.read() == 6
    assert meter.read() == 0


def test_the_best_checkpoint_is_that_of_the_best_validation(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([20.0, 22.0, 21.0, 21.5])
    monkeypatch.setattr(loop, "validate", lambda run, log: {"mean": next(scores)})
    for steps in (9, 12):  # a run that goes on remembers it
        train(recipe(data, steps=steps), runs=data, quiet=True)
        assert checkpoint.load(data / "tiny/best.pt")["step"] == 6


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run(data: Path) -> None:
    (data / "tiny").mkdir()
    torch.save({"step": 1, "net": Bomb(data / "it ran")}, data / "tiny/last.pt")
    with pytest.raises(WeightsError, match=r"last\.pt: not a usable checkpoint"):
        train(recipe(data), runs=data, quiet=True)
    assert not (data / "it ran").exists()


def train_in_two_processes(data: Path, **changes: Any) -> None:
    """By `runs.recipe`, into ``data / "two"``."""
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from runs import recipe; from undegrade.engine.loop import train\n"
        "import gc, torch.distributed as dist; from torch.nn.parallel import DistributedDataParallel as Wrapper\n"
        "end, data = dist.destroy_process_group, Path(sys.argv[2])\n"
        "def end_alone():\n"  # who still holds the group then may hang, see Run.release
        "    assert not [one for one in gc.get_objects() if type(one) is Wrapper]\n"
        "    end()\n"
        "dist.destroy_process_group = end_alone\n"
        "train(recipe(data, **json.loads(sys.argv[3])), runs=data / 'two', quiet=True, device='cpu')\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(data), json.dumps(changes)]
    processes = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]


def test_two_processes_equal_one_with_the_joint_batch(data: Path) -> None:
    one = train(recipe(data, steps=2, held_back=0), runs=data / "one", quiet=True)
    train_in_two_processes(data, steps=2, held_back=0)
    folders = (one.parent, data / "two" / "tiny")
    a, b = (checkpoint.load(folder / "last.pt")["net"] for folder in folders)
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-4, atol=2e-6)
    logs = [[json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in folders]
    assert [len(log) for log in logs] == [1, 1]  # one process logs, for all
    assert logs[1][0]["loss"] == pytest.approx(logs[0][0]["loss"], rel=1e-4)


def test_two_processes_train_a_network_whose_loss_asks_for_one_of_its_results(data: Path) -> None:
    numbers = {key: value for key, value in TINY.items() if key != "middle_blocks"} | {"n_feat": 4, "num_cab": 1}
    other = {"network": "mhnet2023", "preset": "mhnet2023_nf40", "numbers": numbers, "loss": {"psnr": 1.0}}
    train_in_two_processes(data, steps=2, held_back=0, **other)
    assert checkpoint.load(data / "two/tiny/last.pt")["step"] == 2


def test_it_learns(data: Path) -> None:
    card = train(recipe(data, steps=40, lr=1e-2, validate_every=40), runs=data / "runs", quiet=True)
    events = [json.loads(line) for line in (card.parent / "log.jsonl").read_text().splitlines()]
    score = [event for event in events if event["event"] == "validation"][-1]["sigma=25"]
    assert score > 20.7  # the noisy input has 20.2 dB
    assert card.with_suffix(".safetensors").exists()


def test_a_loss_that_is_not_finite_stops_the_run(data: Path) -> None:
    with pytest.raises(DivergedError, match=r"loss (nan|inf)"):
        train(recipe(data, steps=1, loss={"l1": 1e39}), runs=data, quiet=True)


def test_warm_start_takes_what_fits(data: Path) -> None:
    first = train(recipe(data, steps=1), runs=data / "first", quiet=True)
    start = str(first.with_suffix(".safetensors"))
    card = train(recipe(data, steps=1, lr=0.0, lr_min=0.0, start=start), runs=data / "second", quiet=True)
    a, b = (checkpoint.load(path.parent / "last.pt") for path in (first, card))
    for name, value in a["ema"].items():
        torch.testing.assert_close(b["net"][name], value.half().float())


def test_a_warm_start_tells_what_did_not_fit(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = train(recipe(data, steps=1), runs=data / "first", quiet=True)
    wider = recipe(data, steps=1, numbers={**TINY, "width": 8}, start=str(first.with_suffix(".safetensors")))
    train(wider, runs=data / "second")
    assert re.search(r"start=\S+: \d+ of \d+ entries fit, the others begin afresh", capsys.readouterr().err)
    same = recipe(data, steps=1, start=str(first.parent / "last.pt"))
    card = train(same, runs=data / "third")
    assert "entries fit" not in capsys.readouterr().err
    assert WeightsCard.from_toml(card.read_text(encoding="utf-8"), "card").training.start == "tiny"


def test_weights_may_be_read_by_whom_their_card_may(data: Path) -> None:
    card = train(recipe(data, steps=1), runs=data / "runs", quiet=True)
    assert card.with_suffix(".safetensors").stat().st_mode == card.stat().st_mode


def test_a_source_without_the_networks_scale_is_refused_at_once(data: Path) -> None:
    wish = {"task": "super_resolution", "network": "nafsr", "preset": "nafsr_x2", "numbers": {}, "validate_at": []}
    with pytest.raises(UsageError, match="the network enlarges 2 times"):
        train(recipe(data, sources=[{"clean": "clean"}], **wish), runs=data / "runs", quiet=True)


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


def kill_after_saves(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies when ``last.pt`` has been written so many times, and the validation after that is logged."""
    save = checkpoint.save

    def save_and_count(path: Path, state: dict[str, Any]) -> None:
        nonlocal number
        if path.name == "last.pt" and number == 0:
            raise Killed
        save(path, state)
        number -= path.name == "last.pt"

    monkeypatch.setattr(checkpoint, "save", save_and_count)


def test_the_log_of_a_killed_run_tells_nothing_twice(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(recipe(data), runs=data / "whole", quiet=True).parent
    with monkeypatch.context() as patch:
        kill_after_saves(1, patch)
        with pytest.raises(Killed):
            train(recipe(data), runs=data / "cut", quiet=True)
    folder = data / "cut/tiny"
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"event": "tra')  # the disk was full
    (folder / ".last.pt.1.part").write_bytes(b"half a checkpoint")
    train(recipe(data), runs=data / "cut", quiet=True)
    told = [
        [(event["event"], event["step"]) for event in map(json.loads, (run / "log.jsonl").read_text().splitlines())]
        for run in (whole, folder)
    ]
    assert told[0] == told[1] == [("validation", 3), ("train", 6), ("validation", 6)]
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}


def test_a_finished_run_says_so_and_goes_on_with_more_steps(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(recipe(data, steps=2), runs=data, quiet=True)
    before = (data / "tiny/last.pt").read_bytes()
    card = train(recipe(data, steps=2), runs=data)
    assert "trained already, to step 2; raise steps" in capsys.readouterr().err
    assert card.exists()
    assert (data / "tiny/last.pt").read_bytes() == before
    train(recipe(data, steps=3), runs=data, quiet=True)
    assert yaml.safe_load((data / "tiny/recipe.yaml").read_text())["steps"] == 3


def test_a_fresh_run_forgets_the_older_checkpoints_at_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(recipe(data, steps=2), runs=data, quiet=True)
    kill_after_saves(0, monkeypatch)
    with pytest.raises(Killed):
        train(recipe(data, steps=2, held_back=0), runs=data, quiet=True, fresh=True)
    assert not list((data / "tiny").glob("*.pt"))


def test_lost_weights_replace_no_checkpoint(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = loop._step

    def step_and_lose(run: Run, inputs: Tensor, targets: Tensor) -> Tensor:
        loss = step(run, inputs, targets)
        if run.step == 4:
            next(run.net.parameters()).data.fill_(math.nan)
        return loss

    monkeypatch.setattr(loop, "_step", step_and_lose)
    with pytest.raises(DivergedError, match="start afresh"):
        train(recipe(data, steps=9), runs=data, quiet=True)
    assert checkpoint.load(data / "tiny/last.pt")["step"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validate_at": [{"sigm": 25}]}, "sigm"),
        ({"sources": [{"clean": "clean", "strength": {"sigm": 25}}]}, "sigm"),
        ({"loss": {"multiscale_l1": 1.0}}, "one size only"),
        ({"loss": {"multiscale_l1": 1.0, "l1": 1.0}}, "either all of them"),
        ({"numbers": {"colors": 1}}, "give the source 'grey: true'"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(data: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(recipe(data, **change), runs=data, quiet=True)
    assert not (data / "tiny").exists()


def test_devices_that_are_not_there(data: Path) -> None:
    for device in ("abacus", "cuda:9"):
        with pytest.raises(UsageError, match=f"device={device}: not available here"):
            train(recipe(data), runs=data, quiet=True, device=device)


def test_what_a_run_started_from_is_not_needed_to_go_on(data: Path) -> None:
    first = train(recipe(data, steps=1, name="first"), runs=data, quiet=True).with_suffix(".safetensors")
    train(recipe(data, steps=1, start=str(first)), runs=data, quiet=True)
    first.unlink()
    train(recipe(data, steps=2, start=str(first)), runs=data, quiet=True)
    assert checkpoint.load(data / "tiny/last.pt")["step"] == 2


def test_a_full_disk_leaves_the_last_checkpoint(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(recipe(data, steps=2), runs=data, quiet=True)
    before = (data / "tiny/last.pt").read_bytes()

    def full(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WeightsError, match=r"tiny/(best|last)\.pt: cannot be written \(No space"):
        train(recipe(data, steps=4), runs=data, quiet=True)
    assert (data / "tiny/last.pt").read_bytes() == before
    assert not list((data / "tiny").glob("*.part"))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named_in_one_line(data: Path, workers: int) -> None:
    for file in (data / "clean").iterdir():
        file.write_bytes(file.read_bytes()[:3000])  # the header says a size still
    with pytest.raises(InputError, match=r"\.png: ") as caught:
        train(recipe(data, workers=workers, held_back=0), runs=data, quiet=True)
    assert "Traceback" not in str(caught.value)
    assert "InputError" not in str(caught.value)


def test_sources_of_another_scale_than_the_network(data: Path) -> None:
    wrong = {"task": "sr", "network": "nafsr", "preset": "nafsr_x2", "numbers": {"width": 8, "blocks": 1}}
    sources = [{"clean": "clean", "strength": {"scale": 4}}]
    with pytest.raises(UsageError, match="give the sources the network's scale"):
        train(recipe(data, **wrong, sources=sources, validate_at=[], steps=1), runs=data, quiet=True)


def test_at_least_one_source_must_be_there(data: Path) -> None:
    with pytest.raises(InputError, match="not one of the recipe's sources"):
        train(recipe(data, sources=[{"clean": "more", "optional": True}]), runs=data, quiet=True)


SR4 = {"task": "sr", "network": "nafsr", "preset": "nafsr_x4", "numbers": {"width": 8, "blocks": 1}, "validate_at": []}
CLEAN4 = {"sources": [{"clean": "clean", "strength": {"scale": 4}}]}


def test_a_later_phase_of_no_multiple_of_the_scale_is_refused_before_the_first(data: Path) -> None:
    phases = [{"until": 0.5, "size": 32, "batch": 2}, {"until": 1.0, "size": 34, "batch": 2}]
    with pytest.raises(UsageError, match="size=34 of a patch phase: the network enlarges 4 times"):
        train(recipe(data, **SR4, **CLEAN4, patches=phases), runs=data, quiet=True)
    assert not (data / "tiny").exists()


@pytest.mark.parametrize(("changes", "least"), [({}, 12), (SR4 | CLEAN4, 24)])
def test_a_crop_too_small_to_be_scored_is_refused_before_the_first_step(
    data: Path, changes: dict[str, Any], least: int
) -> None:
    with pytest.raises(UsageError, match=f"validate_crop={least - 1}: pictures of {least} pixels"):
        train(recipe(data, **changes, validate_crop=least - 1), runs=data, quiet=True)
    train(recipe(data, **changes, validate_crop=least, steps=1), runs=data, quiet=True)


def test_pictures_too_small_to_be_scored_are_not_held_back_for_super_resolution(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (data / "clean").iterdir():
        with Image.open(file) as picture:
            picture.crop((0, 0, 20, 20)).save(file)
    whole = recipe(data, **SR4, **CLEAN4, steps=1)
    assert not open_patches(whole, tasks.get("super_resolution")).validation
    train(whole, runs=data)
    least = open_patches(whole, tasks.get("super_resolution")).least
    assert f"held_back=1: no source can spare a picture of {least} pixels a side" in capsys.readouterr().err
    train(recipe(data, **SR4, **CLEAN4, steps=1, held_back=0), runs=data, fresh=True)
    assert "held_back" not in capsys.readouterr().err


def test_an_alias_of_the_task_makes_weights_for_the_task(data: Path) -> None:
    card = train(recipe(data, task="denoise", steps=1), runs=data, quiet=True)
    assert WeightsCard.from_toml(card.read_text()).task == "denoising"


def test_layers_to_validate_with_lie_where_those_to_train_with_do(data: Path) -> None:
    layers = {"strength": {"layers": "clean"}}
    rainy = {"task": "deraining", "sources": [{"clean": "clean", **layers}], "validate_at": [{"layers": "clean"}]}
    card = train(recipe(data, **rainy, steps=1), runs=data, quiet=True)
    assert list(WeightsCard.from_toml(card.read_text()).training.validation) == ["layers=clean", "mean"]
