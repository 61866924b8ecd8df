"""The errors a user can meet. Each message is one line: the value, the rule, the way out.

UndegradeError
|-- UsageError        the call itself is wrong (exit status 2)
|   `-- UnknownNameError   no such task, network, weights, recipe, protocol
|-- InputError        this picture cannot be read, restored or written (exit status 1, the batch goes on)
|-- WeightsError      a checkpoint or card is damaged, refused or does not fit
`-- MissingExtraError an optional package is needed; the message names the line that installs it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "InputError",
    "MissingExtraError",
    "UndegradeError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "one_line",
]


class UndegradeError(Exception):
    """Base of every error that undegrade raises on purpose."""


class UsageError(UndegradeError, ValueError):
    """The call itself is wrong: a bad parameter, an impossible combination."""


class UnknownNameError(UsageError):
    """A name that no catalogue holds.

    Args:
        kind: what was looked for, for example ``"task"``.
        name: what was given.
        known: the names that exist.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind} '{name}': {hint}")
        self.kind, self.name, self.known = kind, name, names

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle calls the class with the message alone, which does not fit: pools of processes would break or hang.
        return type(self), (self.kind, self.name, self.known)


class InputError(UndegradeError):
    """One input cannot be read, restored or written; a batch goes on with the others."""


class WeightsError(UndegradeError):
    """Weights are missing, damaged, refused for safety, or do not fit the network."""


class MissingExtraError(UndegradeError, ImportError):
    """An optional package is not installed.

    Args:
        what: what needs it, for example ``"reading HEIC"``.
        extra: the extra of undegrade that brings it.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package: pip install 'undegrade[{extra}]'")
        self.what, self.extra = what, extra

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.extra)


def one_line(error: BaseException, most: int | None = None) -> str:
    """What an error says, in one line of at most ``most`` characters; the name of its class where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__
