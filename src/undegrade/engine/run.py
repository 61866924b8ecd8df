"""A training run: its network, averaged weights, optimiser, data and clock; where it stands, and how that is kept."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor, nn
from torch import distributed as dist

from undegrade import networks, tasks
from undegrade._version import __version__
from undegrade.core.errors import UsageError
from undegrade.core.replacing import replacing
from undegrade.data.loader import batches
from undegrade.data.patches import Patches
from undegrade.data.sources import Source
from undegrade.engine import checkpoint, sharding
from undegrade.engine.degrade import apply
from undegrade.engine.ema import Ema
from undegrade.engine.muon import Muon
from undegrade.engine.recipe import Recipe
from undegrade.engine.step import TrainStep
from undegrade.metrics import protocol
from undegrade.networks._spec import NetworkSpec
from undegrade.tasks import Task

__all__ = ["Place", "Run", "open_patches", "pack_run"]

CONTINUABLE = {
    "steps",
    "max_minutes",
    "workers",
    "cache_mb",
    "save_every",
    "validate_every",
    "compile",
    "parallel",
    "data",
    "card",
    "shipped",
    "expected",
    "assumed",
}
"""Recipe keys that may differ between a run and its continuation."""

PROBE = 96
"""Pixels of the square on which strengths are tried."""


class Place(NamedTuple):
    """Where this process stands among those that train together."""

    rank: int
    world: int
    device: torch.device

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over the processes, in all of them."""
        if self.world > 1:
            value = value / self.world
            dist.all_reduce(value)
        return value


class Run:
    """Everything that a training step touches.

    Args:
        recipe: what is trained and how.
        folder: of the run; holds ``recipe.yaml``, ``log.jsonl``, ``last.pt``, ``best.pt`` and the packed weights.
        place: of this process.
        fresh: forget what the folder holds.

    Attributes:
        step: optimiser steps done.
        average: the network with the averaged weights, as of the last ``gather``.
        best: best mean validation score in dB.
        scores: of the latest validation.
    """

    def __init__(self, recipe: Recipe, folder: Path, place: Place, fresh: bool = False) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder, self.place = recipe, folder, place
        self.notes: tuple[str, ...] = ()
        self.task, self.spec = tasks.get(recipe.task), networks.catalog.get(recipe.network)
        self.config = self.spec.configure(recipe.preset, **recipe.numbers)
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.net = self.spec.build(self.config).to(place.device, memory_format=self.layout)  # type: ignore[call-overload]
        saved = self._saved(folder / "last.pt") if (folder / "last.pt").exists() and not fresh else None
        if recipe.start and not saved:
            self.notes += _start_from(self.net, self.spec, self.config, recipe.start)
        self.patches = open_patches(recipe, self.task)
        self.ema = Ema(self.net, recipe.ema)
        self.average = self.ema.module
        self.step, self.best, self.scores = 0, -math.inf, dict[str, float]()
        if saved:
            self.net.load_state_dict(saved["net"])
            self.ema.module.load_state_dict(saved["ema"])
        self._whole: dict[str, Any] | None = None
        self.module = self._wrapped()
        self.optimiser = _optimiser(self.net, recipe)
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=recipe.precision == "fp16")
        minutes = 0.0
        if saved:
            minutes = self._resume(saved)
        if self.leads:
            folder.mkdir(parents=True, exist_ok=True)
            checkpoint.sweep(folder)
            if not saved:  # or a run that is killed before its first checkpoint would go on from the older one
                for name in ("last.pt", "best.pt", "log.jsonl"):
                    (folder / name).unlink(missing_ok=True)
            with replacing(folder / "recipe.yaml") as part:
                part.write_text(yaml.safe_dump(recipe.to_dict(), sort_keys=False), encoding="utf-8")
        self.clock = Clock(recipe, minutes, place)
        self.clock.tick(self.step)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that logs, validates and saves."""
        return self.place.rank == 0

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps happens now; the last step is always such a time."""
        return self.step % every == 0 or self.clock.done

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs, targets) on the device, this process's share, until the training is done."""
        recipe = self.recipe
        stream = batches(
            self.patches,
            # Without a time budget the plan must not depend on how far ahead workers ask.
            lambda step: recipe.patch_at(self.clock.progress if recipe.max_minutes else step / recipe.steps),
            first=self.step,
            workers=recipe.workers,
            rank=self.place.rank,
            world=self.place.world,
        )
        colours = self.spec.channels(self.config)
        while not self.clock.done:
            inputs, targets = (
                part[:, :colours].to(self.place.device, memory_format=self.layout, non_blocking=True)
                for part in next(stream)
            )
            yield inputs, targets

    def finish_step(self) -> None:
        """Takes the new weights into the average, counts the step and looks at the clock."""
        self.ema.update(self.net)
        self.step += 1
        self.clock.tick(self.step)

    def gather(self) -> None:
        """Brings ``average``, and what ``save`` writes, up to date; every process must call this."""
        if self.sharded:
            self._whole = sharding.whole(self._parts())
            self.average.load_state_dict(self._whole["ema"])

    @property
    def broken(self) -> bool:
        """Whether ``average`` holds NaN or infinity."""
        return not all(bool(torch.isfinite(entry).all()) for entry in self.average.state_dict().values())

    def release(self) -> None:
        """Lets go of the group of processes; who holds it longer than ``dist`` may wait for itself at the end.

        The wrapper of DDP ends the group's threads without releasing Python's lock, which they may be waiting for.
        """
        self.module = self.net

    def save(self, name: str) -> None:
        """Writes a checkpoint of this name into the run's folder, as of the last ``gather``."""
        state = {
            "step": self.step,
            "minutes": self.clock.minutes,
            "best": self.best,
            "scores": self.scores,
            "recipe": self.recipe.to_dict(),
            **(self._whole or self._parts()),
            "ema_updates": self.ema.updates,
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            **_origin(),
        }
        checkpoint.save(self.folder / name, state)

    def pack(self) -> Path:
        """Writes the averaged weights with their card, usable by ``restore``; the card's path."""
        state = {"step": self.step, "minutes": self.clock.minutes, "scores": self.scores, **_origin()}
        return pack_run(self.average, self.recipe, state, self.folder)

    @property
    def sharded(self) -> bool:
        """Whether each process holds only a slice of the weights."""
        return self.recipe.parallel == "fsdp" and self.place.world > 1

    def _parts(self) -> dict[str, Any]:
        """What is spread over the processes when the run is sharded."""
        states = {"net": self.net, "ema": self.ema.module, "optimiser": self.optimiser}
        return {name: part.state_dict() for name, part in states.items()}

    def _wrapped(self) -> nn.Module:
        _refuse_uneven(self.recipe, self.place.world)
        module: nn.Module = TrainStep(self.net, self.recipe.loss).train()
        partial = module.partial
        if self.sharded:
            self.average = copy.deepcopy(self.ema.module)
            sharding.shard(self.ema.module)
            sharding.shard(module)
        if self.recipe.compile:
            module = torch.compile(module, dynamic=False)  # type: ignore[assignment]
        together = self.place.world > 1 and not self.sharded
        return nn.parallel.DistributedDataParallel(module, find_unused_parameters=partial) if together else module

    def _saved(self, path: Path) -> dict[str, Any]:
        """The checkpoint of this run."""
        saved = checkpoint.load(path)
        before, now = Recipe.from_dict(saved["recipe"]).to_dict(), self.recipe.to_dict()
        changed = [key for key in now if now[key] != before[key] and key not in CONTINUABLE]
        if changed:
            raise UsageError(
                f"{path.parent}: holds a run with other {', '.join(changed)}; "
                "give another name, or start afresh (--fresh)"
            )
        return saved

    def _resume(self, saved: Mapping[str, Any]) -> float:
        """Takes over from a checkpoint all but the weights; the minutes that were trained before."""
        self.ema.updates = saved["ema_updates"]
        optimiser = saved["optimiser"]
        self.optimiser.load_state_dict(sharding.slices(optimiser, self.optimiser) if self.sharded else optimiser)
        self.scaler.load_state_dict(saved["scaler"])
        torch.set_rng_state(saved["random"])
        self.step, self.best, self.scores = saved["step"], saved["best"], saved["scores"] or {}
        return float(saved["minutes"])


