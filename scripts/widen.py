"""Makes a wider M3SNet that does what a narrower one does, to train it on.

    python scripts/widen.py ID -o FILE [--times 2]           then undegrade train RECIPE start=FILE

Net2WiderNet (Chen, Goodfellow, Shlens: "Net2Net", ICLR 2016, section 2.2): every feature is held several times over,
and what reads it divides its weight among the copies. The shares are drawn at random, so that the gradients of the
copies differ and training tells them apart.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from undegrade.networks.layers.channel_attention import ChannelAttention
from undegrade.networks.layers.naf import NAFBlock
from undegrade.networks.m3snet import M3SNet
from undegrade.weights.load import open_weights
from undegrade.weights.pack import pack

SPREAD = 0.5
"""How far a share of a weight lies from its fair part: a standard deviation in parts of the layer's own."""


def layout(count: int, times: int, groups: int = 1, run: int = 1) -> Tensor:
    """Where each of the ``times`` x ``count`` wide features stands in a list of the copies one after the other.

    Args:
        count: features of the narrow network.
        times: how often each is held.
        groups: contiguous groups that stay together: halves of a gate, heads of an attention.
        run: neighbours that belong to one feature, as the four that a pixel shuffle spreads out.
    """
    return torch.arange(times * count).view(times, groups, -1, run).transpose(0, 1).reshape(-1)


def divided(weight: Tensor, times: int) -> Tensor:
    """(O, I, ...) -> (O, times x I, ...): every weight divided at random among the copies of what it reads."""
    shares = SPREAD * weight.std() * torch.randn(times, *weight.shape, dtype=weight.dtype)
    shares += (weight - shares.sum(0)) / times
    return shares.transpose(0, 1).flatten(1, 2)


def widened(net: M3SNet, times: int) -> dict[str, Tensor]:
    """The state of an M3SNet with ``times`` as many features and the same results."""
    written: dict[str, Tensor] = {}  # the layouts that are not plain
    read: dict[str, Tensor] = {}
    for name, module in net.named_modules():
        if isinstance(module, NAFBlock):
            for part in ("conv1", "conv2", "conv4"):
                written[f"{name}.{part}"] = layout(2 * module.conv3.in_channels, times, groups=2)
        elif isinstance(module, ChannelAttention):
            channels, heads = module.project_out.in_channels, module.heads
            written[f"{name}.qkv"] = written[f"{name}.qkv_dwconv"] = layout(3 * channels, times, groups=3 * heads)
            read[f"{name}.project_out"] = layout(channels, times, groups=heads)
        elif isinstance(module, nn.Sequential) and isinstance(module[-1], nn.PixelShuffle):
            written[f"{name}.0"] = layout(module[0].out_channels, times, run=4)
    wide: dict[str, Tensor] = {}
    for name, value in net.state_dict().items():
        place, _, entry = name.rpartition(".")
        colours_in, colours_out = place == "intro", place == "ending"
        if entry == "temperature" or (colours_out and entry == "bias"):
            wide[name] = value
            continue
        along = 1 if entry in ("beta", "gamma") else 0
        order = written.get(place, layout(value.shape[along], times))
        if value.ndim < 4 or along or value.shape[1] == 1 or colours_in:  # it reads colours, or each feature alone
            wide[name] = torch.cat([value] * times, along).index_select(along, order)
            continue
        rows = [divided(value.double(), times) for _ in range(1 if colours_out else times)]  # each copy its own shares
        weight = rows[0] if colours_out else torch.cat(rows)[order]
        wide[name] = weight[:, read.get(place, slice(None))].to(value.dtype)
    return {name: value.contiguous() for name, value in wide.items()}


def main() -> None:
    """Widen, check against the narrow network, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", help="an id or a file of an M3SNet")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    wish = parser.parse_args()
    torch.manual_seed(wish.seed)
    narrow = open_weights(wish.weights)
    net, card = narrow.module, narrow.card
    if not isinstance(net, M3SNet) or card is None:
        raise SystemExit(f"{wish.weights}: give the id, or a file with its card, of an M3SNet")
    wider = replace(narrow.config, width=wish.times * narrow.config.width)
    wide = M3SNet(wider).eval()
    wide.load_state_dict(widened(net, wish.times))
    x = torch.rand(1, 3, 96, 128)
    with torch.no_grad():
        off = float((wide(x) - net(x)).abs().max())
    pack(wide, "m3snet", wider, card.task, wish.out, dtype=torch.float32, bytes_per_pixel=None)
    print(f"{wish.out}: {sum(p.numel() for p in wide.parameters()) / 1e6:.2f} M parameters, off by {off:.1e}")


if __name__ == "__main__":
    main()
