"""Stored runs of pyramid attention alone: sizes, batch, 256 channels, keys below the floor, old resize, gradients."""

from __future__ import annotations

from pathlib import Path

import parity
import torch
from pyramid_runs import compare_gradients, compare_outputs, stored_input
from weight_rule import official_weights

from undegrade.networks.layers.edsr import attention_names
from undegrade.networks.layers.pyramid import PyramidAttention

FILES = ("pa_c*",)
TOLERANCE = 3e-5  # the softmax amplifies the noise of the scores


def compare(path: Path) -> list[parity.Row]:
    arrays, meta = parity.read(path)
    numbers, schema = meta["kwargs"], meta["state_dict"]
    layer = PyramidAttention(
        numbers["channel"],
        numbers["channel"] // numbers["reduction"],
        residual=numbers["res_scale"],
        legacy_resize=meta["legacy_resize"],
    )
    names = {
        theirs.removeprefix("."): ours and ours.removeprefix("attention.")
        for theirs, ours in attention_names("").items()
    }
    weights = official_weights(schema, meta["weight_gain"])
    for name in ("conv_match.0.weight", "conv_match.0.bias"):
        weights[name] *= weights[name].dtype.type(meta["conv_match_multiplied_by"])
    layer.load_state_dict({names[name]: torch.from_numpy(value) for name, value in weights.items()})

    x = stored_input(path.stem, meta["input_shape"], signed=True)
    rows = compare_outputs(layer, layer, x, path.stem, arrays["output"], tolerance=TOLERANCE)
    if "grad_input" in arrays:
        target = stored_input(f"{path.stem}/target", meta["input_shape"], signed=meta["signed_target"])
        gradient_rows, of_input = compare_gradients(layer, names, x, target, meta)
        error = parity.relative_error(of_input[torch.float32], arrays["grad_input"])
        rows += [*gradient_rows, parity.Row(path.stem, "gradient of the input, float32", error, 1e-3)]
    return rows
