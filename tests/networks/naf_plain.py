"""M3SNet and the MHNets computed the way the papers' code does, step by step: what the fast forms must equal."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undegrade.networks import mhnet, mhnet2023
from undegrade.networks.layers import naf


def window_mean(x: Tensor, window: tuple[int, int] | None) -> Tensor:
    """Mean at every pixel by one two-dimensional running sum, the border filled with its nearest window."""
    height, width = x.shape[-2:]
    if window is None or (window[0] >= height and window[1] >= width):
        return F.adaptive_avg_pool2d(x, 1)
    kh, kw = min(height, window[0]), min(width, window[1])
    total = F.pad(x.cumsum(-1).cumsum(-2), (1, 0, 1, 0))
    boxes = total[..., kh:, kw:] - total[..., :-kh, kw:] - total[..., kh:, :-kw] + total[..., :-kh, :-kw]
    rows, columns = height - boxes.shape[-2], width - boxes.shape[-1]
    pads = (columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2)
    return F.pad(boxes / (kh * kw), pads, mode="replicate")


def layer_norm(unit: naf.LayerNorm2d, x: Tensor) -> Tensor:
    """Mean and variance over the channel axis where it stands."""
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    y = (x - mean) / (variance + 1e-6).sqrt()
    return unit.weight.view(1, -1, 1, 1) * y + unit.bias.view(1, -1, 1, 1)


def naf_block(unit: naf.NAFBlock, x: Tensor) -> Tensor:
    """Every factor multiplied onto the maps."""
    y = naf.gate(unit.conv2(unit.conv1(unit.norm1(x))))
    y = unit.conv3(y * unit.sca(window_mean(y, unit.window)))
    y = x + y * unit.beta
    return y + unit.conv5(naf.gate(unit.conv4(unit.norm2(y)))) * unit.gamma


def selective_attention(unit: mhnet.SelectiveAttention, x: Tensor) -> Tensor:
    """Four products with the values, each of its own selection: a mask and a softmax."""
    b, c, h, w = x.shape
    q, k, v = (t.reshape(b, unit.heads, -1, h * w) for t in unit.qkv_dwconv(unit.qkv(x)).chunk(3, 1))
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * unit.temperature
    parts = []
    for mix, kept in zip(unit.mix, unit.kept, strict=True):
        best = scores.topk(kept, dim=-1).indices
        mask = torch.zeros_like(scores).scatter(-1, best, 1.0)
        parts.append(mix * (scores.masked_fill(mask == 0, float("-inf")).softmax(-1) @ v))
    return unit.project_out(torch.stack(parts).sum(0).reshape(b, c, h, w))


def fusion(unit: mhnet.FeatureFusion, x: Tensor, encoded: Tensor, decoded: Tensor) -> Tensor:
    """Three full-size maps, their sum, its mean, three weighted maps and their sum."""
    z = naf.gate(unit.squeeze(window_mean(x + encoded + decoded, unit.window)))
    weights = [expand(z).softmax(1) for expand in unit.expand]
    return sum(weight * part for weight, part in zip(weights, (x, encoded, decoded), strict=True))


def refinement(unit: mhnet.Refinement, x: Tensor, encoded: list[Tensor], decoded: list[Tensor]) -> Tensor:
    """Every feature brought to full size before its last convolution."""
    for level in range(4):
        x = unit.norms[level](x)
        x = unit.groups[level](x) + x
        e = unit.conv_enc[level](unit.up_enc[level](encoded[level]))
        d = unit.conv_dec(unit.up_dec[level](decoded[-1 - level]))
        x = fusion(unit.fusions[level], x, e, d)
    return x


def join(unit: mhnet.MHNet, image: Tensor, context: Tensor) -> Tensor:
    return unit.concat(torch.cat([unit.intro(image), context], 1))


def refinement_2023(unit: mhnet2023.Refinement, x: Tensor, encoded: list[Tensor], decoded: list[Tensor]) -> Tensor:
    """Enlarge, then convolve, at every level."""
    x = unit.info(x)
    for level in range(4):
        x = unit.norms[level](x)
        x = x + unit.groups[level](x)
        parts = []
        for convs, feature in ((unit.from_enc[level], encoded[level]), (unit.from_dec[level], decoded[-1 - level])):
            y = feature
            for conv in convs[:-1]:
                y = conv(F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False))
            parts.append(convs[-1](y))
        x = x + parts[0] + parts[1]
    return x


FORMS: dict[type[nn.Module], Callable[..., Tensor]] = {
    naf.LayerNorm2d: layer_norm,
    naf.NAFBlock: naf_block,
    mhnet.SelectiveAttention: selective_attention,
    mhnet.Refinement: refinement,
    mhnet2023.Refinement: refinement_2023,
}


def plain(module: nn.Module) -> nn.Module:
    """A copy whose units compute in the plain form, in the plain memory layout."""
    result = copy.deepcopy(module).to(memory_format=torch.contiguous_format)
    for part in result.modules():
        if type(part) in FORMS:
            part.forward = MethodType(FORMS[type(part)], part)
        if isinstance(part, mhnet.MHNet):
            part.join = MethodType(join, part)
        for name in ("intro", "stage1"):  # where the fast form turns to channels-last memory
            if isinstance(getattr(part, name, None), nn.Module):
                getattr(part, name).register_forward_pre_hook(lambda _, args: (args[0].contiguous(),))
    return result
