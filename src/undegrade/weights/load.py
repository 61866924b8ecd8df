"""From a file of weights to a network, ready to run. Strict: every entry finds its place or is named in the error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from undegrade.core.errors import WeightsError
from undegrade.networks import catalog
from undegrade.networks._spec import NetworkSpec
from undegrade.weights.card import WeightsCard

__all__ = ["config_of", "fill", "load_card"]


def config_of(card: WeightsCard) -> tuple[NetworkSpec[Any], Any]:
    """The spec and the config that a card names."""
    spec = catalog.get(card.network)
    return spec, spec.configure(card.preset if card.preset in spec.presets else None, **card.numbers)


def load_card(card: WeightsCard, path: Path) -> tuple[nn.Module, NetworkSpec[Any], Any]:
    """The network that ``card`` describes with the entries of ``path``, in eval mode and float32.

    Raises:
        WeightsError: an entry is missing, surplus, or of another shape.
    """
    spec, config = config_of(card)
    module = build(spec, config)
    fill(module, load_file(path), str(path))
    return module, spec, config


def build(spec: NetworkSpec[Any], config: Any) -> nn.Module:
    """A fresh module; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return spec.build(config)


def fill(module: nn.Module, entries: Mapping[str, Tensor], source: str) -> None:
    """Copy ``entries`` (our names) into ``module`` and put it into eval mode.

    Entries that share their memory in the module may be given once.

    Raises:
        WeightsError: an entry is missing, surplus, or of another shape; all are named.
    """
    state = module.state_dict()
    places = {name: (tensor.data_ptr(), tuple(tensor.shape)) for name, tensor in state.items()}
    given = {places[name] for name in entries if name in places}
    missing = [name for name, tensor in state.items() if tensor.numel() and places[name] not in given]
    surplus = [name for name in entries if name not in state]
    shapes = [
        f"{name} is {tuple(entries[name].shape)}, needed {tuple(tensor.shape)}"
        for name, tensor in state.items()
        if name in entries and entries[name].shape != tensor.shape
    ]
    complain(source, missing, surplus, shapes)
    with torch.no_grad():
        for name, tensor in entries.items():
            state[name].copy_(tensor)
    module.eval()


def complain(source: str, missing: list[str], surplus: list[str], shapes: list[str]) -> None:
    """Raise a WeightsError that names what does not fit; nothing to name, nothing raised."""

    def some(names: list[str]) -> str:
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    wrong = [
        f"{what}: {some(names)}"
        for what, names in (("missing", missing), ("surplus", surplus), ("wrong shape", shapes))
        if names
    ]
    if wrong:
        raise WeightsError(f"{source}: does not fit the network; {'; '.join(wrong)}")
