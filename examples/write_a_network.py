# begin
"""Tiny: a small DnCNN (Zhang et al., TIP 2017), which predicts what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undegrade.networks._spec import NetworkSpec, Shapes


@dataclass(frozen=True)
class TinyConfig:
    """Every number of the network."""

    width: int = 16
    blocks: int = 3
    colors: int = 3


class Tiny(nn.Module):
    """Convolutions that predict what is wrong, DnCNN in small (TIP 2017)."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.intro = nn.Conv2d(config.colors, config.width, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(config.width, config.width, 3, padding=1) for _ in range(config.blocks))
        self.tail = nn.Conv2d(config.width, config.colors, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, colors, H, W) in 0..1 -> the same."""
        y = torch.relu(self.intro(x))
        for layer in self.body:
            y = torch.relu(layer(y))
        return x - self.tail(y)


def infer(shapes: Shapes) -> TinyConfig | None:
    """The config whose entries these are."""
    if not {"intro.weight", "body.0.weight", "tail.weight"} <= shapes.keys() or len(shapes["intro.weight"]) != 4:
        return None
    width, colors = shapes["intro.weight"][:2]
    return TinyConfig(width, sum(name.startswith("body.") and name.endswith("weight") for name in shapes), colors)


def official(config: TinyConfig) -> dict[str, str | None]:
    """There is no official form: the names are our own."""
    return {name: name for name in Tiny(config).state_dict()}


SPEC = NetworkSpec(
    name="tiny",
    title="Tiny",
    paper="after Zhang et al.: Beyond a Gaussian Denoiser, TIP 2017",
    config=TinyConfig,
    module=Tiny,
    presets={"tiny": TinyConfig()},
    default="tiny",
    infer=infer,
    official=official,
    tiling="free",
    context=8,
    channels=lambda config: config.colors,
)
# end


def main() -> None:
    """Teaches it sigma 25 for a few steps and restores a picture of any size with it."""
    from undegrade import tasks
    from undegrade.inference.restorer import Restorer

    torch.manual_seed(0)
    config = SPEC.configure(width=8)
    net = SPEC.build(config)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    clean = torch.linspace(0, 1, 48).repeat(3, 48, 1)
    generator = torch.Generator().manual_seed(0)
    denoising = tasks.get("denoising")
    assert denoising.degrade is not None
    for step in range(60):
        noisy = denoising.degrade(clean, generator, sigma=25.0)
        loss = (net(noisy[None]) - clean).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0:
            print(f"step {step}: {-10 * loss.log10():.2f} dB")
    restorer = Restorer.from_module(net.eval(), SPEC, config, denoising)
    restored = restorer(denoising.degrade(clean, generator, sigma=25.0))
    print(f"restored: {-10 * (restored - clean).square().mean().log10():.2f} dB")


if __name__ == "__main__":
    main()
