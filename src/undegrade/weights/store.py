"""Which weights there are, where their files lie, and which of them suits a wish. Costs no torch."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from undegrade.core.errors import UnknownNameError, WeightsError
from undegrade.weights.card import WeightsCard

__all__ = ["Stored", "entries", "fetch", "find", "home", "read_card", "resolve", "sha256"]


@dataclass(frozen=True)
class Stored:
    """A card and the file that it describes."""

    card: WeightsCard
    path: Path


def home() -> Path:
    """Folder of the user's own weights: ``$UNDEGRADE_HOME``, else ``undegrade`` in the user's cache folder."""
    if own := os.environ.get("UNDEGRADE_HOME"):
        return Path(own)
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user whom the system does not know, as in containers: nothing is found or kept
        cache = os.devnull
    return Path(cache) / "undegrade"


def entries() -> dict[str, Stored]:
    """All known weights by id: those in the package, then the user's (``<home>/weights/*.toml``), which win."""
    return {stored.card.id: stored for stored in (*_shipped(), *_own())}


def find(name: str) -> Stored:
    """The weights with this id.

    Raises:
        UnknownNameError: there are none.
    """
    known = entries()
    if name not in known:
        raise UnknownNameError("weights", name, known)
    return known[name]


def resolve(
    task: str,
    network: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    preferred: str | None = None,
) -> Stored:
    """The weights for a task.

    Among those that can do what ``parameters`` ask, weights made for exactly these values win, then ``preferred``,
    then those that judge by themselves.

    Args:
        task: task name.
        network: only weights of this network.
        parameters: task parameters; what is left out may be anything.
        preferred: id to take if it fits.

    Raises:
        WeightsError: none fits; the message lists what there is for the task.
    """
    known = [stored for stored in entries().values() if stored.card.task == task]
    wish = {name: value for name, value in (parameters or {}).items() if value is not None}
    fitting = [
        stored
        for stored in known
        if (network is None or stored.card.network == network)
        and all(_can(stored.card.parameters.get(name), value) for name, value in wish.items())
    ]
    if not fitting:
        asked = ", ".join([f"network {network}"] * (network is not None) + [f"{k}={v}" for k, v in wish.items()])
        there = ", ".join(sorted(stored.card.id for stored in known)) or "none yet"
        raise WeightsError(
            f"no weights for {task}{f' with {asked}' if asked else ''}; there are: {there}. "
            "Give a file with weights=..., or train your own"
        )

    def rank(stored: Stored) -> tuple[int, bool, str]:
        exact = sum(stored.card.parameters.get(name) == value for name, value in wish.items())
        return (-exact, stored.card.id != preferred, stored.card.id)

    return min(fitting, key=rank)


def fetch(stored: Stored) -> Path:
    """The path of the file, after its SHA-256 has been compared with the card.

    Raises:
        WeightsError: the file is missing or differs.
    """
    path = stored.path
    if not path.is_file():
        own = path.parent != _package() / "files"
        way_out = "put it beside its card" if own else "the package is not complete: install it again"
        raise WeightsError(f"{stored.card.id}: file {path} is missing; {way_out}")
    if stored.card.sha256:
        found = sha256(path)
        if found != stored.card.sha256:
            raise WeightsError(
                f"{path}: SHA-256 {found[:12]}... is not the card's {stored.card.sha256[:12]}...: "
                "the file is damaged or not the one described; get it again"
            )
    return path


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_card(path: Path) -> WeightsCard:
    """The card in a TOML file.

    Raises:
        WeightsError: it is none.
    """
    try:
        return WeightsCard.from_toml(path.read_text(encoding="utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path}: not a weights card: {error}") from error


def _can(ability: Any, value: Any) -> bool:
    """Whether weights with this entry in their card's ``parameters`` serve ``value``; no entry means any value."""
    if ability is None:
        return True
    if isinstance(ability, Mapping):
        return value == "auto" or bool(ability["low"] <= float(value) <= ability["high"])
    if isinstance(ability, tuple):
        return value == "auto" or value in ability
    return bool(ability == value)


def _package() -> Path:
    """The folder that holds the shipped files and cards."""
    return Path(str(resources.files("undegrade.weights")))


def _shipped() -> Iterator[Stored]:
    for path in sorted((_package() / "cards").glob("*.toml")):
        card = read_card(path)
        yield Stored(card, _package() / "files" / card.file)


def _own() -> Iterator[Stored]:
    try:
        paths = sorted((home() / "weights").glob("*.toml"))
    except OSError as error:
        warnings.warn(f"{home() / 'weights'}: left out: {error}", stacklevel=2)
        return
    for path in paths:
        try:
            card = read_card(path)
        except (WeightsError, OSError) as error:
            # One bad file of the user's must not stop everything that only looks for weights.
            warnings.warn(f"{path}: left out: {error}", stacklevel=2)
            continue
        yield Stored(card, path.parent / card.file)
