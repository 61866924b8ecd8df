"""Everything that can be named, as plain rows for tables and JSON. Costs no torch, presets excepted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from importlib import resources
from itertools import takewhile
from typing import Any

import yaml

from undegrade import networks, tasks
from undegrade.core.errors import UnknownNameError
from undegrade.metrics import protocol
from undegrade.weights import store

__all__ = ["KINDS", "rows"]

Row = dict[str, Any]


def rows(kind: str, pattern: str = "*") -> list[Row]:
    """One row per entry, sorted by name; ``name`` and ``title`` come first.

    Args:
        kind: a key of ``KINDS``.
        pattern: shell-style, on the name.

    Raises:
        UnknownNameError: there is no such kind.
    """
    if kind not in KINDS:
        raise UnknownNameError("list", kind, KINDS)
    return [row for row in KINDS[kind]() if fnmatchcase(row["name"], pattern)]


def _tasks() -> Iterator[Row]:
    for name, task in sorted(tasks.catalog.entries().items()):
        yield {
            "name": name,
            "title": task.title,
            "summary": task.summary,
            "aliases": list(task.aliases),
            "parameters": [
                {
                    "name": one.name,
                    "help": one.help,
                    "choices": list(one.choices),
                    "low": one.low,
                    "high": one.high,
                    "auto": one.auto,
                    "default": one.default,
                }
                for one in task.parameters
            ],
            "synthetic": task.degrade is not None,
            "protocol": task.protocol,
            "benchmarks": list(task.benchmarks),
        }


def _networks() -> Iterator[Row]:
    for name in networks.catalog.names():
        yield {"name": name, "title": networks.catalog.summary(name)}


def _presets() -> Iterator[Row]:
    """The only list that imports the networks, and torch with them."""
    for network, spec in sorted(networks.catalog.entries().items()):
        for name, config in spec.presets.items():
            yield {"name": name, "title": spec.title, "network": network, "numbers": str(config)}


def _weights() -> Iterator[Row]:
    for name, stored in sorted(store.entries().items()):
        card = stored.card
        yield {
            "name": name,
            "title": card.title,
            "task": card.task,
            "network": card.network,
            "preset": card.preset,
            "parameters": dict(card.parameters),
            "licence": card.licence,
            "origin": card.origin,
            "limits": card.limits,
        }


def _recipes() -> Iterator[Row]:
    folder = resources.files("undegrade.recipes")
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            text = file.read_text(encoding="utf-8")
            content = yaml.safe_load(text)
            comment = [line[1:].strip() for line in takewhile(lambda line: line.startswith("#"), text.splitlines())]
            yield {
                "name": file.name.removesuffix(".yaml"),
                "title": re.split(r"(?<=\.)\s", " ".join(comment), maxsplit=1)[0],
                "task": content.get("task"),
                "network": content.get("network"),
                "preset": content.get("preset"),
                "steps": content.get("steps"),
            }


def _protocols() -> Iterator[Row]:
    for name in sorted(protocol.names()):
        yield protocol.get(name).describe()


KINDS: dict[str, Callable[[], Iterator[Row]]] = {
    "tasks": _tasks,
    "networks": _networks,
    "presets": _presets,
    "weights": _weights,
    "recipes": _recipes,
    "protocols": _protocols,
}
"""What ``undegrade list`` can list."""
