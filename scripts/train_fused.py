"""Trains a recipe with nets of NAFBlocks faster, on AVX-512 processors: the block runs in C++ (naf_block.cpp).

    python scripts/train_fused.py RECIPE [KEY=VALUE...]      as `undegrade train`; also under torchrun
    python scripts/train_fused.py --compare                  errors and times against the plain block, then stops

The same recipe gives the same numbers up to rounding; only its minutes hold more steps. One core for each process
(OMP_NUM_THREADS=1). Needs g++; the library is built once, into build/.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import undegrade
from undegrade.networks.layers import naf

SOURCE = Path(__file__).with_name("naf_block.cpp")
FLAGS = ["-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-shared", "-fPIC"]


def build() -> ctypes.CDLL:
    """The library of the present source; written beside, then renamed, since several processes may build it."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    library = SOURCE.parents[1] / "build" / f"naf_block-{digest}.so"
    if not library.exists():
        library.parent.mkdir(exist_ok=True)
        fresh = library.with_suffix(f".{os.getpid()}")
        subprocess.run(["g++", *FLAGS, "-o", fresh, SOURCE], check=True)
        fresh.replace(library)
    return ctypes.CDLL(str(library))


class Block(torch.autograd.Function):
    """A NAFBlock on (B, H, W, C), contiguous float32.

    ``rise``, ``fall``, ``first`` and ``last`` are (outputs, inputs) with everything folded in that `block` folds;
    ``taps`` is (9, 2C).
    """

    library: ctypes.CDLL

    @classmethod
    def call(cls, step: str, *values: Tensor | int) -> None:
        """One function of the library; tensors go by address."""
        convert = [ctypes.c_long(v) if isinstance(v, int) else ctypes.c_void_p(v.data_ptr()) for v in values]
        getattr(cls.library, step)(*convert)

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        """(B, H, W, C) -> the same shape."""
        rise, rise_bias, taps, taps_bias, sca, sca_bias, fall, fall_bias, first, first_bias, last, last_bias = weights
        batch, height, width, channels = x.shape
        pixels = height * width
        wide = x.new_empty(batch, height, width, 2 * channels)
        y, middle, out = (torch.empty_like(x) for _ in range(3))
        sums = x.new_zeros(batch, channels)
        Block.call("widen", batch * pixels, channels, x, rise, rise_bias, wide)
        for i in range(batch):
            Block.call("gated", height, width, channels, wide[i], taps, taps_bias, y[i], sums[i])
        mean = sums / pixels
        attention = mean @ sca.t() + sca_bias
        for i in range(batch):
            Block.call("project", pixels, channels, x[i], y[i], attention[i], fall, fall_bias, middle[i])
        Block.call("feed", batch * pixels, channels, middle, first, first_bias, last, last_bias, out)
        ctx.save_for_backward(x, wide, y, middle, mean, attention, *weights)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """The gradients of x and of every weight."""
        x, wide, y, middle, mean, attention, *weights = ctx.saved_tensors
        rise, _, taps, taps_bias, sca, _, fall, _, first, first_bias, last, _ = weights
        batch, height, width, channels = x.shape
        pixels = height * width
        d_rise, d_first = x.new_zeros(2, channels, 2 * channels)
        d_fall, d_last = x.new_zeros(2, channels, channels)
        d_rise_bias, d_taps_bias, d_first_bias = x.new_zeros(3, 2 * channels)
        d_fall_bias, d_last_bias = x.new_zeros(2, channels)
        d_taps = torch.zeros_like(taps)
        d_attention = torch.zeros_like(attention)
        dx, d_middle, dy = (torch.empty_like(x) for _ in range(3))
        d_wide, d_conv = torch.empty_like(wide), torch.empty_like(wide[0])

        Block.call("feed_back", batch * pixels, channels, middle, first, first_bias, last, gradients[0].contiguous(),
                   d_middle, d_first, d_first_bias, d_last, d_last_bias)  # fmt: skip
        for i in range(batch):
            Block.call("project_back", pixels, channels, d_middle[i], y[i], attention[i], fall,
                       dy[i], d_attention[i], d_fall, d_fall_bias)  # fmt: skip
        d_sums = d_attention @ sca / pixels
        for i in range(batch):
            Block.call("gated_back", height, width, channels, wide[i], taps, taps_bias, dy[i], d_sums[i],
                       d_conv, d_wide[i], d_taps, d_taps_bias)  # fmt: skip
        Block.call("widen_back", batch * pixels, channels, x, rise, d_wide, d_middle, dx, d_rise, d_rise_bias)
        return (dx, d_rise.t(), d_rise_bias, d_taps, d_taps_bias, d_attention.t() @ mean, d_attention.sum(0),
                d_fall.t(), d_fall_bias, d_first.t(), d_first_bias, d_last.t(), d_last_bias)  # fmt: skip


