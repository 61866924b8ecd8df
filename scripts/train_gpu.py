"""Trains a recipe with nets of NAFBlocks faster on a GPU: the block compiled over channels-last rows in bfloat16.

    python scripts/train_gpu.py RECIPE [KEY=VALUE...]        as `undegrade train`; several at once share a GPU well
    python scripts/train_gpu.py --compare                    errors and times against the plain block, then stops

The residual stream and the norms' statistics stay in float32; only what enters matrix products and the depth-wise
convolution is bfloat16. A batch that is drawn is used again, mirrored, some batches later (--reuse), where drawing is
slower than the GPU.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from train_fused import errors, plain

import undegrade
from undegrade.engine.loop import train
from undegrade.engine.recipe import Recipe
from undegrade.engine.run import Run
from undegrade.networks.layers import naf

DELAY = 12
"""Batches between a batch and its mirror image."""

SHAPES = 64
"""How many shapes may be compiled: levels, times patch sizes."""

Pair = tuple[Tensor, Tensor]


def rows(
    x: Tensor,
    norm1: Tensor,
    norm1_bias: Tensor,
    rise: Tensor,
    rise_bias: Tensor,
    taps: Tensor,
    taps_bias: Tensor,
    sca: Tensor,
    sca_bias: Tensor,
    fall: Tensor,
    fall_bias: Tensor,
    beta: Tensor,
    norm2: Tensor,
    norm2_bias: Tensor,
    first: Tensor,
    first_bias: Tensor,
    last: Tensor,
    last_bias: Tensor,
    gamma: Tensor,
) -> Tensor:
    """A NAFBlock on (B, H, W, C) float32, contiguous; the parameters as the module holds them."""
    _, height, width, channels = x.shape
    half = torch.bfloat16

    def matrix(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(y.to(half), weight.flatten(1).to(half), bias.to(half))

    y = matrix(F.layer_norm(x, (channels,), norm1, norm1_bias, 1e-6), rise, rise_bias)
    # As nine shifted products the depth-wise convolution becomes part of the kernels around it.
    padded = F.pad(y, (0, 0, 1, 1, 1, 1))
    z = taps_bias.expand(1, 1, 1, -1)
    for i in range(3):
        for j in range(3):
            z = z + padded[:, i : i + height, j : j + width] * taps[:, 0, i, j]
    left, right = z.to(half).chunk(2, -1)
    y = left * right
    attention = F.linear(y.float().mean((1, 2)), sca.flatten(1), sca_bias)
    x = x + matrix(y * attention[:, None, None].to(half), fall * beta.view(-1, 1, 1, 1), fall_bias * beta.view(-1))
    y = matrix(F.layer_norm(x, (channels,), norm2, norm2_bias, 1e-6), first, first_bias)
    left, right = y.chunk(2, -1)
    return x + matrix(left * right, last * gamma.view(-1, 1, 1, 1), last_bias * gamma.view(-1))


def over_rows(form: Callable[..., Tensor]) -> Callable[[naf.NAFBlock, Tensor], Tensor]:
    """`NAFBlock.forward` for training by ``form``, a version of `rows`."""

    def forward(self: naf.NAFBlock, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or self.window is not None:
            return plain(self, x)
        convs = (self.norm1, self.conv1, self.conv2, self.sca, self.conv3)
        more = (self.norm2, self.conv4, self.conv5)
        weights = [part for module in convs for part in (module.weight, module.bias)]
        rest = [part for module in more for part in (module.weight, module.bias)]
        with torch.autocast(x.device.type, enabled=False):
            y = form(x.permute(0, 2, 3, 1).float().contiguous(), *weights, self.beta, *rest, self.gamma)
        return y.permute(0, 3, 1, 2)

    return forward


def compiled() -> Callable[[naf.NAFBlock, Tensor], Tensor]:
    """The compiled form; each shape is compiled when it is first met."""
    torch._dynamo.config.recompile_limit = SHAPES
    torch.set_float32_matmul_precision("high")
    return over_rows(torch.compile(rows, dynamic=False))


def reused(batches: Callable[[Run], Iterator[Pair]]) -> Callable[[Run], Iterator[Pair]]:
    """`Run.batches` with every batch twice, the second time mirrored.

    Data then advance at half the pace of steps, so that only phases by the clock end in time, and a run that goes on
    after a stop meets other batches than one that had not stopped.
    """

    def twice(run: Run) -> Iterator[Pair]:
        waiting: deque[Pair] = deque()
        for inputs, targets in batches(run):
            yield inputs, targets
            waiting.append((inputs.flip(-1), targets.flip(-1)))
            if len(waiting) > DELAY:
                yield waiting.popleft()

    return twice


def compare(device: str, network: str, preset: str, side: int, batch: int) -> None:
    """The errors, and the speed of a step of a whole net, plain and compiled."""
    for channels, small in ((16, 24), (128, 9)):
        found = errors(compiled(), channels, small, small, device, torch.bfloat16)
        print("{} channels: largest relative error {:.1e} plain, {:.1e} compiled".format(channels, *found), flush=True)
    net = undegrade.create_network(network, preset=preset).to(device, memory_format=torch.channels_last)
    x = torch.rand(batch, 3, side, side, device=device)
    for name, form in (("plain", plain), ("compiled", compiled())):
        naf.NAFBlock.forward = form  # type: ignore[method-assign]
        times = []
        for turn in range(6):
            start = time.perf_counter()
            with torch.autocast(device, torch.bfloat16):
                loss = net(x).float().square().mean()
            loss.backward()
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
            if turn == 0:
                print(f"{name}: first step {times[0]:.1f} s", flush=True)
        memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
        print(f"{preset}, {batch} x {side} x {side}, {name}: {x[:, 0].numel() / min(times) / 1e6:.1f} Mpx/s, "
              f"{memory:.1f} GiB", flush=True)  # fmt: skip


def main() -> None:
    """Train, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--reuse", action="store_true", help="use every batch twice, the second time mirrored")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--network", default="m3snet", help="of --compare")
    parser.add_argument("--preset", default="m3snet_w16_d8_top2", help="of --compare")
    parser.add_argument("--size", type=int, default=256, help="side of --compare")
    parser.add_argument("--batch", type=int, default=8, help="of --compare")
    wish = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if wish.compare:
        compare(device, wish.network, wish.preset, wish.size, wish.batch)
        return
    if wish.recipe is None:
        parser.error("name a recipe, or say --compare")
    naf.NAFBlock.forward = compiled()  # type: ignore[method-assign]
    if wish.reuse:
        if Recipe.load(wish.recipe, wish.changes).max_minutes is None:
            parser.error("--reuse: phases would come too late; give max_minutes=")
        Run.batches = reused(Run.batches)  # type: ignore[method-assign]
    train(wish.recipe, wish.changes, runs=wish.runs)


if __name__ == "__main__":
    main()
