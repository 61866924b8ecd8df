"""The training loop. Read it from top to bottom: step, report, validate, save; at the end, pack."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist

from undegrade.core.device import pick
from undegrade.core.errors import UndegradeError, UsageError
from undegrade.core.heap import kept
from undegrade.engine.claim import claimed
from undegrade.engine.log import RunLog
from undegrade.engine.recipe import Recipe
from undegrade.engine.run import Place, Run
from undegrade.engine.schedule import learning_rate
from undegrade.engine.stopping import Stop, stopping
from undegrade.engine.validate import validate

__all__ = ["DivergedError", "train"]

LOG_EVERY = 50
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class DivergedError(UndegradeError):
    """The loss became NaN or infinite; the last good checkpoint is kept."""


def train(
    recipe: Recipe | str | Path,
    overrides: Sequence[str] = (),
    *,
    runs: Path | str = "runs",
    device: str = "auto",
    fresh: bool = False,
    quiet: bool = False,
) -> Path:
    """Trains by ``recipe`` and returns the packed weights' card (safetensors beside it), usable by ``restore`` at once.

    A run that was interrupted goes on from its last checkpoint, bit-equal to not having stopped (unless ``max_minutes``
    or a non-deterministic device is in play). Ctrl-C lets the step end and saves it. Under ``torchrun`` every process
    takes its share of each batch. That the program around is in a mode without gradients, or has a default device,
    changes nothing.

    Args:
        recipe: a Recipe, a YAML file, or the name of a shipped recipe.
        overrides: ``key=value`` changes, values in YAML.
        runs: folder in which the run's own folder is made.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` ...
        fresh: start anew even if the run's folder holds a checkpoint.
        quiet: no progress line.

    Raises:
        UsageError: the recipe is wrong, the run's folder belongs to another recipe or a training under way, or the
            program around computes in another precision than float32.
        DivergedError: the loss is no longer finite.
    """
    wished = Recipe.load(recipe, overrides) if not isinstance(recipe, Recipe) else recipe
    recipe = wished.with_what_is_there()
    folder = Path(runs) / recipe.name
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(_processes(device))
        stack.enter_context(_undisturbed(place.device))
        if place.rank == 0:
            stack.enter_context(claimed(folder))
        stack.enter_context(kept())
        stop = stack.enter_context(stopping(alone=place.world == 1))
        run = Run(recipe, folder, place, fresh)
        try:
            with RunLog(run.folder, recipe.steps, after=run.step, quiet=quiet, leads=run.leads) as log:
                for note in run.notes:
                    log.say(note)
                for source in wished.sources:
                    if source not in recipe.sources:
                        missing = wished.resolve(source.clean or source.inputs)
                        log.say(f"{missing} is not there: the run goes on without it")
                if recipe.held_back and not run.patches.validation:
                    log.say(
                        f"held_back={recipe.held_back}: no source can spare a picture of {run.patches.least} pixels a "
                        "side or more (each keeps at least half of its own): the run goes on without validation"
                    )
                if run.clock.done:
                    log.say(
                        f"{run.folder}: trained already, to step {run.step}; raise steps (or max_minutes) to go on, "
                        "give another name, or start afresh (--fresh)"
                    )
                log.advance(run.clock.progress)
                return _train(run, log, stop)
        finally:
            run.release()


def _train(run: Run, log: RunLog, stop: Stop) -> Path:
    recipe, meter = run.recipe, Meter()
    for inputs, targets in run.batches():
        rate = _set_rate(run)
        loss = _step(run, inputs, targets)
        run.finish_step()
        meter.add(targets, run.place.world)

        if run.due(LOG_EVERY):
            log.event("train", run.step, loss=_finite(run.place.mean(loss), run), lr=rate, mpx_per_s=meter.read())
            log.advance(run.clock.progress)
        if run.due(recipe.validate_every) or run.due(recipe.save_every):
            run.gather()
            _refuse_broken(run)
        if run.leads and run.patches.validation and run.due(recipe.validate_every):
            run.scores = validate(run, log)
            if run.scores["mean"] > run.best:
                run.best = run.scores["mean"]
                run.save("best.pt")
        if run.leads and run.due(recipe.save_every):
            run.save("last.pt")
        if stop.number and not run.clock.done:
            _refuse_broken(run)
            run.save("last.pt")
            log.say(f"stopped after step {run.step}; the same command goes on from there")
            return run.folder
    return run.pack() if run.leads else run.folder / f"{recipe.name}.toml"


def _set_rate(run: Run) -> float:
    """The learning rate of the coming step, told to the optimiser."""
    recipe, timed = run.recipe, bool(run.recipe.max_minutes)
    rate = learning_rate(
        run.clock.progress if timed else (run.step + 1) / recipe.steps,
        peak=recipe.lr,
        floor=recipe.lr_min,
        warmup=0 if timed else recipe.warmup / recipe.steps,
        milestones=recipe.milestones,
    )
    if timed:  # nobody knows which share of the time the first steps take
        rate *= min((run.step + 1) / max(recipe.warmup, 1), 1)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    return rate


def _step(run: Run, inputs: Tensor, targets: Tensor) -> Tensor:
    """One optimiser step; the mean loss over the micro-batches."""
    recipe, module, scaler = run.recipe, run.module, run.scaler
    parts = list(zip(inputs.chunk(recipe.accumulate), targets.chunk(recipe.accumulate), strict=True))
    total = torch.zeros((), device=inputs.device)
    for number, (x, y) in enumerate(parts, start=1):
        # Gradients of all processes are averaged once, after the last micro-batch.
        waiting = number < len(parts) and isinstance(module, nn.parallel.DistributedDataParallel)
        if run.sharded:
            module.set_requires_gradient_sync(number == len(parts))  # type: ignore[operator]
        with module.no_sync() if waiting else contextlib.nullcontext():  # type: ignore[operator]
            with torch.autocast(inputs.device.type, DTYPES[recipe.precision], enabled=recipe.precision != "float32"):
                loss = module(x, y) / len(parts)
            scaler.scale(loss).backward()
        total += loss.detach()
    if recipe.clip:
        scaler.unscale_(run.optimiser)
        nn.utils.clip_grad_norm_(run.net.parameters(), recipe.clip)
    scaler.step(run.optimiser)
    scaler.update()
    run.optimiser.zero_grad(set_to_none=True)
    return total


def _finite(loss: Tensor, run: Run) -> float:
    value = float(loss)
    if not math.isfinite(value):
        raise _diverged(f"loss {value}", run)
    return value


def _refuse_broken(run: Run) -> None:
    """Weights that are lost must not replace those of the last checkpoint."""
    if run.broken:
        raise _diverged("weights with NaN or infinity", run)


def _diverged(what: str, run: Run) -> DivergedError:
    return DivergedError(
        f"{run.recipe.name}: {what} at step {run.step}; lower lr or set clip, and start afresh (--fresh) or under "
        f"another name: what {run.folder} holds is from before"
    )


class Meter:
    """Counts target pixels between two readings."""

    def __init__(self) -> None:
        self._pixels, self._since = 0, time.perf_counter()

    def add(self, targets: Tensor, world: int) -> None:
        """One batch (B, C, H, W) of one of ``world`` processes."""
        self._pixels += targets.shape[0] * targets.shape[-2] * targets.shape[-1] * world

    def read(self) -> float:
        """Megapixels per second since the last reading."""
        now = time.perf_counter()
        speed = self._pixels / (now - self._since) / 1e6
        self._pixels, self._since = 0, now
        return speed


@contextlib.contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Out of the modes that this thread is in, as far as one can leave them.

    Of autocast one cannot: what it keeps of the weights it forgets when the outermost is left, and that is not ours.
    And the default type is the whole process's.
    """
    chosen = torch.get_default_dtype()
    if chosen != torch.float32:
        raise UsageError(f"default type {chosen}: training takes float32: torch.set_default_dtype(torch.float32)")
    if torch.is_autocast_enabled(device.type):
        raise UsageError("torch.autocast around a training: leave it, and give the recipe a precision (precision=bf16)")
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":  # a mode that costs a little with every call of torch
            stack.enter_context(torch.device("cpu"))
        yield


@contextlib.contextmanager
def _processes(device: str) -> Iterator[Place]:
    """This process among its fellows; joins the group that ``torchrun`` announces."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if world == 1:
        yield Place(0, 1, pick("cpu" if device == "auto" and not cuda else device))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda:
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Place(dist.get_rank(), world, torch.device("cuda", local) if cuda else torch.device("cpu"))
    finally:
        dist.destroy_process_group()
