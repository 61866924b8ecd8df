"""A restorer inside PyTorch code: `python examples/inside_pytorch.py`.

As a step before another network on batches, and as a module with gradients, here to fine-tune weights on one picture.
"""

from __future__ import annotations

import torch

import undegrade


def main() -> None:
    """Both uses, on made data."""
    batch = torch.rand(2, 3, 40, 56)
    restorer = undegrade.load("denoising")
    print("batch:", restorer(batch).shape)  # no gradients, any size, tiles if memory is short

    net = undegrade.load_network("denoising_fast").train()
    optimiser = torch.optim.Adam(net.parameters(), 1e-4)
    clean = torch.linspace(0, 1, 64).repeat(1, 3, 64, 1)
    for _ in range(3):
        noisy = clean + 0.1 * torch.randn_like(clean)
        loss = torch.nn.functional.l1_loss(net(noisy), clean)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"loss: {loss.item():.4f}")


if __name__ == "__main__":
    main()
