"""What the rest of undegrade needs to know about a network, without knowing the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Generic, Literal, TypeVar

from torch import nn

from undegrade.core.errors import UnknownNameError, UsageError

__all__ = ["NetworkSpec", "Shapes", "at_least", "count"]

Shapes = Mapping[str, tuple[int, ...]]
"""Entry name -> shape, as found in a checkpoint."""

C = TypeVar("C")


def at_least(least: int, config: object, *names: str) -> None:
    """Refuses numbers of a config that no such network can have.

    Raises:
        UsageError: one of these numbers of ``config`` is below ``least``.
    """
    for name in names:
        if getattr(config, name) < least:
            raise UsageError(f"{name}={getattr(config, name)}: give {least} or more")


def count(shapes: Shapes, prefix: str) -> int:
    """How many different components follow ``prefix`` in a checkpoint's names."""
    return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})


@dataclass(frozen=True)
class NetworkSpec(Generic[C]):
    """A network's identity card. One per file in ``undegrade.networks``.

    Attributes:
        name: the file's name.
        title: the name as the paper writes it.
        paper: citation with a link or identifier.
        config: frozen dataclass with every number of the architecture, defaults = ``default`` preset.
        module: builds the ``torch.nn.Module`` from a config, freshly initialised; its ``forward`` maps (B, C, H, W) in
            0..1 to (B, C, sH, sW), the full-size result, unclamped.
        presets: preset name -> config.
        default: the preset taken when none is named.
        multiple_of: height and width are padded to a multiple of this before the network runs.
        min_size: smallest height and width that the network can compute.
        padding: how the Restorer pads, ``"reflect"`` or ``"zeros"``; a weights card may say otherwise.
        official_padding: what the official test script does where that is something else; for official checkpoints.
        tiling: ``"free"`` (local receptive field), ``"discouraged"`` (global pooling: tiles change the result a
            little) or ``"required"`` (global attention: whole pictures are out of reach).
        context: pixels around a tile that influence it noticeably; tiles overlap by this much on each side.
        scale: output size over input size, read from a config.
        channels: colour channels in and out, read from a config.
        infer: official entry names and shapes -> config, or None when they are not this network's.
        official: config -> {official entry name: our entry name, or None when the entry is never used}.
            Several official names may lead to one of ours (shared tensors); the last one in the file wins.
        local: for networks with a local (TLC) form: (module, train height and width) -> the module in local form.
    """

    name: str
    title: str
    paper: str
    config: type[C]
    module: Callable[[C], nn.Module]
    presets: Mapping[str, C]
    default: str
    infer: Callable[[Shapes], C | None]
    official: Callable[[C], Mapping[str, str | None]]
    multiple_of: int = 1
    min_size: int = 1
    padding: Literal["reflect", "zeros"] = "reflect"
    official_padding: Literal["reflect", "zeros"] | None = None
    tiling: Literal["free", "discouraged", "required"] = "discouraged"
    context: int = 32
    scale: Callable[[C], int] = lambda config: 1
    channels: Callable[[C], int] = lambda config: 3
    local: Callable[[nn.Module, tuple[int, int]], nn.Module] | None = None

    def configure(self, preset: str | None = None, **numbers: Any) -> C:
        """The config of ``preset`` with single numbers replaced.

        Raises:
            UnknownNameError: no such preset, or no such number.
            UsageError: a value of another kind, or one that the network cannot have.
        """
        name = preset or self.default
        if name not in self.presets:
            raise UnknownNameError(f"preset of {self.name}", name, self.presets)
        known = [field.name for field in fields(self.config)]  # type: ignore[arg-type]
        for key, value in numbers.items():
            if key not in known:
                raise UnknownNameError(f"number of {self.name}", key, known)
            numbers[key] = _entry(key, value, getattr(self.presets[name], key))
        return replace(self.presets[name], **numbers)  # type: ignore[type-var]

    def build(self, config: C | None = None) -> nn.Module:
        """A freshly initialised module for ``config`` (default: the default preset)."""
        return self.module(self.presets[self.default] if config is None else config)


def _entry(key: str, value: Any, like: Any) -> Any:
    """``value``, checked, as a config holds it: of the kind of ``like``. Recipes and cards hold lists for tuples.

    What ``like`` is no example of (a number that may be None) is taken as it is.
    """
    several = isinstance(like, tuple)
    example = (like[0] if like else 0) if several else like
    if several and isinstance(value, list | tuple):
        return tuple(_entry(key, one, example) for one in value)
    for kind, given, words in _KINDS:
        if isinstance(example, kind):
            if several or not isinstance(value, given):
                raise UsageError(f"{key}={value!r}: {f'a list of {words}s' if several else f'a {words}'} is needed")
            return bool(value) if isinstance(example, bool) else kind(value)
    return value


_KINDS: tuple[tuple[type[Any], type[Any], str], ...] = (
    (int, Integral, "whole number"),
    (float, Real, "number"),
    (str, str, "word"),
)
"""Kind in a config, what is taken for it, and its name in messages."""