def block(self: naf.NAFBlock, x: Tensor) -> Tensor:
    """`NAFBlock.forward` for training; folds the norms' affine part and the residuals' factors into the matrices."""
    channels = x.shape[1]
    if not torch.is_grad_enabled() or channels % 16 or x.dtype != torch.float32 or self.window is not None:
        return plain(self, x)

    def after(norm: naf.LayerNorm2d, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
        matrix = conv.weight.flatten(1)
        return matrix * norm.weight, matrix @ norm.bias + conv.bias

    def before(conv: nn.Conv2d, factor: Tensor) -> tuple[Tensor, Tensor]:
        return conv.weight.flatten(1) * factor.view(-1, 1), conv.bias * factor.view(-1)

    y: Tensor = Block.apply(
        x.permute(0, 2, 3, 1).contiguous(),
        *after(self.norm1, self.conv1),
        self.conv2.weight.flatten(1).t().contiguous(),
        self.conv2.bias,
        self.sca.weight.flatten(1),
        self.sca.bias,
        *before(self.conv3, self.beta),
        *after(self.norm2, self.conv4),
        *before(self.conv5, self.gamma),
    )
    return y.permute(0, 3, 1, 2)


plain = naf.NAFBlock.forward


def errors(
    ours: Callable[[naf.NAFBlock, Tensor], Tensor],
    channels: int,
    height: int,
    width: int,
    device: str = "cpu",
    half: torch.dtype | None = None,
) -> tuple[float, float]:
    """Largest relative errors among result and gradients, against float64: of the plain block, and of ``ours``.

    Both run in float32, or under autocast to ``half``.
    """
    torch.manual_seed(0)
    example = naf.NAFBlock(channels)
    for parameter in example.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    x = torch.randn(2, channels, height, width)
    found = []
    for form, dtype in ((plain, torch.float64), (plain, torch.float32), (ours, torch.float32)):
        net = naf.NAFBlock(channels).to(device, dtype)
        net.load_state_dict(example.state_dict())
        start = x.to(device, dtype, copy=True).requires_grad_()
        with torch.autocast(device, half, enabled=half is not None and dtype == torch.float32):
            result = form(net, start).to(dtype)
        slope = torch.linspace(-1, 1, result.numel(), dtype=dtype, device=device)
        (result * slope.view(result.shape)).sum().backward()
        found.append([result.detach(), start.grad, *(parameter.grad for parameter in net.parameters())])
    first, second = (
        max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(other, found[0], strict=True))
        for other in found[1:]
    )
    return first, second


def compare() -> None:
    """The errors, and the time of a step of a whole net."""
    for sizes in ((16, 20, 24), (32, 16, 17), (128, 9, 8)):
        print("{} channels: largest relative error {:.1e} plain, {:.1e} fused".format(sizes[0], *errors(block, *sizes)))
    torch.set_num_threads(1)
    net = undegrade.create_network("m3snet", preset="m3snet_w16_d8").to(memory_format=torch.channels_last)
    x = torch.rand(2, 3, 128, 128)
    times: dict[str, list[float]] = {"plain": [], "fused": []}
    for _ in range(8):
        for name, form in (("plain", plain), ("fused", block)):
            naf.NAFBlock.forward = form  # type: ignore[method-assign]
            start = time.perf_counter()
            (net(x) - x).square().mean().backward()
            times[name].append(time.perf_counter() - start)
    ratio = min(times["plain"]) / min(times["fused"])
    print(f"a step of m3snet_w16_d8 with 2 x 128 x 128 pixels, one thread: {ratio:.2f} times as fast")


def main() -> None:
    """Train, or compare."""
    if not sys.argv[1:] or {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    Block.library = build()
    if sys.argv[1:] == ["--compare"]:
        compare()
        return
    from undegrade.engine.loop import train

    naf.NAFBlock.forward = block  # type: ignore[method-assign]
    train(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    main()
