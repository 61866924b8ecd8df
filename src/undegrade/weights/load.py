"""From a file of weights to a network, ready to run. Strict: every entry finds its place or is named in the error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undegrade.core.errors import UnknownNameError, UsageError, WeightsError
from undegrade.core.names import exists, is_file, is_folder
from undegrade.networks import catalog
from undegrade.networks._spec import NetworkSpec
from undegrade.weights import store
from undegrade.weights.card import WeightsCard
from undegrade.weights.checkpoint import Checkpoint, read
from undegrade.weights.hub import card_in

__all__ = ["Loaded", "build", "load_network", "open_weights"]

Spec = NetworkSpec[Any]

JUDGE = "judge"
"""What the cards of classifiers (task auto) name as their network; `undegrade.inference.judging` opens them."""


class _UnrecognisedError(WeightsError):
    """The entries are those of none of our networks."""


SHARED = 8
"""How many names a stored tensor may have."""
SMALL = 1 << 22
"""Numbers that may be missing, or repeated, without harm to the memory."""


@dataclass(frozen=True)
class Loaded:
    """A network in eval mode with everything known about it; ``card`` is None for files that carry none.

    ``path`` is the file that holds the entries, ``task`` what they are for, as the card or else the recipe of the
    training says, by any name of the task; empty where neither does.
    """

    module: nn.Module
    spec: Spec
    config: Any
    card: WeightsCard | None
    path: Path
    task: str = ""


def load_network(
    path: str | Path,
    network: str | None = None,
    preset: str | None = None,
    local_train_size: int | tuple[int, int] | None = None,
    **numbers: Any,
) -> nn.Module:
    """The network in ``path``, in eval mode and float32; see ``open_weights`` for the arguments and errors."""
    return open_weights(path, network, preset, local_train_size, **numbers).module


def open_weights(
    source: str | Path,
    network: str | None = None,
    preset: str | None = None,
    local_train_size: int | tuple[int, int] | None = None,
    **numbers: Any,
) -> Loaded:
    """Find out which network a file is for, build it and fill it.

    Args:
        source: an official checkpoint, a safetensors file, a checkpoint of our training, or the id of known weights.
        network, preset: what the file is for; found from the names and shapes inside when left out.
        local_train_size: the training patch's side, or (height, width), for the Local (TLC) form of the network.
        **numbers: numbers of the architecture that the file does not tell.

    Raises:
        WeightsError: unreadable, refused, or not fitting: missing, surplus and misshapen entries are named.
        UnknownNameError: no such network, preset or number.
        UsageError: the network has no Local form.
    """
    path, card = _locate(source)
    checkpoint = read(path)
    if inflated := [name for name, tensor in checkpoint.entries.items() if _inflated(tensor)]:
        raise WeightsError(f"{path}: {_some(inflated)} would be many times as large as it is stored; not read")
    if broken := [name for name, tensor in checkpoint.entries.items() if not _finite(tensor)]:
        raise WeightsError(
            f"{path}: NaN, infinity or no plain numbers in {_some(broken)}: a damaged file or a failed training"
        )
    card = card or checkpoint.card
    wish = _Wish(_network_of(network, preset), preset, numbers)
    try:
        spec, config, official = _identify(path, checkpoint, card, wish)
    except _UnrecognisedError as error:
        from undegrade.weights.foreign import open_foreign

        return Loaded(*open_foreign(path, str(error)), None, path)
    _refuse_larger(spec, config, checkpoint, path)
    module = build(spec, config)
    if official:
        _fill_official(module, spec.official(config), checkpoint, str(path))
    else:
        _fill(module, checkpoint.entries, str(path))
    if local_train_size is not None:
        module = _localise(module, spec, local_train_size)
    said = card.task if card is not None else checkpoint.recipe.get("task")
    return Loaded(module.eval(), spec, config, card, path, said if isinstance(said, str) else "")


def build(spec: Spec, config: Any) -> nn.Module:
    """A fresh module in float32 on the CPU; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        return spec.build(config).float()


def _refuse_larger(spec: Spec, config: Any, checkpoint: Checkpoint, path: Path) -> None:
    """A card or recipe must not ask for a network that its file does not fill: building it may take all memory."""
    try:
        with torch.device("meta"):
            needed = sum(tensor.numel() for tensor in spec.build(config).state_dict().values())
    except RuntimeError as error:
        raise WeightsError(f"{path}: {spec.name} of these numbers cannot be built: {config}") from error
    given = sum(tensor.numel() for tensor in checkpoint.entries.values())
    if needed > SHARED * given + SMALL:
        raise WeightsError(f"{path}: {spec.name} of these numbers has {needed} weights, the file {given}: {config}")


