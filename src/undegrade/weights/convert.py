"""Official checkpoint to safetensors with a card: our names, exact values, everything that was found out about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from undegrade.core.errors import UsageError, WeightsError
from undegrade.core.names import printable, same_file
from undegrade.weights.foreign import Foreign
from undegrade.weights.load import open_weights
from undegrade.weights.pack import pack
from undegrade.weights.store import read_card

__all__ = ["convert"]


def convert(
    checkpoint: str | Path,
    output: str | Path,
    network: str | None = None,
    preset: str | None = None,
    task: str = "",
    *,
    dtype: torch.dtype = torch.float32,
    known_as: Callable[[str], str] = str,
    **fields: Any,
) -> Path:
    """Write the network in ``checkpoint`` to ``output`` (.safetensors) and return the path of its card.

    Args:
        checkpoint: any file that ``load_network`` reads.
        output: the file to write; the card lies beside it with suffix ``.toml``, and inside it.
        network, preset: what the file is for, where names and shapes do not tell.
        task: the task that the weights serve; left out, as the card or the training's recipe inside says.
        dtype: storage type; float32 keeps every value.
        known_as: turns any name of a task, of which a recipe may say one, into the one that cards say.
        **fields: further card entries (title, licence, origin, parameters, ...). What is not given here is taken over
            from the card of ``checkpoint``, if it has one.

    Raises:
        UsageError: ``output`` is not a .safetensors file, or is the checkpoint; the card's place is taken by something
            else; or the checkpoint holds a network of spandrel's.
        WeightsError: see ``load_network``.
    """
    output = Path(output)
    if output.suffix != ".safetensors":
        raise UsageError(f"output={output}: give a name that ends in .safetensors")
    if same_file(output, Path(checkpoint)):
        raise UsageError(f"output={output}: is the checkpoint itself; give another name")
    loaded = open_weights(checkpoint, network, preset)
    if isinstance(loaded.module, Foreign):
        raise UsageError(
            f"{checkpoint}: {loaded.spec.title}, a network of spandrel's, is not converted; it loads as it is"
        )
    if same_file(output, loaded.path):
        raise UsageError(f"output={output}: holds the weights of {checkpoint}; give another name")
    _refuse_stranger(output.with_suffix(".toml"))
    if loaded.card is not None:
        said = loaded.card.inherited()
        if dtype is not torch.float32:
            said.pop("scores")  # measured on values that may be others now
        task = task or loaded.card.task
    else:
        presets = (name for name, config in loaded.spec.presets.items() if config == loaded.config)
        origin = f"converted from {printable(Path(checkpoint).name)}"
        said = {"preset": next(presets, None), "padding": loaded.spec.official_padding, "origin": origin}
        task = task or (known_as(loaded.task) if loaded.task else "")
    if preset is not None:
        said["preset"] = preset
    return pack(loaded.module, loaded.spec.name, loaded.config, task, output, dtype=dtype, **{**said, **fields})


def _refuse_stranger(card: Path) -> None:
    """Raises a UsageError where the card would replace what is no card: many a file is called pyproject.toml."""
    if not card.exists():
        return
    try:
        read_card(card)
    except (WeightsError, OSError):
        raise UsageError(f"{card}: is no card, and the new card would replace it; give another output") from None
