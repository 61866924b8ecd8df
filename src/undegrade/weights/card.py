"""WeightsCard: everything a person or the Restorer must know about one file of weights, kept as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePath
from typing import Any, Literal, TypeVar

from undegrade.core.errors import WeightsError
from undegrade.weights.toml import dumps

__all__ = ["SCHEMA", "Score", "Training", "WeightsCard"]

SCHEMA = 1

T = TypeVar("T")


@dataclass(frozen=True)
class Score:
    """One measured score: mean over a test set.

    Attributes:
        protocol: name of the scoring protocol.
        set: name of the test set.
        strength: the degradation in words or as a number, for example ``"sigma 25"``; empty for real pairs.
        psnr, ssim: of the restored pictures, dB and 0..1.
        input_psnr: of the degraded pictures.
        commit: version of the code that measured it.
    """

    protocol: str
    set: str
    psnr: float
    ssim: float | None = None
    input_psnr: float | None = None
    strength: str | float | int = ""
    commit: str = ""


@dataclass(frozen=True)
class Training:
    """How the weights came to be: enough to make them again.

    Attributes:
        recipe: the recipe's name.
        data: what was trained on, in words.
        start: the weights that the run began with, in words; empty for fresh ones.
        seed, steps, minutes, device: of the run.
        versions: package -> version.
        commit: version of the code in which the recipe stands.
        validation: strength -> PSNR in dB on pictures held back from training.
    """

    recipe: str = ""
    data: str = ""
    start: str = ""
    seed: int | None = None
    steps: int | None = None
    minutes: float | None = None
    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    validation: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightsCard:
    """One file of weights. The only place where a network and a task meet.

    Attributes:
        id: unique name, also the file's stem.
        title: one line for people.
        network: name in the network catalogue.
        file: name of the safetensors file.
        preset: the preset it was built from, if any; ``numbers`` is what counts.
        numbers: every number of the network's config.
        task: task name; empty when a converted file's purpose was not said.
        parameters: task parameter -> what the weights can do: a single value, a list of choices, or a table
            ``{low, high}`` for a range.
        sha256: of that file; empty in the copy embedded in the file itself.
        licence, origin: who made the weights and under which terms they may be used.
        padding: ``"reflect"`` or ``"zeros"`` where these weights need another padding than the network's own.
        context, tile: pixels of overlap and tile side to prefer when a picture must be cut; None leaves it to the
            network's and the memory's advice.
        bytes_per_pixel: working memory of the network in float32, for networks in which it cannot be counted.
        train_size: height and width of the training patches, when known.
        parity_error: largest difference to the official output relative to its maximum, for converted weights.
        limits: what the weights are bad at.
        training: how they were made.
        scores: measured scores.
    """

    id: str
    title: str
    network: str
    file: str
    task: str = ""
    preset: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    licence: str = "unknown"
    origin: str = ""
    padding: Literal["reflect", "zeros"] | None = None
    context: int | None = None
    tile: int | None = None
    bytes_per_pixel: int | None = None
    train_size: tuple[int, int] | None = None
    parity_error: float | None = None
    limits: str = ""
    training: Training | None = None
    scores: tuple[Score, ...] = ()
    schema: int = SCHEMA

    def inherited(self) -> dict[str, Any]:
        """The entries that stay true of a copy in another file: all but what that file and its network say."""
        own = {"id", "network", "numbers", "task", "file", "sha256", "schema"}
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in own}

    def to_toml(self) -> str:
        """The card as TOML text; ``from_toml`` reads it back to an equal card."""
        table = {name: value for name, value in asdict(self).items() if not _silent(value)}
        return dumps({"schema": table.pop("schema"), **table})

    @classmethod
    def from_toml(cls, text: str, source: str = "card") -> WeightsCard:
        """The card written in ``text``.

        Args:
            text: TOML.
            source: file name for messages.

        Raises:
            WeightsError: not TOML, an unknown or missing entry, or a newer schema.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise WeightsError(f"{source}: not a weights card: {error}") from error
        if table.get("schema", SCHEMA) != SCHEMA:
            raise WeightsError(
                f"{source}: card schema {table['schema']}, this version reads {SCHEMA}: update undegrade"
            )
        try:
            return cls._from_table(table, source)
        except (TypeError, AttributeError, ValueError) as error:
            raise WeightsError(f"{source}: an entry of the card is of the wrong kind ({error})") from error

    @classmethod
    def _from_table(cls, table: dict[str, Any], source: str) -> WeightsCard:
        if "training" in table:
            table["training"] = _record(Training, table["training"], f"{source}: training")
        table["scores"] = tuple(_record(Score, entry, f"{source}: scores") for entry in table.get("scores", ()))
        for name in ("numbers", "parameters"):
            table[name] = {key: _frozen(value) for key, value in table.get(name, {}).items()}
        if "train_size" in table:
            table["train_size"] = _frozen(table["train_size"])
        card = _record(cls, table, source)
        for name in ("id", "title", "network", "file", "task", "sha256", "licence", "origin", "limits"):
            if not isinstance(value := getattr(card, name), str):
                raise WeightsError(f"{source}: {name}={value!r}: must be text")
        if not card.file or PurePath(card.file).name != card.file:
            raise WeightsError(f"{source}: file={card.file!r}: must be the name of a file beside the card, no path")
        if card.padding not in (None, "reflect", "zeros"):
            raise WeightsError(f"{source}: padding={card.padding!r}: must be reflect or zeros")
        for name in ("context", "tile", "bytes_per_pixel"):
            if not isinstance(value := getattr(card, name), int | None):
                raise WeightsError(f"{source}: {name}={value!r}: must be a whole number")
            least = 0 if name == "context" else 1
            if value is not None and value < least:
                raise WeightsError(f"{source}: {name}={value}: must be at least {least}")
        for name, ability in card.parameters.items():
            ends = (ability.get("low"), ability.get("high")) if isinstance(ability, Mapping) else ()
            if not all(isinstance(end, int | float) for end in ends):
                raise WeightsError(f"{source}: parameters.{name}: a range is told by two numbers, low and high")
        return card


def _silent(value: Any) -> bool:
    """Whether an entry says nothing and is left out; 0 says something."""
    return value is None or (isinstance(value, str | tuple | Mapping) and not value)


def _frozen(value: Any) -> Any:
    """TOML arrays come back as lists; configs hold tuples."""
    return tuple(_frozen(entry) for entry in value) if isinstance(value, list) else value


def _record(kind: type[T], table: Mapping[str, Any], source: str) -> T:
    known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    if surplus := sorted(set(table) - known):
        raise WeightsError(f"{source}: unknown entry {', '.join(surplus)}; known are {', '.join(sorted(known))}")
    try:
        return kind(**table)
    except TypeError as error:
        raise WeightsError(f"{source}: {error}") from error
