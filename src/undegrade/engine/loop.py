"""The training loop. Read it from top to bottom: prepare, then step, average, log, validate, save; at the end, pack."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch import distributed as dist

from undegrade import networks, tasks
from undegrade._version import __version__
from undegrade.core.errors import UndegradeError, UsageError
from undegrade.data.loader import batches
from undegrade.data.patches import Patches
from undegrade.engine import checkpoint
from undegrade.engine.ema import Ema
from undegrade.engine.log import RunLog
from undegrade.engine.recipe import Recipe
from undegrade.engine.schedule import learning_rate
from undegrade.engine.step import TrainStep
from undegrade.engine.validate import validate
from undegrade.networks._spec import NetworkSpec
from undegrade.tasks import Task

__all__ = ["DivergedError", "open_patches", "pack_run", "train"]

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
    or a non-deterministic device is in play). Under ``torchrun`` every process takes its share of each batch.

    Args:
        recipe: a Recipe, a YAML file, or the name of a shipped recipe.
        overrides: ``key=value`` changes, values in YAML.
        runs: folder in which the run's own folder is made.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` ...
        fresh: start anew even if the run's folder holds a checkpoint.
        quiet: no progress line.

    Raises:
        UsageError: the recipe is wrong, or the run's folder belongs to another recipe.
        DivergedError: the loss is no longer finite.
    """
    recipe = Recipe.load(recipe, overrides) if not isinstance(recipe, Recipe) else recipe
    with _processes(device) as (rank, world, target):
        return _train(recipe, Path(runs) / recipe.name, rank, world, target, fresh, quiet)


def _train(recipe: Recipe, folder: Path, rank: int, world: int, device: torch.device, fresh: bool, quiet: bool) -> Path:
    torch.manual_seed(recipe.seed)
    task, spec = tasks.get(recipe.task), networks.catalog.get(recipe.network)
    config = spec.configure(recipe.preset, **recipe.numbers)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    net = spec.build(config).to(device, memory_format=layout)  # type: ignore[call-overload]
    if recipe.start:
        _start_from(net, spec, config, recipe.start)

    patches = open_patches(recipe, task)
    ema = Ema(net, recipe.ema)
    optimiser = _optimiser(net, recipe)
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
    state = State()
    if (folder / "last.pt").exists() and not fresh:
        state = _resume(folder / "last.pt", recipe, net, ema, optimiser, scaler)
    elif rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.to_dict(), sort_keys=False), encoding="utf-8")
        (folder / "log.jsonl").unlink(missing_ok=True)

    step_module: nn.Module = TrainStep(net, recipe.loss).train()
    if recipe.compile:
        step_module = torch.compile(step_module, dynamic=False)  # type: ignore[assignment]
    if world > 1:
        step_module = nn.parallel.DistributedDataParallel(step_module)

    clock = Clock(recipe, state.minutes)
    stream = batches(
        patches,
        lambda step: recipe.patch_at(clock.progress(step)),
        first=state.step,
        workers=recipe.workers,
        rank=rank,
        world=world,
    )
    with RunLog(folder, recipe.steps, quiet=quiet or rank > 0, tensorboard=rank == 0) as log:
        pixels, since = 0, time.monotonic()
        while (progress := clock.progress(state.step)) < 1.0:
            rate = learning_rate(
                (state.step + 1) / recipe.steps if recipe.max_minutes is None else progress,
                peak=recipe.lr,
                floor=recipe.lr_min,
                warmup=recipe.warmup / recipe.steps,
                milestones=recipe.milestones,
            )
            for group in optimiser.param_groups:
                group["lr"] = rate

            pair = (part[:, : spec.channels(config)] for part in next(stream))
            inputs, targets = (part.to(device, memory_format=layout, non_blocking=True) for part in pair)
            loss = _step(step_module, optimiser, scaler, inputs, targets, recipe)
            ema.update(net)
            state.step += 1
            pixels += targets.shape[0] * targets.shape[-1] * targets.shape[-2] * world

            if state.step % LOG_EVERY == 0 or state.step == recipe.steps:
                value = float(loss)
                if not math.isfinite(value):
                    raise DivergedError(
                        f"{recipe.name}: loss {value} at step {state.step}; lower lr or set clip, then start again: "
                        f"the checkpoint in {folder} is from before"
                    )
                seconds = time.monotonic() - since
                log.event("train", state.step, loss=value, lr=rate, mpx_per_s=pixels / seconds / 1e6)
                log.advance(clock.progress(state.step))
                pixels, since = 0, time.monotonic()
            last = clock.progress(state.step) >= 1.0
            if rank == 0 and patches.validation and (state.step % recipe.validate_every == 0 or last):
                state.scores = validate(ema.module, recipe, task, spec, config, patches, log, state.step)
                if state.scores["mean"] > state.best:
                    state.best = state.scores["mean"]
                    _save(folder / "best.pt", recipe, state, clock, net, ema, optimiser, scaler)
            if rank == 0 and (state.step % recipe.save_every == 0 or last):
                _save(folder / "last.pt", recipe, state, clock, net, ema, optimiser, scaler)
        if rank > 0:
            return folder / f"{recipe.name}.toml"
        done = {"step": state.step, "minutes": clock.minutes, "scores": state.scores}
        return pack_run(ema.module, recipe, done, folder)


