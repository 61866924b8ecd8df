"""Weights, gradients, averages and optimiser states spread over processes (FSDP), and put together for files.

Every process keeps a slice of every tensor between steps and gathers the whole weights for a step. So the part of the
memory that does not depend on the picture is divided by the number of processes. Checkpoints hold whole tensors:
they are those of any other run, and go on with any number of processes, sharded or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

__all__ = ["local", "shard", "slices", "whole"]


def shard(module: nn.Module) -> None:
    """Replaces the parameters of ``module`` by this process's slices; they are gathered while it runs."""
    fully_shard(module)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(state: Any) -> Any:
    """Nested state with whole tensors in place of slices; every process must call this."""
    if isinstance(state, DTensor):
        return state.full_tensor().cpu()
    if isinstance(state, Mapping):
        return {key: whole(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(whole(value) for value in state)
    return state


def slices(state: Mapping[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimiser, as ``whole`` gave it, cut as the parameters are."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    cut = {
        index: {
            name: distribute_tensor(value, parameter.device_mesh, parameter.placements)
            if isinstance(parameter, DTensor) and isinstance(value, Tensor) and value.shape == parameter.shape
            else value
            for name, value in state["state"].get(index, {}).items()
        }
        for index, parameter in enumerate(parameters)
    }
    return {**state, "state": {index: entries for index, entries in cut.items() if entries}}
