"""How the stored runs of M3SNet and the MHNets are repeated: outputs, local forms, and one training step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import parity
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from weight_rule import random_levels

from undegrade.engine.losses import psnr_loss
from undegrade.networks._spec import NetworkSpec

FLOAT64 = 1e-9


def network(spec: NetworkSpec[Any], meta: dict[str, Any]) -> nn.Module:
    """The network of a stored file, found from the names and shapes in it, with the weights of the rule."""
    config = spec.infer({name: tuple(shape) for name, shape in meta["schema"].items()})
    assert config is not None
    for name in ("width", "num_cab", "n_feat"):
        assert getattr(config, name, None) == meta["kwargs"].get(name, getattr(config, name, None))
    net = parity.fill(spec.build(config), spec, config, meta["schema"], meta["weight_gain"]).eval()
    train_size = meta["kwargs"].get("train_size")
    if train_size is None:
        return net
    assert spec.local is not None
    return spec.local(net, (train_size[2], train_size[3]))


def outputs(net: nn.Module, x: Tensor, count: int) -> list[Tensor]:
    with torch.no_grad():
        full = net(x)
        if count == 1:
            return [full]
        several: list[Tensor] = net.scales(x)
        assert torch.equal(several[0], full)
        return several


def compare_outputs(spec: NetworkSpec[Any], path: Path, float32: float) -> list[parity.Row]:
    """All stored outputs in both precisions; tolerances are absolute, as the magnitudes are known."""
    arrays, meta = parity.read(path)
    net = network(spec, meta)
    precisions = {torch.float32: float32, torch.float64: FLOAT64}
    if meta["reference_dtype"] == "float64":  # near ties in the selection: float32 may keep other entries
        precisions.pop(torch.float32)
    rows = []
    for dtype, tolerance in precisions.items():
        net = net.to(dtype)
        for case in meta["cases"]:
            stored = case["outputs"]
            height, width = stored[0]["shape"][-2:]
            x = torch.from_numpy(random_levels(case["seed"], case["shape"])).to(dtype)
            # The official network returns the padded size, ours crops: padded input shows all of it.
            x = F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))
            for got, kept in zip(outputs(net, x, len(stored)), stored, strict=True):
                array = arrays[kept["name"]]
                rows.append(
                    parity.Row(
                        path.stem,
                        f"{kept['name']}, {str(dtype).removeprefix('torch.')}",
                        parity.relative_error(got, array, kept["stored_stride"]),
                        tolerance / float(np.abs(array).max()),
                    )
                )
    return rows


def compare_training(spec: NetworkSpec[Any], path: Path, schema_from: Path) -> list[parity.Row]:
    """PSNR loss, gradient norms of named groups, entries without gradient, and the loss after one Adam step."""
    dtype = torch.float64
    _, meta = parity.read(path)
    meta["schema"] = parity.read(schema_from)[1]["schema"]
    net = network(spec, meta).to(dtype).train()
    x, noise = (
        torch.from_numpy(random_levels(meta[seed], meta["shape"])).to(dtype) for seed in ("input_seed", "target_seed")
    )
    target = 0.8 * x + 0.2 * noise
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4)
    loss = psnr_loss(net(x), target)
    loss.backward()

    entries = dict(net.named_parameters())
    names = spec.official(spec.infer({name: tuple(shape) for name, shape in meta["schema"].items()}))
    gradients = {official: entries[ours].grad for official, ours in names.items() if ours is not None}
    without = {official for official in names if gradients.get(official) is None}
    assert without == set(meta["parameters_without_gradient"])
    errors = []
    for group, stored in meta["grad_norm"].items():
        parts = [grad for name, grad in gradients.items() if grad is not None and name.startswith(f"{group}.")]
        norm = float(torch.cat([part.double().flatten() for part in parts]).norm())
        errors.append(abs(norm - stored) / stored)
    total = float(torch.cat([part.double().flatten() for part in gradients.values() if part is not None]).norm())
    errors.append(abs(total - meta["total_grad_norm"]) / meta["total_grad_norm"])

    optimiser.step()
    with torch.no_grad():
        after = float(psnr_loss(net(x), target))
    return [
        parity.Row(path.stem, "loss, float64", abs(float(loss.detach()) / meta["loss"] - 1), FLOAT64),
        parity.Row(path.stem, "gradient norms, float64", max(errors), FLOAT64),
        parity.Row(path.stem, "loss after a step, float64", abs(after / meta["loss_after_step"] - 1), FLOAT64),
    ]


def compare(spec: NetworkSpec[Any], path: Path, schema_from: str, float32: float) -> list[parity.Row]:
    """All rows of one stored file; a training file takes names and shapes from ``schema_from``."""
    if not path.stem.endswith("_train"):
        return compare_outputs(spec, path, float32)
    return compare_training(spec, path, path.with_name(f"{schema_from}.npz"))
