"""undegrade: image restoration as one verb.

    >>> import undegrade
    >>> undegrade.list_tasks()  # doctest: +ELLIPSIS
    ['auto', 'defocus_deblurring', ...]

Everything public is listed in ``__all__``; the functions live in ``undegrade.api`` and are imported when first used,
so that ``import undegrade`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
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
        export,
        from_pretrained,
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
    from undegrade.core.image import Picture
    from undegrade.engine.recipe import Recipe
    from undegrade.engine.scores import EvalReport
    from undegrade.inference.auto import Auto
    from undegrade.inference.chain import Chain
    from undegrade.inference.restorer import Restorer
    from undegrade.weights.card import WeightsCard

__all__ = [
    "Auto",
    "Chain",
    "EvalReport",
    "InputError",
    "MissingExtraError",
    "Picture",
    "Recipe",
    "Restorer",
    "UndegradeError",
    "UnknownNameError",
    "UsageError",
    "WeightsCard",
    "WeightsError",
    "__version__",
    "convert",
    "create_network",
    "degrade",
    "evaluate",
    "export",
    "from_pretrained",
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


_TYPES = {
    "Auto": "undegrade.inference.auto",
    "Chain": "undegrade.inference.chain",
    "EvalReport": "undegrade.engine.scores",
    "Picture": "undegrade.core.image",
    "Recipe": "undegrade.engine.recipe",
    "Restorer": "undegrade.inference.restorer",
    "WeightsCard": "undegrade.weights.card",
}
"""Where the types live that the functions take and give."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(_TYPES.get(name, "undegrade.api")), name)
    raise AttributeError(f"module 'undegrade' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