def _inflated(tensor: Tensor) -> bool:
    """Whether a few stored numbers stand for very many."""
    try:
        return tensor.numel() > max(SMALL, tensor.untyped_storage().nbytes() // tensor.element_size())
    except (RuntimeError, NotImplementedError):  # sparse and packed ones
        return False


def _finite(tensor: Tensor) -> bool:
    """Whether these are finite real numbers; torch cannot tell of sparse, packed, nested or empty-handed tensors."""
    try:
        return not tensor.is_complex() and bool(torch.isfinite(tensor).all())
    except RuntimeError:
        return False


def _locate(source: str | Path) -> tuple[Path, WeightsCard | None]:
    path = Path(source)
    # A run's folder may bear the name of the weights that it was to better: ID means the known ones, ./ID the folder.
    known = isinstance(source, str) and path.name == source and source in store.entries()
    if is_folder(path) and not known:
        path = card_in(path)
    if path.suffix == ".toml" and is_file(path):
        card = store.read_card(path)
        return store.fetch(store.Stored(card, path.parent / card.file)), card
    if known or (isinstance(source, str) and not exists(path) and path.name == source and not path.suffix):
        stored = store.find(str(source))
        return store.fetch(stored), stored.card
    return path, None


def _network_of(network: str | None, preset: str | None) -> str | None:
    """The network that was named, directly or by a preset of its."""
    if network is not None or preset is None:
        return network
    owners = {name: owner for owner, spec in catalog.entries().items() for name in spec.presets}
    if preset not in owners:
        raise UnknownNameError("preset", preset, owners)
    return owners[preset]


@dataclass(frozen=True)
class _Wish:
    """What the caller said about a file."""

    network: str | None
    preset: str | None
    numbers: Mapping[str, Any]


def _identify(path: Path, checkpoint: Checkpoint, card: WeightsCard | None, wish: _Wish) -> tuple[Spec, Any, bool]:
    """(spec, config, whether the entries bear official names), from a card or recipe, else from names and shapes."""
    said = card and (card.network, card.preset, card.numbers)
    if not said and checkpoint.recipe.get("network"):
        recipe = checkpoint.recipe
        said = (recipe["network"], recipe.get("preset"), recipe.get("numbers") or {})
        kinds = (str, str | None, Mapping)
        if not all(isinstance(value, kind) for value, kind in zip(said, kinds, strict=True)):
            raise WeightsError(f"{path}: the recipe inside is damaged: it names the network {said[0]!r}")
    if said:
        network, preset, numbers = said
        if network == JUDGE:
            raise UsageError(f"{card.id if card else path}: tells what is wrong with a picture and restores nothing")
        if wish.network not in (None, network):
            raise WeightsError(f"{path}: weights of {network}, not of {wish.network}")
        spec = catalog.get(network)
        if wish.preset:
            return spec, spec.configure(wish.preset, **wish.numbers), False
        known = preset if preset in spec.presets else None
        return spec, spec.configure(known, **{**numbers, **wish.numbers}), False
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.entries.items()}
    spec, config = _recognise(path, shapes, wish)
    return spec, config, not _is_ours(spec, config, shapes)


def _recognise(path: Path, shapes: Mapping[str, tuple[int, ...]], wish: _Wish) -> tuple[Spec, Any]:
    """The network and config that entries of these names and shapes belong to."""
    specs = [catalog.get(wish.network)] if wish.network else list(catalog.entries().values())
    if wish.preset:
        return specs[0], specs[0].configure(wish.preset, **wish.numbers)
    found = [(spec, config) for spec in specs if (config := _inferred(spec, shapes)) is not None]
    if len(found) > 1:
        found = [(spec, config) for spec, config in found if set(spec.official(config)) == set(shapes)] or found
    if len(found) > 1:
        names = ", ".join(spec.name for spec, _ in found)
        raise WeightsError(f"{path}: may be {names}; say which with network=...")
    if found:
        ((spec, config),) = found
        return spec, _changed(spec, config, wish.numbers)
    for spec in specs:
        for preset in spec.presets.values():
            config = _changed(spec, preset, wish.numbers)
            if _is_ours(spec, config, shapes):
                return spec, config
    if wish.network:
        others = [name for name, spec in catalog.entries().items() if _inferred(spec, shapes) is not None]
        if others:
            raise WeightsError(f"{path}: weights of {others[0]}, not of {wish.network}")
        return specs[0], specs[0].configure(None, **wish.numbers)
    raise _UnrecognisedError(f"{path}: {_nearest(shapes)}")


