"""The recipe of a training run: a flat YAML file read into typed fields; a mistyped key fails with the nearest name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import resources
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any, Literal, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from undegrade.core.errors import InputError, UndegradeError, UnknownNameError, UsageError
from undegrade.data.augment import Augmentation
from undegrade.data.loader import Patch
from undegrade.data.sources import Source
from undegrade.weights.card import WeightsCard

__all__ = ["Recipe", "located", "shipped_recipes"]

Precision = Literal["float32", "bf16", "fp16"]

LEAST: Mapping[str, float] = {
    **dict.fromkeys(("steps", "validate_crop", "validate_every", "accumulate", "save_every"), 1),
    **dict.fromkeys(("held_back", "max_minutes", "lr", "lr_min", "weight_decay", "warmup", "clip"), 0),
    **dict.fromkeys(("seed", "workers", "cache_mb"), 0),
}
"""Smallest values of numbers."""

FILE_STRENGTHS = {"layers", "kernels"}
"""Strengths of degradations that name files, relative to the recipe's ``data``."""

LONGEST_NAME = 200
"""Bytes; of the 255 that file systems allow, files beside the weights' need some."""

CARD = ("title", "parameters", "licence", "origin", "limits", "padding", "context", "tile")
"""Entries of a card that a recipe may fill in; the run knows the others."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run computes. Paths are relative to ``data``.

    Attributes:
        name: of the run; also its folder under ``runs/``.
        task, network, preset: names from the catalogues.
        numbers: single numbers of the network that differ from the preset.
        sources: where patches come from, see ``undegrade.data.sources.Source``.
        data: folder that the sources' paths are relative to.
        patches: progressive patch sizes, see ``undegrade.data.loader.Patch``.
        augmentation: flips and turns.
        held_back: pictures kept for validation.
        validate_at: strengths to validate with, one score each; empty means the drawn one.
        validate_crop: side of the central part that is validated, pixels.
        validate_every: steps between validations.
        steps: optimiser steps.
        max_minutes: a time budget; the rate reaches its floor when steps or minutes run out, whichever is first.
            With it a run is not repeatable to the bit.
        optimiser, lr, lr_min, betas, weight_decay: Adam, AdamW or Muon, a cosine from ``lr`` to ``lr_min``.
        milestones: instead of the cosine, halve the rate at these shares of the training.
        warmup: steps of linear warm-up.
        loss: loss name -> weight, see ``undegrade.engine.losses``.
        clip: largest total gradient norm, 0 = off.
        accumulate: micro-batches per step.
        ema: decay of the averaged weights, 0 = off.
        precision, channels_last, compile: how a step is computed.
        parallel: how several processes share the work: each with the whole network (``ddp``), or with a slice of the
            weights and optimiser states (``fsdp``), for networks that do not fit.
        start: weights to start from: a file, a weights id, or a run's checkpoint.
        seed, workers, cache_mb: of the stream of patches.
        save_every: steps between checkpoints.
        card: entries of the packed weights' card that only a person knows: title, parameters, limits, licence.
        shipped: further entries for the card of the package's own file, not true of other runs by the recipe.
        expected: what the paper reports for this recipe (published figures and their protocol), for readers.
        assumed: keys above whose value the paper or its code leaves open.
    """

    name: str
    task: str
    network: str
    preset: str
    sources: tuple[Source, ...]
    steps: int
    patches: tuple[Patch, ...]
    numbers: Mapping[str, Any] = field(default_factory=dict)
    data: Path = Path("data")
    augmentation: Augmentation = "dihedral"
    held_back: int = 16
    validate_at: tuple[Mapping[str, Any], ...] = ()
    validate_crop: int = 256
    validate_every: int = 1000
    max_minutes: float | None = None
    optimiser: Literal["adam", "adamw", "muon"] = "adamw"
    lr: float = 1e-3
    lr_min: float = 1e-6
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    milestones: tuple[float, ...] = ()
    warmup: int = 0
    loss: Mapping[str, float] = field(default_factory=lambda: {"l1": 1.0})
    clip: float = 0.0
    accumulate: int = 1
    ema: float = 0.999
    precision: Precision = "float32"
    channels_last: bool = False
    compile: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    start: str | None = None
    seed: int = 1234
    workers: int = 0
    cache_mb: int = 2048
    save_every: int = 1000
    card: Mapping[str, Any] = field(default_factory=dict)
    shipped: Mapping[str, Any] = field(default_factory=dict)
    expected: tuple[Mapping[str, Any], ...] = ()
    assumed: tuple[str, ...] = ()

    @classmethod
    def load(cls, source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """The recipe of a YAML file or of a shipped name, with ``key=value`` overrides (values in YAML).

        ``recipes/NAME.yaml``, where a shipped one lies in the package, means it too, unless there is such a file.

        Raises:
            InputError: no such file, or not YAML.
            UnknownNameError: an unknown key; the message offers the nearest one.
            UsageError: a value of the wrong type or range.
        """
        path = Path(source)
        in_package = path.suffix == ".yaml" and str(path.parent) == "recipes" and not path.exists()
        if not path.suffix or in_package:
            name = path.stem if in_package else str(source)
            shipped = shipped_recipes()
            if name not in shipped:
                raise UnknownNameError("recipe", name, shipped)
            path = shipped[name]
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as a recipe ({error})") from error
        except yaml.YAMLError as error:
            raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
        if not isinstance(entries, dict):
            raise InputError(f"{path}: a recipe is a list of 'key: value' lines")
        for override in overrides:
            key, sign, value = override.partition("=")
            if not sign:
                raise UsageError(f"'{override}': overrides are written key=value")
            try:
                entries[key.strip()] = yaml.safe_load(value)
            except yaml.YAMLError as error:
                raise UsageError(f"'{override}': the value is not YAML ({' '.join(str(error).split())})") from error
        return cls.from_dict({"name": path.stem, **entries})

    def with_what_is_there(self) -> Recipe:
        """The recipe without the optional sources whose folders are missing.

        Raises:
            InputError: there is no other.
        """

        def there(source: Source) -> bool:
            folders = map(self.resolve, (source.clean, source.inputs, source.targets, source.depth))
            return all(folder is None or folder.is_dir() for folder in folders)

        kept = tuple(source for source in self.sources if not source.optional or there(source))
        if not kept:
            raise InputError(f"data={self.data}: not one of the recipe's sources is there, all of them optional")
        return dataclasses.replace(self, sources=kept)

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Recipe:
        """The recipe of a plain dictionary.

        Raises:
            UnknownNameError, UsageError: as ``load``.
        """
        recipe: Recipe = _typed(cls, "recipe key", entries)
        recipe._check()
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary that ``from_dict`` and a YAML file take."""
        entries: dict[str, Any] = TypeAdapter(Recipe).dump_python(self, mode="json")
        return entries

    def patch_at(self, progress: float) -> Patch:
        """The patch phase at ``progress`` in 0..1."""
        return next((patch for patch in self.patches if progress < patch.until), self.patches[-1])

    def resolve(self, path: Path | None) -> Path | None:
        """``path`` of a source, relative to ``data`` unless absolute."""
        return None if path is None else self.data / path

    def located(self, strength: Mapping[str, Any]) -> dict[str, Any]:
        """``strength`` of a degradation, the files that it names relative to ``data``."""
        return located(strength, self.data)

    def _check(self) -> None:
        self._check_values()
        if not self.sources or not self.patches:
            raise UsageError("a recipe needs at least one source and one patch phase")
        ends = [patch.until for patch in self.patches]
        if any(later <= earlier for earlier, later in pairwise(ends)):
            raise UsageError(f"until={ends} of the patch phases: each must last longer than the one before")
        for patch in self.patches:
            if patch.batch % self.accumulate:
                raise UsageError(f"batch {patch.batch} cannot be cut into accumulate={self.accumulate} equal parts")
        if self.parallel == "fsdp" and (self.optimiser == "muon" or self.precision == "fp16"):
            raise UsageError("parallel=fsdp: choose optimiser adam or adamw, and precision float32 or bf16")
        if self.parallel == "fsdp" and self.channels_last:
            raise UsageError("parallel=fsdp: slices lie in plain order in memory: give channels_last=false")
        for what, names, known in (
            ("recipe key in 'assumed'", self.assumed, [f.name for f in fields(self)]),
            ("entry of 'card'", self.card, CARD),
        ):
            for name in names:
                if name not in known:
                    raise UnknownNameError(what, name, known)
        try:
            words = {"id": self.name, "title": self.name, "network": self.network, "file": "x", "task": self.task}
            WeightsCard.from_toml(WeightsCard(**{**words, **self.card}).to_toml(), "card")
        except (TypeError, AttributeError, UndegradeError) as error:
            raise UsageError(f"card={self.card}: the card of the weights could not be read again ({error})") from error

    def _check_values(self) -> None:
        # The folder and the files of the run bear its name.
        if not self.name or PurePath(self.name).name != self.name or self.name == ".." or "\0" in self.name:
            raise UsageError(f"name={self.name!r}: give one word for a folder, without a path")
        if len(self.name.encode()) > LONGEST_NAME:
            raise UsageError(f"name={self.name[:20]}...: longer than {LONGEST_NAME} bytes, no name for a folder")
        if self.seed >= 2**64:
            raise UsageError(f"seed={self.seed}: must be below 2**64")
        for key, least in LEAST.items():
            value = getattr(self, key)
            if value is not None and not least <= value < math.inf:
                raise UsageError(f"{key}={value}: must be at least {least}, and finite")
        for key, values in (("ema", (self.ema,)), ("betas", self.betas)):
            if not all(0 <= value < 1 for value in values):
                raise UsageError(f"{key}={getattr(self, key)}: must lie in 0-1, below 1")
        if not all(0 <= share <= 1 for share in self.milestones):
            raise UsageError(f"milestones={list(self.milestones)}: shares of the training, 0-1")
        if not self.loss:
            raise UsageError("loss={}: name at least one loss and its weight")
        if not all(0 < weight < math.inf for weight in self.loss.values()):
            raise UsageError(f"loss={dict(self.loss)}: weights must be above 0, and finite")


def located(strength: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """``strength`` of a degradation, the files that it names relative to the folder ``data``."""
    return {
        key: data / value if key in FILE_STRENGTHS and isinstance(value, str | Path) else value
        for key, value in strength.items()
    }


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of every recipe inside the package."""
    folder = Path(str(resources.files("undegrade.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _typed(kind: Any, what: str, entries: Mapping[str, Any]) -> Any:
    """A dataclass from plain values; nested dataclasses too, unknown keys refused with the nearest name."""
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    values = {}
    for key, value in entries.items():
        if key not in known:
            raise UnknownNameError(what, str(key), known)
        inner = next((arg for arg in get_args(hints[key]) if dataclasses.is_dataclass(arg)), None)
        if inner is not None and isinstance(value, list | tuple):
            plain = [item if isinstance(item, Mapping) else {} for item in value]
            if any(not isinstance(item, Mapping) for item in value):
                raise UsageError(f"{what} {key}: a list of 'key: value' groups is needed")
            values[key] = tuple(_typed(inner, f"key of {key}", item) for item in plain)
            continue
        try:
            values[key] = TypeAdapter(hints[key]).validate_python(value)
        except ValidationError as error:
            raise UsageError(f"{what} {key}={value!r}: {error.errors()[0]['msg']}") from error
    missing = [
        f.name
        for f in fields(kind)
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(f"{what} missing: {', '.join(missing)}")
    return kind(**values)