@dataclass
class State:
    """How far a run is."""

    step: int = 0
    minutes: float = 0.0
    best: float = -math.inf
    scores: dict[str, float] = None  # type: ignore[assignment]


class Clock:
    """How much of the training is done: the larger of the shares of steps and of minutes."""

    def __init__(self, recipe: Recipe, minutes: float) -> None:
        self.recipe, self._before, self._start = recipe, minutes, time.monotonic()

    @property
    def minutes(self) -> float:
        """Minutes of training so far, those before a restart included."""
        return self._before + (time.monotonic() - self._start) / 60

    def progress(self, step: int) -> float:
        """0..1 at ``step``."""
        share = step / self.recipe.steps
        return max(share, self.minutes / self.recipe.max_minutes) if self.recipe.max_minutes else share


def open_patches(recipe: Recipe, task: Task) -> Patches:
    """The stream of training patches that a recipe describes."""
    sources = [
        replace(
            source,
            clean=recipe.resolve(source.clean),
            inputs=recipe.resolve(source.inputs),
            targets=recipe.resolve(source.targets),
            depth=recipe.resolve(source.depth),
            strength={
                key: recipe.resolve(Path(value)) if key in FILE_STRENGTHS else value
                for key, value in source.strength.items()
            },
        )
        for source in recipe.sources
    ]
    return Patches(
        sources,
        task.degrade,
        margin=task.margin,
        augmentation=recipe.augmentation,
        held_back=recipe.held_back,
        cache_mb=recipe.cache_mb,
        seed=recipe.seed,
    )


def _step(
    step_module: nn.Module,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    inputs: Tensor,
    targets: Tensor,
    recipe: Recipe,
) -> Tensor:
    """One optimiser step; the mean loss over the micro-batches."""
    parts = list(zip(inputs.chunk(recipe.accumulate), targets.chunk(recipe.accumulate), strict=True))
    total = torch.zeros((), device=inputs.device)
    for number, (x, y) in enumerate(parts, start=1):
        # Gradients of all processes are averaged once, after the last micro-batch.
        waiting = number < len(parts) and isinstance(step_module, nn.parallel.DistributedDataParallel)
        with step_module.no_sync() if waiting else contextlib.nullcontext():  # type: ignore[operator]
            with torch.autocast(inputs.device.type, DTYPES[recipe.precision], enabled=recipe.precision != "float32"):
                loss = step_module(x, y) / len(parts)
            scaler.scale(loss).backward()
        total += loss.detach()
    if recipe.clip:
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(step_module.parameters(), recipe.clip)
    scaler.step(optimiser)
    scaler.update()
    optimiser.zero_grad(set_to_none=True)
    return total