def _inferred(spec: Spec, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    try:
        return spec.infer(shapes)
    except (LookupError, ValueError, ArithmeticError):
        return None  # it lacks entries that tell the numbers; the nearest network is named later


def _changed(spec: Spec, config: Any, numbers: Mapping[str, Any]) -> Any:
    if not numbers:
        return config
    own = {entry.name: getattr(config, entry.name) for entry in fields(config)}
    return spec.configure(None, **{**own, **numbers})


def _is_ours(spec: Spec, config: Any, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether these are the entries of our own module, by our names, where they differ from the official ones."""
    with torch.device("meta"):
        state = spec.build(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()} == dict(shapes)


def _nearest(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Why nothing fits, in words, naming the network that shares most names."""

    def tables() -> Iterator[tuple[int, str, set[str]]]:
        for name, spec in catalog.entries().items():
            table = set(spec.official(spec.presets[spec.default]))
            yield len(table & set(shapes)), name, table

    shared, name, table = max(tables())
    known = ", ".join(catalog.names())
    if shared < 0.3 * len(shapes):
        some = ", ".join(list(shapes)[:3])
        return f"not weights of any known network ({known}); its entries are like {some}"
    missing = [entry for entry in table if entry not in shapes]
    surplus = [entry for entry in shapes if entry not in table]
    return f"nearest to {name}, but does not fit; {_differences(sorted(missing), surplus, [])}"


def _fill_official(module: nn.Module, table: Mapping[str, str | None], checkpoint: Checkpoint, source: str) -> None:
    """Copy entries under official names; of several official names for one tensor, the last in the file wins."""
    state, entries = module.state_dict(), checkpoint.entries
    served = {table[name] for name in entries if name in table}

    def excused(name: str) -> bool:
        # Counters of old batch norms, and second names of a tensor in a format that keeps only one of them.
        return name.endswith("num_batches_tracked") or (checkpoint.deduplicated and table[name] in served)

    missing = [name for name in table if name not in entries and not excused(name)]
    surplus = [name for name in entries if name not in table]
    places = {name: ours for name, ours in table.items() if ours is not None and name in entries}
    shapes = [_misfit(name, entries[name], state[ours]) for name, ours in places.items()]
    _check(source, missing, surplus, [line for line in shapes if line])
    with torch.no_grad():
        for name, tensor in entries.items():
            if name in places:
                state[places[name]].copy_(tensor)


def _fill(module: nn.Module, entries: Mapping[str, Tensor], source: str) -> None:
    """Copy entries under our names; those that share memory in the module may be given once."""
    state = module.state_dict()
    places = {name: (tensor.data_ptr(), tuple(tensor.shape)) for name, tensor in state.items()}
    given = {places[name] for name in entries if name in places}
    missing = [name for name, tensor in state.items() if tensor.numel() and places[name] not in given]
    surplus = [name for name in entries if name not in state]
    shapes = [_misfit(name, tensor, state[name]) for name, tensor in entries.items() if name in state]
    _check(source, missing, surplus, [line for line in shapes if line])
    with torch.no_grad():
        for name, tensor in entries.items():
            state[name].copy_(tensor)


def _misfit(name: str, given: Tensor, needed: Tensor) -> str:
    return "" if given.shape == needed.shape else f"{name} is {tuple(given.shape)}, needed {tuple(needed.shape)}"


def _check(source: str, missing: list[str], surplus: list[str], shapes: list[str]) -> None:
    if missing or surplus or shapes:
        raise WeightsError(f"{source}: does not fit the network; {_differences(missing, surplus, shapes)}")


def _differences(missing: list[str], surplus: list[str], shapes: list[str]) -> str:
    kinds = (("missing", missing), ("surplus", surplus), ("of another shape", shapes))
    return "; ".join(f"{kind}: {_some(names)}" for kind, names in kinds if names)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _localise(module: nn.Module, spec: Spec, train_size: int | tuple[int, int]) -> nn.Module:
    if spec.local is None:
        raise UsageError(f"local_train_size={train_size}: {spec.name} has no Local (TLC) form")
    sides: Any = train_size if isinstance(train_size, tuple | list) else (train_size, train_size)
    if len(sides) != 2 or not all(isinstance(side, Integral) and int(side) > 0 for side in sides):
        raise UsageError(f"local_train_size={train_size}: give the side, or (height, width), of the training patches")
    return spec.local(module, (int(sides[0]), int(sides[1])))
