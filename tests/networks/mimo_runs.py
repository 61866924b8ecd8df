"""How the stored runs of ChaIR and CCNet are repeated: outputs at three sizes, and one training step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import parity
import torch
from torch import nn
from weight_rule import random_levels

from undegrade.engine.losses import multiscale_fft, multiscale_l1, multiscale_l1_fft
from undegrade.networks._spec import NetworkSpec

OUTPUT = 2e-5
GRADIENT = 5e-3
GRADIENT_FLOAT64 = 1e-8


def network(spec: NetworkSpec[Any], meta: dict[str, Any], schema: dict[str, Any]) -> nn.Module:
    kwargs = meta["kwargs"]
    config = spec.configure(meta["variant"])
    assert (config.width, config.blocks) == (kwargs["base_channel"], kwargs["num_res"])
    assert spec.infer({name: tuple(shape) for name, shape in schema.items()}) == config
    return parity.fill(spec.build(config), spec, config, schema, meta["weight_gain"])


def compare_outputs(spec: NetworkSpec[Any], path: Path) -> list[parity.Row]:
    arrays, meta = parity.read(path)
    net = network(spec, meta, meta["state_dict"]).eval()
    rows = []
    for case in meta["cases"]:
        x = torch.from_numpy(random_levels(case["seed"], case["shape"]))
        with torch.no_grad():
            outputs = net.scales(x)
            assert torch.equal(net(x), outputs[-1])
        for output, stored in zip(outputs, case["outputs"], strict=True):
            error = parity.relative_error(output, arrays[stored["name"]], stored["stored_stride"])
            rows.append(parity.Row(path.stem, stored["name"], error, OUTPUT))
    return rows


def compare_training(
    spec: NetworkSpec[Any], path: Path, schema: dict[str, Any], dtype: torch.dtype
) -> list[parity.Row]:
    """Loss terms, gradient norms and the running statistics after one step, in float32 or float64."""
    arrays, meta = parity.read(path)
    bits = "float64" if dtype == torch.float64 else "float32"
    net = network(spec, meta, schema).to(dtype).train()
    x, target = (torch.from_numpy(random_levels(seed, meta["shape"])).to(dtype) for seed in (21, 22))
    outputs = net.scales(x)
    total = multiscale_l1_fft(outputs, target)
    total.backward()

    terms = [loss([output], target) for loss in (multiscale_l1, multiscale_fft) for output in outputs]
    losses = np.array([float(term.detach()) for term in (*terms, total)])
    loss_error = float((np.abs(losses - arrays[f"loss_{bits}"]) / arrays[f"loss_{bits}"]).max())

    # Norms far below the total are rounding noise: biases ahead of a normalisation have no gradient at all.
    entries, names = dict(net.named_parameters()), spec.official(spec.configure(meta["variant"]))
    norms = np.array([float(entries[names[name]].grad.double().norm()) for name in meta["parameter_names"]])
    stored = arrays[f"grad_norm_{bits}"]
    large = arrays["grad_norm_float64"] > 1e-6 * meta["total_grad_norm_float64"]
    assert large.sum() == meta["compared_parameters"]
    gradient_error = float((np.abs(norms - stored) / stored)[large].max())
    tolerance = GRADIENT_FLOAT64 if dtype == torch.float64 else GRADIENT
    loss_tolerance = 1e-10 if dtype == torch.float64 else 1e-5

    rows = [
        parity.Row(path.stem, f"loss terms, {bits}", loss_error, loss_tolerance),
        parity.Row(path.stem, f"gradient norms, {bits}", gradient_error, tolerance),
    ]
    state = net.state_dict()
    statistics = {key.removeprefix("after_"): value for key, value in arrays.items() if key.startswith("after_")}
    if statistics:
        error = max(parity.relative_error(state[names[name]], value) for name, value in statistics.items())
        rows.append(parity.Row(path.stem, f"running statistics, {bits}", error, OUTPUT))
    return rows