def _optimiser(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam(W); biases, norms and other vectors are not decayed."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind([group for group in groups if group["params"]], lr=recipe.lr, betas=recipe.betas)


def _save(
    path: Path,
    recipe: Recipe,
    state: State,
    clock: Clock,
    net: nn.Module,
    ema: Ema,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> None:
    checkpoint.save(
        path,
        {
            "step": state.step,
            "minutes": clock.minutes,
            "best": state.best,
            "scores": state.scores,
            "recipe": recipe.to_dict(),
            "net": net.state_dict(),
            "ema": ema.module.state_dict(),
            "ema_updates": ema.updates,
            "optimiser": optimiser.state_dict(),
            "scaler": scaler.state_dict(),
            "random": torch.get_rng_state(),
            "version": __version__,
        },
    )


FILE_STRENGTHS = {"layers", "kernels"}
"""Strengths of degradations that name files, relative to the recipe's ``data``."""

CONTINUABLE = {
    "steps",
    "max_minutes",
    "workers",
    "cache_mb",
    "save_every",
    "validate_every",
    "compile",
    "data",
    "card",
    "expected",
}
"""Recipe keys that may differ between a run and its continuation."""


def _resume(
    path: Path,
    recipe: Recipe,
    net: nn.Module,
    ema: Ema,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> State:
    saved = checkpoint.load(path)
    before, now = Recipe.from_dict(saved["recipe"]).to_dict(), recipe.to_dict()
    changed = [key for key in now if now[key] != before[key] and key not in CONTINUABLE]
    if changed:
        raise UsageError(
            f"{path.parent}: holds a run with other {', '.join(changed)}; give another name, or start afresh (--fresh)"
        )
    net.load_state_dict(saved["net"])
    ema.module.load_state_dict(saved["ema"])
    ema.updates = saved["ema_updates"]
    optimiser.load_state_dict(saved["optimiser"])
    scaler.load_state_dict(saved["scaler"])
    torch.set_rng_state(saved["random"])
    return State(saved["step"], saved["minutes"], saved["best"], saved["scores"])


def _start_from(net: nn.Module, spec: NetworkSpec[Any], config: Any, start: str) -> None:
    """Copies what fits from other weights; entries of other shapes (another scale's tail) keep their fresh values."""
    from undegrade.weights.load import load_network

    given = load_network(start).state_dict()
    own = net.state_dict()
    fitting = {
        name: value.to(own[name].dtype)
        for name, value in given.items()
        if name in own and own[name].shape == value.shape
    }
    if not fitting:
        raise UsageError(f"start={start}: no entry fits {spec.name} {config}")
    net.load_state_dict({**own, **fitting})


def pack_run(
    net: nn.Module, recipe: Recipe, state: Mapping[str, Any], folder: Path, card_folder: Path | None = None
) -> Path:
    """Writes the weights of a run and their card; returns the card's path.

    Args:
        net: with the averaged weights.
        recipe: of the run.
        state: of the run as its checkpoint tells: ``step``, ``minutes``, ``scores``.
        folder: where ``<name>.safetensors`` goes.
        card_folder: where ``<name>.toml`` goes, if not there too.
    """
    from undegrade.weights.card import Training
    from undegrade.weights.pack import pack

    spec = networks.catalog.get(recipe.network)
    return pack(
        net,
        network=spec.name,
        config=spec.configure(recipe.preset, **recipe.numbers),
        preset=recipe.preset,
        task=recipe.task,
        path=folder / f"{recipe.name}.safetensors",
        card_path=(card_folder or folder) / f"{recipe.name}.toml",
        id=recipe.name,
        train_size=(recipe.patches[-1].size,) * 2,
        training=Training(
            recipe=recipe.name,
            data=", ".join(f"{source.clean or source.inputs} ({source.weight:g})" for source in recipe.sources),
            steps=state["step"],
            minutes=round(state["minutes"], 1),
            seed=recipe.seed,
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            versions={"torch": torch.__version__, "undegrade": __version__},
            validation={name: round(score, 3) for name, score in (state["scores"] or {}).items()},
        ),
        **recipe.card,
    )


@contextlib.contextmanager
def _processes(device: str) -> Iterator[tuple[int, int, torch.device]]:
    """(rank, number of processes, device) of this process; joins the group that ``torchrun`` announces."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if world == 1:
        yield 0, 1, torch.device(("cuda" if cuda else "cpu") if device == "auto" else device)
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda:
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield dist.get_rank(), world, torch.device("cuda", local) if cuda else torch.device("cpu")
    finally:
        dist.destroy_process_group()
