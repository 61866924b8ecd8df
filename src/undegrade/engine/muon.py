"""Muon: momentum whose matrix is made orthogonal before it is applied; for short trainings of convolutional networks.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with the scale of Liu et al. (arXiv
2502.16982, section 2.2), which gives its steps the size of AdamW's, so that one learning rate serves both kinds of
parameters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Muon", "orthogonal"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration: steepest at zero while the singular values stay near 1 (0.7-1.2)."""
ROUNDS = 5
ADAM_RMS = 0.2
"""Root mean square of a typical Adam step at learning rate 1."""


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, rows, columns) -> the same shape, all singular values near 1, by Newton-Schulz iterations.

    In bfloat16 as the authors do, but in float32 on processors without instructions for the former.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    slow = matrices.device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported()
    x = (matrices.mT if tall else matrices).to(torch.float32 if slow else torch.bfloat16)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    result: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return result


class Muon(torch.optim.Optimizer):
    """Muon for the weights of the convolutions between the first and the last, Adam for everything else.

    Args:
        net: the network whose parameters are trained.
        lr: learning rate of both kinds.
        betas: of Adam; the momentum of Muon is 0.95 with Nesterov's look ahead.
        momentum: of Muon.
    """

    def __init__(
        self, net: nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.99), momentum: float = 0.95
    ) -> None:
        kernels = [parameter for parameter in net.parameters() if parameter.ndim == 4 and min(parameter.shape[:2]) > 1]
        hidden = kernels[1:-1]
        chosen = set(map(id, hidden))
        rest = [parameter for parameter in net.parameters() if id(parameter) not in chosen]
        groups = [{"params": hidden, "matrices": True}, {"params": rest, "matrices": False}]
        super().__init__(groups, {"lr": lr, "betas": betas, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; ``closure`` is called first, if given, and its value returned."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            if trained:
                (self._muon if group["matrices"] else self._adam)(trained, group)
        return value

    def _muon(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        keep = group["momentum"]
        gradients = self._gradients(parameters, "momentum")
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - keep)
        looks = torch._foreach_lerp(gradients, momenta, keep)
        alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, look in zip(parameters, looks, strict=True):
            alike[parameter.shape[0], parameter[0].numel()].append((parameter, look))
        for (rows, columns), members in alike.items():  # matrices of one shape in one batch: many are small
            updates = orthogonal(torch.stack([look.reshape(rows, columns) for _, look in members]))
            size = ADAM_RMS * max(rows, columns) ** 0.5
            torch._foreach_add_(
                [parameter for parameter, _ in members],
                [update.reshape(like.shape) for update, (like, _) in zip(updates, members, strict=True)],
                alpha=-group["lr"] * size,
            )

    def _adam(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        first, second = group["betas"]
        gradients = self._gradients(parameters, "mean", "square")
        states = [self.state[parameter] for parameter in parameters]
        means, squares = ([state[name] for state in states] for name in ("mean", "square"))
        for state in states:
            state["steps"] = state.get("steps", 0) + 1
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        roots = torch._foreach_div(squares, [1 - second ** state["steps"] for state in states])
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, 1e-8)
        sizes = [-group["lr"] / (1 - first ** state["steps"]) for state in states]
        torch._foreach_addcdiv_(parameters, means, roots, sizes)

    def _gradients(self, parameters: list[Tensor], *kept: str) -> list[Tensor]:
        """The gradients; what is ``kept`` of each parameter begins at zero."""
        gradients = []
        for parameter in parameters:
            assert parameter.grad is not None
            gradients.append(parameter.grad)
            for name in kept:
                self.state[parameter].setdefault(name, torch.zeros_like(parameter.grad))
        return gradients
