"""Official names of what M3SNet and the MHNets share: the U of NAFBlocks, its sizes and its entries."""

from __future__ import annotations

from collections.abc import Iterable

from undegrade.networks._spec import Shapes, count
from undegrade.networks.layers.naf import LEVELS

__all__ = ["U_PREFIXES", "official_names", "u_blocks"]

U_PREFIXES = (
    ("encoder.levels.", "encoders."),
    ("encoder.downs.", "downs."),
    ("middle.", "middle_blks."),
    ("decoder.ups.", "ups."),
    ("decoder.levels.", "decoders."),
)
"""How names begin: ours, and in the official files."""


def official_names(names: Iterable[str], prefixes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Official name -> ours for all ``names`` of ours; the first prefix pair (ours, official) that fits decides."""
    pairs = tuple(prefixes)
    table = {}
    for name in names:
        ours, official = next((pair for pair in pairs if name.startswith(pair[0])), ("", ""))
        table[(official + name.removeprefix(ours)).replace(".sca.", ".sca.1.")] = name
    return table


def u_blocks(shapes: Shapes, part: str, prefix: str = "") -> tuple[int, ...]:
    """Blocks of each level of ``"encoders"`` or ``"decoders"``."""
    return tuple(count(shapes, f"{prefix}{part}.{level}.") for level in range(LEVELS))
