"""Reading files of weights from anywhere: safetensors and torch pickles, unwrapped, without running what is inside."""

from __future__ import annotations

import argparse
import pickle
import pickletools
import re
import sys
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from undegrade.core.alone import ALONE
from undegrade.core.errors import WeightsError, one_line
from undegrade.core.names import is_file
from undegrade.weights.card import WeightsCard
from undegrade.weights.pack import CARD_KEY

__all__ = ["Checkpoint", "read", "read_content"]

WRAPPERS = ("params_ema", "ema", "params", "state_dict", "model_state_dict", "model", "net", "network", "generator")
"""Keys under which training scripts put the state dict; where a file has several, the first of these counts."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
"""What multi-GPU wrappers, compilers and frameworks put before every name."""

DEEPEST = 5
"""Wrappers inside one another that are opened; a file may hold a dict that holds itself."""

COUNTERS = ("total_ops", "total_params")
"""Entries that a cost profiler leaves behind (thop); no part of any network."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds.

    Attributes:
        entries: name -> tensor on the CPU, in the file's order, prefixes and counters removed.
        card: the card, when the file has one inside.
        recipe: the training recipe, in checkpoints of our own training runs.
        deduplicated: whether the format keeps shared tensors under one name only (safetensors).
    """

    entries: dict[str, Tensor]
    card: WeightsCard | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    deduplicated: bool = False


def read(path: str | Path) -> Checkpoint:
    """The weights in ``path``: .safetensors, or anything that ``torch.save`` wrote (.pth .pt .pkl .ckpt, old or new).

    Pickles are read in restricted mode: tensors, plain containers, numbers and strings. Anything else is refused
    before it is called.

    Raises:
        WeightsError: no such file, cut off, not a checkpoint, no weights inside, or refused.
    """
    path = Path(path)
    if _is_safetensors(path):
        return _read_safetensors(path)
    content = _read_pickle(path)
    entries = _unwrap(content)
    if not entries:
        raise WeightsError(f"{path}: no tensors inside; found {_outline(content)}")
    recipe = content.get("recipe") if isinstance(content, Mapping) else None
    return Checkpoint(_clean(entries), recipe=recipe if isinstance(recipe, Mapping) else {})


def read_content(path: str | Path) -> Any:
    """What ``read`` unwraps, as it lies in the file: wrapped, with prefixes. Safe in the same way, with its errors."""
    path = Path(path)
    return _open_safetensors(path)[0] if _is_safetensors(path) else _read_pickle(path)


def _is_safetensors(path: Path) -> bool:
    """Whether it is that rather than a pickle, as far as the first bytes tell."""
    if not is_file(path):
        raise WeightsError(f"{path}: no such file")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise WeightsError(f"{path}: the file is empty; get it again")
    # A safetensors file begins with the length of its header, eight bytes, and the header, JSON.
    if head[8:9] == b"{" and head[6:8] == b"\0\0":
        return True
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path}: only a git-lfs pointer, not the weights; fetch them with 'git lfs pull'")
    if head.lstrip()[:1] == b"<":
        raise WeightsError(f"{path}: a web page, not weights; the download link was answered with a page")
    return path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> Checkpoint:
    entries, metadata = _open_safetensors(path)
    card = WeightsCard.from_toml(metadata[CARD_KEY], str(path)) if CARD_KEY in metadata else None
    return Checkpoint(_clean(entries), card, deduplicated=True)


def _open_safetensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            entries = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            return entries, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cut off or not a safetensors file ({_sentence(error)}); get it again") from error


def _harmless() -> list[Any]:
    """What checkpoints of the wild hold beside tensors, and what does nothing but build a plain value."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "?")]
    return [argparse.Namespace, scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *kinds]


def _read_pickle(path: Path) -> Any:
    if _is_zip(path) and _packed(path):
        raise WeightsError(
            f"{path}: refused: a compressed archive, of which torch.save makes none; it may fill the memory"
        )
    try:
        # Old files make torch warn about its own storage classes; nothing a reader of the file can act on.
        with ALONE, warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: {_refusal(path, str(error))}") from error
    except Exception as error:
        # torch reports damage by a dozen exception types, from EOFError to IndexError.
        raise WeightsError(f"{path}: {_damage(path, error)}") from error


def _refusal(path: Path, message: str) -> str:
    names = re.findall(r"GLOBAL `?([A-Za-z_][\w.]*)", message) or _globals(path)
    if not names:
        return "not a checkpoint: a pickle, but not one that torch.save wrote, or damaged"
    # torch names builtins without their module.
    name = names[0] if "." in names[0] else f"builtins.{names[0]}"
    if name.split(".")[0] in sys.stdlib_module_names:
        return f"refused: reading it would call {name}, that is, run code; nothing was run. Do not trust this file"
    if name.startswith("torch._utils"):
        return "refused: a plain pickle of tensors, which cannot be read safely; write it with torch.save"
    return (
        f"refused: it holds an object of {name}, not only tensors (a whole module was saved?); reading it would "
        "run code. Where that code is at hand, save model.state_dict() instead"
    )


def _globals(path: Path) -> list[str]:
    """What the pickle at the start of a file would look up, read from its opcodes without running them."""
    names, strings = [], []
    try:
        for code, argument, _ in pickletools.genops(path.read_bytes()):
            if isinstance(argument, str):
                strings.append(argument)
            if code.name == "GLOBAL":
                names.append(str(argument).replace(" ", "."))
            elif code.name == "STACK_GLOBAL":
                names.append(".".join(strings[-2:]))
    except (ValueError, IndexError):
        pass  # damaged from here on; what came before is known
    return names


def _damage(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        whole = head[:2] == b"PK" and _is_zip(path)
        return f"{'damaged' if whole else 'cut off or damaged'} ({_sentence(error)}); get it again"
    return "not a checkpoint: neither safetensors nor a file that torch.save wrote"


def _is_zip(path: Path) -> bool:
    """Whether a zip file's end is where it belongs."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it does not only answer: an archive on several disks makes it raise
        return False


def _packed(path: Path) -> bool:
    """Whether a zip file holds anything smaller than it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # damaged: torch says how
        return False


def _unwrap(content: Any, deepest: int = DEEPEST) -> dict[str, Tensor]:
    """The state dict somewhere inside ``content``, or an empty one."""
    if not isinstance(content, Mapping) or not deepest:
        return {}
    for key in WRAPPERS:
        if inside := _unwrap(content.get(key), deepest - 1):
            return inside
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _clean(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kept = {name: tensor for name, tensor in entries.items() if name.rsplit(".", 1)[-1] not in COUNTERS}
    while prefix := next((p for p in PREFIXES if kept and all(name.startswith(p) for name in kept)), None):
        kept = {name.removeprefix(prefix): tensor for name, tensor in kept.items()}
    return kept


def _outline(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"the keys {', '.join(map(str, list(content)[:6])) or '(none)'}"
    return f"a {type(content).__name__}"


def _sentence(error: Exception) -> str:
    """The first one; torch adds pages of advice."""
    return one_line(error).split(". ")[0][:160].rstrip(".") or type(error).__name__
