"""What the rest of undegrade needs to know about a restoration task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from undegrade.core.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Parameter", "Task"]


@dataclass(frozen=True)
class Parameter:
    """One knob of a task, for example ``sigma`` of denoising.

    Attributes:
        name: as it is called in Python and on the command line.
        help: one line for ``--help`` and the web page, with the unit.
        choices: the values allowed, when they can be listed.
        low, high: the range allowed, when they cannot; None: without an end there.
        auto: whether ``"auto"`` (the blind weights judge by themselves) is a value.
        default: the value when nothing is said; None means left to the weights.
    """

    name: str
    help: str
    choices: tuple[int | str, ...] = ()
    low: float | None = None
    high: float | None = None
    auto: bool = False
    default: int | float | str | None = None

    def check(self, value: Any) -> Any:
        """``value`` if it is allowed: one of the choices, ``"auto"``, or a plain number, also where text or a number
        of numpy's was given.

        Raises:
            UsageError: it is not; the message says what is.
        """
        if value is None or (self.auto and value == "auto"):
            return value
        if self.choices:
            for choice in self.choices:
                if value in (choice, str(choice)):
                    return choice
            raise UsageError(f"{self.name}={value!r}: choose one of {', '.join(map(str, self.choices))}")
        try:
            number = float("" if str(value) in ("True", "False") else value)  # also numpy's, for which True is 1
        except (TypeError, ValueError):
            raise UsageError(f"{self.name}={value!r}: a number is needed{' or auto' if self.auto else ''}") from None
        low, high = -inf if self.low is None else self.low, inf if self.high is None else self.high
        if not low <= number <= high:
            raise UsageError(f"{self.name}={value}: must lie in {low:g}-{high:g}")
        return int(number) if number.is_integer() else number


@dataclass(frozen=True)
class Task:
    """A restoration task. One per file in ``undegrade.tasks``; torch is imported inside the functions only.

    Attributes:
        name: the file's name.
        title: for people, for example ``"Colour denoising"``.
        summary: one line: what it takes away.
        aliases: short names on the command line.
        parameters: the knobs.
        degrade: ``degrade(clean, generator, **strength) -> degraded`` on one (C, H, W) float tensor in 0..1;
            ``strength`` left out is drawn at random from the training range. May return another size
            (super-resolution). None when only real pairs exist.
        margin: pixels around a crop that the degradation reaches; the loader cuts crops this much larger and
            trims after degrading.
        protocol: name of the default scoring protocol.
        benchmarks: names of the customary test sets (see ``undegrade.data.layouts``).
        weights: parameter choice -> default weights id; the key None is the default of defaults.
        prepare, finish: hooks around the network on (B, C, H, W) tensors.
    """

    name: str
    title: str
    summary: str
    protocol: str
    aliases: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    degrade: Callable[..., Tensor] | None = None
    margin: int = 0
    benchmarks: tuple[str, ...] = ()
    weights: Mapping[Any, str] = field(default_factory=dict)
    prepare: Callable[..., Tensor] | None = None
    finish: Callable[..., Tensor] | None = None

    def check(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The given parameters, each checked against its rule; those that are None are dropped.

        Raises:
            UsageError: an unknown parameter or a value outside its range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        checked = {}
        for name, value in parameters.items():
            if value is None:
                continue
            if name not in known:
                raise UnknownNameError(f"parameter of {self.name}", name, known)
            checked[name] = known[name].check(value)
        return checked