class Clock:
    """How much of the training is done: the larger of the shares of steps and of minutes.

    Attributes:
        progress: 0..1, as of the last ``tick``; with several processes, the first one's watch counts.
    """

    def __init__(self, recipe: Recipe, minutes: float, place: Place) -> None:
        self.recipe, self.place = recipe, place
        self._before, self._start = minutes, time.monotonic()
        self.progress = 0.0

    @property
    def minutes(self) -> float:
        """Minutes of training so far, those before a restart included."""
        return self._before + (time.monotonic() - self._start) / 60

    @property
    def done(self) -> bool:
        """Whether steps or minutes have run out."""
        return self.progress >= 1.0

    def tick(self, step: int) -> None:
        """Looks at the watch after ``step`` steps."""
        self.progress = step / self.recipe.steps
        if self.recipe.max_minutes:
            share = torch.tensor(self.minutes / self.recipe.max_minutes, device=self.place.device)
            if self.place.world > 1:
                dist.broadcast(share, 0)
            self.progress = max(self.progress, float(share))


def _refuse_uneven(recipe: Recipe, world: int) -> None:
    for patch in recipe.patches:
        if patch.batch % (world * recipe.accumulate):
            raise UsageError(
                f"batch {patch.batch} cannot be dealt to {world} processes and accumulate={recipe.accumulate} in "
                "equal parts: change the number of processes, accumulate, or patches"
            )


