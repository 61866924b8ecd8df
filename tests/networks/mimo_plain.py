"""ChaIR and CCNet computed the way the papers' code does, step by step: what the fast forms must equal."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undegrade.networks import ccnet, chair
from undegrade.networks.layers.inplace import Gelu
from undegrade.networks.layers.mimo import MimoUNet


def channel_filter(unit: chair.ChannelFilter, u: Tensor) -> Tensor:
    """Neighbouring channels gathered into three copies of the map, weighed and summed."""
    b, c, h, w = u.shape
    weights = torch.tanh(unit.norm(unit.taps(F.adaptive_avg_pool2d(u, 1)))).view(b, 1, 3, c)
    rows = F.pad(u.permute(0, 2, 3, 1).reshape(b, h * w, c), (1, 1), mode="reflect")
    copies = F.unfold(rows[:, :, None], (1, 3)).view(b, h * w, 3, c)
    v = (copies * weights).sum(2).view(b, h, w, c).permute(0, 3, 1, 2)
    return unit.gamma * v + unit.beta * u


def serial_branches(unit: chair.SerialBranches, u: Tensor) -> Tensor:
    """All four maps summed before the mean, weighed one by one."""
    branches = []
    for layer in unit.convs:
        branches.append(F.gelu(layer(branches[-1] if branches else u)))
    squeezed = unit.squeeze(F.adaptive_avg_pool2d(torch.stack(branches).sum(0), 1))
    weights = torch.cat([score(squeezed) for score in unit.scores], 1).softmax(1).chunk(4, 1)
    mixed = torch.stack([w * branch for w, branch in zip(weights, branches, strict=True)]).sum(0)
    return unit.gamma * unit.out(mixed) + u


def gated_unit(unit: ccnet.GatedUnit, x: Tensor) -> Tensor:
    """Layer norm between two changes of layout, then the two branches apart."""
    b, c, h, w = x.shape
    n = unit.norm(x.flatten(2).transpose(1, 2).contiguous()).transpose(1, 2).reshape(b, c, h, w)
    return F.gelu(F.gelu(unit.depthwise(unit.value(n))) * unit.gate(n))


def strip_unit(unit: ccnet.StripUnit, u: Tensor) -> Tensor:
    """Four grouped convolutions, each with its own copy of the taps for every channel and picture."""
    v = u
    for strip in unit.strips:
        v = _strip(v, strip.taps, strip.axis, strip.dilation)
    return unit.gamma * v + unit.beta * u


def _strip(u: Tensor, layer: nn.Module, axis: int, dilation: int) -> Tensor:
    b, c, h, w = u.shape
    taps = torch.sigmoid(layer(F.adaptive_avg_pool2d(u, 1))).flatten(1)
    k = taps.shape[1]
    pad = dilation * (k - 1) // 2
    shape, pads = ((1, k), (pad, pad, 0, 0)) if axis == 3 else ((k, 1), (0, 0, pad, pad))
    filters = taps[:, None, None].expand(b, c, 1, k).reshape(b * c, 1, *shape)
    padded = F.pad(u, pads, mode="reflect")
    out = F.conv2d(padded.reshape(1, b * c, *padded.shape[2:]), filters, groups=b * c, dilation=dilation)
    return out.view(b, c, h, w)


def chair_block(unit: chair.Block, x: Tensor) -> Tensor:
    """A new map for every step."""
    u = F.gelu(unit.depthwise(F.gelu(unit.conv1(x))))
    return unit.conv2(unit.attention(u)) + x


def ccnet_block(unit: ccnet.Block, x: Tensor) -> Tensor:
    """A new map for every step."""
    return unit.conv(unit.strips(unit.gated(x))) + x


FORMS: dict[type[nn.Module], Callable[..., Tensor]] = {
    Gelu: lambda _, x: F.gelu(x),
    chair.Block: chair_block,
    chair.ChannelFilter: channel_filter,
    chair.SerialBranches: serial_branches,
    ccnet.Block: ccnet_block,
    ccnet.GatedUnit: gated_unit,
    ccnet.StripUnit: strip_unit,
}


def plain(module: nn.Module) -> nn.Module:
    """A copy whose units compute in the plain form, in the plain memory layout."""
    result = copy.deepcopy(module).to(memory_format=torch.contiguous_format)
    for part in result.modules():
        if type(part) in FORMS:
            part.forward = MethodType(FORMS[type(part)], part)
        if isinstance(part, MimoUNet):  # where the fast form turns to channels-last memory
            for entrance in (part.stem, *part.shallow, *(fuse.conv for fuse in part.fuse)):
                entrance.register_forward_pre_hook(lambda _, args: (args[0].contiguous(),))
    return result
