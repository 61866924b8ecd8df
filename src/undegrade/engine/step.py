"""Network and loss as one module, so that DDP and torch.compile see a single thing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from undegrade.engine import losses

__all__ = ["TrainStep"]


class TrainStep(nn.Module):
    """``step(inputs, targets)`` -> the weighted sum of losses, a scalar.

    Args:
        net: the network being trained.
        weights: loss name -> weight. When one of them wants every resolution (``multiscale_*``), the network's
            ``scales`` is asked instead of its ``forward``.
    """

    def __init__(self, net: nn.Module, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.net = net
        self.terms = [(losses.get(name), weight) for name, weight in weights.items()]
        self.multiscale = any(losses.is_multiscale(name) for name in weights)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """(B, C, h, w) degraded, (B, C, H, W) clean -> scalar."""
        if self.multiscale:
            outputs = [output.float() for output in self.net.scales(inputs)]  # type: ignore[operator]
            total = [weight * loss(outputs, targets) for loss, weight in self.terms]
        else:
            output = self.net(inputs).float()
            total = [weight * loss(output, targets) for loss, weight in self.terms]
        return sum(total[1:], total[0])