def open_patches(recipe: Recipe, task: Task) -> Patches:
    """The stream of training patches that a recipe describes.

    Raises:
        UsageError: the task's degradation has no such strength, or the sources have other colours than the network.
        InputError: a folder is missing or empty.
    """
    sources = [
        replace(
            source,
            clean=recipe.resolve(source.clean),
            inputs=recipe.resolve(source.inputs),
            targets=recipe.resolve(source.targets),
            depth=recipe.resolve(source.depth),
            strength=recipe.located(source.strength),
        )
        for source in recipe.sources
    ]
    spec = networks.catalog.get(recipe.network)
    config = spec.configure(recipe.preset, **recipe.numbers)
    scale = spec.scale(config)
    for source in sources if spec.channels(config) == 1 else ():
        if source.clean is not None and not source.grey:
            raise UsageError(
                f"{source.clean}: the network sees one channel, of colours the red: give the source 'grey: true'"
            )
    for phase in recipe.patches:  # a later one would end the run hours after its first step
        if phase.size % scale:
            raise UsageError(f"size={phase.size} of a patch phase: the network enlarges {scale} times: give a multiple")
    _refuse_unknown(recipe, sources, task, scale)
    patches = Patches(
        sources,
        task.degrade,
        margin=task.margin,
        augmentation=recipe.augmentation,
        held_back=recipe.held_back,
        scale=scale,
        least=protocol.get(task.protocol).least(scale),
        cache_mb=recipe.cache_mb,
        seed=recipe.seed,
    )
    if patches.validation and recipe.validate_crop < patches.least:
        raise UsageError(
            f"validate_crop={recipe.validate_crop}: pictures of {patches.least} pixels a side are the least that "
            f"{task.protocol} can score here"
        )
    return patches


def _refuse_unknown(recipe: Recipe, sources: Sequence[Source], task: Task, scale: int) -> None:
    """Each strength once on a black square: a mistyped one is refused before the first step, not at a validation."""
    square, generator = torch.zeros(3, PROBE, PROBE), torch.Generator()
    for source in sources if task.degrade is not None else ():
        for strength in ({}, *map(recipe.located, recipe.validate_at)) if source.clean is not None else ():
            depth = {} if source.depth is None else {"depth": torch.ones(1, PROBE, PROBE)}
            # A scale that is not given is drawn.
            for seed in range(4 if scale > 1 else 1):
                spoilt = apply(task, square, generator.manual_seed(seed), {**depth, **source.strength, **strength})
                if spoilt.shape[-1] * scale != PROBE:
                    raise UsageError(
                        f"{source.clean}: its pictures become {PROBE / spoilt.shape[-1]:g} times smaller, the network "
                        f"enlarges {scale} times: give the sources the network's scale"
                    )


def pack_run(
    net: nn.Module, recipe: Recipe, state: Mapping[str, Any], folder: Path, card_folder: Path | None = None
) -> Path:
    """Writes the weights of a run and their card; returns the card's path.

    Args:
        net: with the averaged weights.
        recipe: of the run.
        state: of the run as its checkpoint tells: ``step``, ``minutes``, ``scores``, ``device``, ``versions``; and
            ``commit``, the version of the code, where it is known.
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
        task=tasks.get(recipe.task).name,  # the recipe may say an alias
        path=folder / f"{recipe.name}.safetensors",
        card_path=(card_folder or folder) / f"{recipe.name}.toml",
        id=recipe.name,
        train_size=(recipe.patches[-1].size,) * 2,
        training=Training(
            recipe=recipe.name,
            data=", ".join(f"{source.clean or source.inputs} ({source.weight:g})" for source in recipe.sources),
            start=_origin_of(recipe.start) if recipe.start else "",
            steps=state["step"],
            minutes=round(state["minutes"], 1),
            seed=recipe.seed,
            device=state["device"],
            versions=state["versions"],
            commit=state.get("commit", ""),
            validation={name: round(score, 3) for name, score in (state["scores"] or {}).items()},
        ),
        **recipe.card,
    )


def _origin_of(start: str) -> str:
    """The name of weights; of a run's checkpoint, that of the run."""
    path = Path(start)
    return path.parent.name if path.suffix == ".pt" and path.parent.name else path.stem


def _origin() -> dict[str, Any]:
    """Where a run takes place, for its checkpoints and its card."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"device": device, "versions": {"torch": str(torch.__version__), "undegrade": __version__}}


def _start_from(net: nn.Module, spec: NetworkSpec[Any], config: Any, start: str) -> tuple[str, ...]:
    """Copies what fits from other weights; entries of other shapes (another scale's tail) keep their fresh values.

    Returns:
        What is to be told: how many entries did not fit, if any.
    """
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
    if len(fitting) == len(own):
        return ()
    return (f"start={start}: {len(fitting)} of {len(own)} entries fit, the others begin afresh",)


def _optimiser(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam(W); biases, norms and other vectors are not decayed. Or Muon, which knows no decay."""
    if recipe.optimiser == "muon":
        if recipe.weight_decay:
            raise UsageError(f"weight_decay={recipe.weight_decay}: muon has none; set it to 0 or take adamw")
        return Muon(net, recipe.lr, recipe.betas)
    parameters = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind([group for group in groups if group["params"]], lr=recipe.lr, betas=recipe.betas, fused=True)
