"""Network and loss as one module, so that DDP and torch.compile see a single thing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from undegrade.core.errors import UsageError
from undegrade.engine import losses

__all__ = ["TrainStep"]


class TrainStep(nn.Module):
    """``step(inputs, targets)`` -> the weighted sum of losses, a scalar.

    Args:
        net: the network being trained.
        weights: loss name -> weight. When they want every resolution (``multiscale_*``), the network's ``scales`` is
            asked instead of its ``forward``.

    Attributes:
        partial: whether the network has heads that the loss does not ask, and that get no gradient.

    Raises:
        UnknownNameError: there is no such loss.
        UsageError: some want every resolution and others do not, or the network gives only one; when it runs: the
            results are not of the targets' size.
    """

    def __init__(self, net: nn.Module, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.net = net
        self.terms = [(losses.get(name), weight) for name, weight in weights.items()]
        kinds = {losses.is_multiscale(name) for name in weights}
        if len(kinds) > 1:
            raise UsageError(f"loss={', '.join(weights)}: either all of them are multiscale_... or none")
        self.multiscale = kinds == {True}
        self.partial = hasattr(net, "scales") and not self.multiscale
        if self.multiscale and not hasattr(net, "scales"):
            raise UsageError(
                f"loss={', '.join(weights)}: {type(net).__name__} gives one size only; take losses without multiscale_"
            )

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """(B, C, h, w) degraded, (B, C, H, W) clean -> scalar."""
        if self.multiscale:
            outputs = [output.float() for output in self.net.scales(inputs)]  # type: ignore[operator]
            total = [weight * loss(outputs, targets) for loss, weight in self.terms]
        else:
            output = self.net(inputs).float()
            if output.shape != targets.shape:
                raise UsageError(
                    f"{type(self.net).__name__} makes {tuple(inputs.shape[-2:])} to {tuple(output.shape[-2:])}, the "
                    f"targets are {tuple(targets.shape[-2:])}: give the sources the network's scale"
                )
            total = [weight * loss(output, targets) for loss, weight in self.terms]
        return sum(total[1:], total[0])
