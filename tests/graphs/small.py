"""Every network small enough for recording it in a second, its weights moved away from zero."""

from __future__ import annotations

from typing import Any

import torch

from undegrade.inference.restorer import Restorer
from undegrade.networks import catalog

U: dict[str, Any] = {"enc_blocks": (1, 1, 1, 1), "num_cab": 1}

NUMBERS: dict[str, dict[str, Any]] = {
    "ccnet": {"width": 8, "blocks": 1},
    "chair": {"width": 8, "blocks": 1},
    "m3snet": {"width": 8, "enc_blocks": (1, 1, 1, 1)},
    "mhnet": {"width": 16, **U},
    "mhnet2023": {"width": 16, "n_feat": 8, **U},
    "nafsr": {"width": 8, "blocks": 1, "scale": 3},
    "pa_edsr": {"blocks": 2, "features": 8, "reduction": 2},
    "panet": {"blocks": 2, "features": 8},
    "resunet": {"widths": (8, 8), "blocks": (1, 1)},
}


def restorer(name: str, **numbers: Any) -> Restorer:
    """A small network of this kind."""
    spec = catalog.get(name)
    config = spec.configure(None, **{**NUMBERS[name], **numbers})
    torch.manual_seed(0)
    net = spec.build(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return Restorer.from_module(net, spec, config)
