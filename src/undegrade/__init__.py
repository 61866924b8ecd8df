"""undegrade: image restoration as one verb.

    >>> import undegrade
    >>> undegrade.list_tasks()  # doctest: +ELLIPSIS
    ['defocus_deblurring', ...]

Everything public is listed in ``__all__``; the functions live in ``undegrade.api`` and are imported when first used,
so that ``import undegrade`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade._version import __version__
from undegrade.core.errors import (
    InputError,
    MissingExtraError,
    UndegradeError,
    UnknownNameError,
    UsageError,
    WeightsError,
)

if TYPE_CHECKING:
    from undegrade.api import (
        convert,
        create_network,
        degrade,
        evaluate,
        list_networks,
        list_presets,
        list_tasks,
        list_weights,
        load,
        load_network,
        restore,
        train,
        weights_card,
    )

__all__ = [
    "InputError",
    "MissingExtraError",
    "UndegradeError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "__version__",
    "convert",
    "create_network",
    "degrade",
    "evaluate",
    "list_networks",
    "list_presets",
    "list_tasks",
    "list_weights",
    "load",
    "load_network",
    "restore",
    "train",
    "weights_card",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from undegrade import api

        return getattr(api, name)
    raise AttributeError(f"module 'undegrade' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
