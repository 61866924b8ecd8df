"""Writing weights: a module's tensors as safetensors with its card inside, and the card as TOML beside it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from undegrade.core.errors import WeightsError
from undegrade.core.memory import peak_bytes
from undegrade.core.replacing import replacing
from undegrade.networks import catalog
from undegrade.weights.card import WeightsCard
from undegrade.weights.store import sha256

__all__ = ["CARD_KEY", "pack"]

CARD_KEY = "undegrade.card"
"""Metadata key in the safetensors file under which the card's TOML lies."""

_PROBE = 128
"""Side of the picture for which the working memory is found out; it grows with the pixels, attention aside."""


def pack(
    module: nn.Module,
    network: str,
    config: Any,
    task: str,
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float16,
    card_path: str | Path | None = None,
    **fields: Any,
) -> Path:
    """Write ``module`` to ``path`` (safetensors) and its card next to it; both appear whole or not at all.

    Args:
        module: the network; tensors shared by several names are stored once.
        network: name in the network catalogue.
        config: the network's config dataclass; all its numbers go into the card.
        task: task name.
        path: the ``.safetensors`` file to write.
        dtype: floating-point entries are stored in this type (entries that it cannot hold stay float32).
        card_path: where the TOML goes; default: ``path`` with suffix ``.toml``.
        **fields: further card entries (``title``, ``parameters``, ``training``, ``scores``, ...);
            ``id`` defaults to the file's stem, ``title`` to the id, ``bytes_per_pixel`` to what a trial run takes.

    Returns:
        The path of the card.

    Raises:
        WeightsError: an entry holds NaN or infinity.
    """
    path = Path(path)
    fields.setdefault("id", path.stem)
    fields.setdefault("title", fields["id"])
    if "bytes_per_pixel" not in fields:
        needed = peak_bytes(module, (1, catalog.get(network).channels(config), _PROBE, _PROBE))
        fields["bytes_per_pixel"] = None if needed is None else -(-needed // _PROBE**2)
    card = WeightsCard(network=network, numbers=asdict(config), task=task, file=path.name, **fields)
    entries = {name: _stored(name, tensor, dtype) for name, tensor in _unshared(module.state_dict()).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        # Not save_file, whose files nobody else may read.
        part.write_bytes(save(entries, {"format": "pt", CARD_KEY: replace(card, sha256="").to_toml()}))
    card = replace(card, sha256=sha256(path))
    beside = Path(card_path) if card_path is not None else path.with_suffix(".toml")
    beside.parent.mkdir(parents=True, exist_ok=True)
    with replacing(beside) as part:
        part.write_text(card.to_toml(), encoding="utf-8")
    return beside


def _unshared(entries: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries without those that are another name of an earlier one (safetensors refuses shared memory)."""
    seen: set[tuple[int, tuple[int, ...]]] = set()
    kept = {}
    for name, tensor in entries.items():
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        kept[name] = tensor
    return kept


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor.clone().contiguous()
    if not torch.isfinite(tensor).all():
        raise WeightsError(f"entry '{name}' holds NaN or infinity: these weights are broken, not written")
    small = tensor.to(dtype)
    # Beyond the range of float16 (65504) an entry keeps its full width.
    return (small if torch.isfinite(small).all() else tensor.float()).clone().contiguous()
