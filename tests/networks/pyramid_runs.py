"""How the stored runs of PANet and PA-EDSR are repeated: whole pictures, official tiles, self-ensemble, gradients."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import parity
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.inference.chop import chop
from undegrade.inference.ensemble import ensemble8
from undegrade.networks._spec import NetworkSpec

NETWORK = 5e-6
FLOAT64 = 1e-11
GRADIENT_NORM = {torch.float32: 1e-3, torch.float64: 1e-8}
NUMBERS = {"n_resblocks": "blocks", "n_feats": "features", "n_colors": "colors", "scale": "scale"}


def stored_input(name: str, shape: list[int], *, signed: bool = False) -> Tensor:
    """Uniform numbers in 0..1, or -1..1 when ``signed``, that follow from the name."""
    u = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).random(shape).astype(np.float32)
    return torch.from_numpy(2 * u - 1 if signed else u)


def compare_network(spec: NetworkSpec[Any], path: Path) -> list[parity.Row]:
    arrays, meta = parity.read(path)
    numbers = {ours: meta["kwargs"][theirs] for theirs, ours in NUMBERS.items()}
    config = spec.infer({name: tuple(shape) for name, shape in meta["state_dict"].items()})
    assert all(getattr(config, number, value) == value for number, value in numbers.items())
    net = parity.fill(spec.build(config), spec, config, meta["state_dict"], meta["weight_gain"]).eval()

    run: Callable[[Tensor], Tensor] = net
    if meta.get("mode") == "chop":
        run = partial(chop, net, scale=spec.scale(config), shave=meta["shave"], min_size=meta["min_size"])
    elif meta.get("mode") == "x8":
        run = partial(ensemble8, net)
    x = stored_input(path.stem, meta["input_shape"])
    rows = compare_outputs(net, run, x, path.stem, arrays["output"], tolerance=NETWORK)
    if "grad_norm_float64" in meta:
        target = stored_input(f"{path.stem}/target", list(arrays["output"].shape))
        rows += compare_gradients(net, spec.official(config), x, target, meta)[0]
    return rows


def compare_outputs(
    net: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor, file: str, stored: np.ndarray, *, tolerance: float
) -> list[parity.Row]:
    """Float32 always; float64 where the stored output is of that type."""
    rows = []
    for dtype, limit in ((torch.float64, FLOAT64), (torch.float32, tolerance)):
        if dtype == torch.float64 and stored.dtype != np.float64:
            continue
        with torch.no_grad():
            net.to(dtype)
            error = parity.relative_error(run(x.to(dtype)), stored)
        rows.append(parity.Row(file, f"output, {str(dtype).removeprefix('torch.')}", error, limit))
    return rows


def compare_gradients(
    net: nn.Module, names: Mapping[str, str | None], x: Tensor, target: Tensor, meta: dict[str, Any]
) -> tuple[list[parity.Row], dict[torch.dtype, Tensor]]:
    """Mean L1 loss and gradient norms in both precisions; also the gradients of the input."""
    rows, of_input = [], {}
    for dtype, limit in GRADIENT_NORM.items():
        bits = str(dtype).removeprefix("torch.")
        net.to(dtype).zero_grad()
        source = x.detach().to(dtype, copy=True).requires_grad_()
        loss = F.l1_loss(net(source), target.to(dtype))
        loss.backward()
        stored = meta[f"grad_norm_{bits}"]
        tensors = dict(net.named_parameters()) | {"(input)": source}
        ours = {name: names.get(name, name) for name in stored}
        assert set(ours.values()) >= set(tensors) - {"(input)"}
        norms = {name: float(tensors[ours[name]].grad.double().norm()) for name in stored}
        error = max(abs(norms[name] - value) / value for name, value in stored.items())
        rows.append(parity.Row(meta["name"], f"gradient norms, {bits}", error, limit))
        loss_error = abs(float(loss.detach()) - meta[f"l1_{bits}"]) / meta[f"l1_{bits}"]
        rows.append(parity.Row(meta["name"], f"loss, {bits}", loss_error, 1e-5 if dtype == torch.float32 else 1e-12))
        of_input[dtype] = source.grad
    return rows, of_input
