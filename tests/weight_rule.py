"""Weights for the stored comparisons: every value follows from an entry's official name, its shape and a gain.

The stored outputs in ``golden/`` were computed with these weights, so no weight file has to travel with the tests.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

SCALES = ("gamma", "beta", "alpha", "temperature")


def official_weight(name: str, shape: Sequence[int], gain: float = 1.0) -> np.ndarray | None:
    """Value of one entry as float32; None where the network keeps its own constant."""
    shape = tuple(shape)
    *path, last = name.split(".")
    if last == "escape_NaN" or {"sub_mean", "add_mean"} & {*path, last}:
        return None
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    single, vector = math.prod(shape) == 1, len(shape) == 1
    z = np.asarray(np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape))
    if last == "running_var":
        value = np.abs(z) + 0.5
    elif last in SCALES:
        value = 1 + 0.1 * z
    elif single and (re.search(r"attn\d+$", last) or (vector and last == "weight")):
        value = 0.25 + 0.1 * z
    elif vector and last == "weight":
        value = 1 + 0.1 * z
    elif len(shape) >= 2:
        value = z * (gain / math.sqrt(math.prod(shape[1:])))
    else:
        value = 0.1 * z
    return value.astype(np.float32)


def official_weights(schema: Mapping[str, Sequence[int]], gain: float = 1.0) -> dict[str, np.ndarray]:
    """Official name -> value for every entry of ``schema`` (official name -> shape); fixed entries are left out."""
    values = {name: official_weight(name, shape, gain) for name, shape in schema.items()}
    return {name: value for name, value in values.items() if value is not None}


def random_levels(seed: int, shape: Sequence[int]) -> np.ndarray:
    """Random 8-bit levels over 255, float32: the input rule of the stored comparisons."""
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, size=shape, dtype=np.uint8) / np.float32(255)
