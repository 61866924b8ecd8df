"""Pyramid attention as the paper draws it, with the whole matrix of pixels x patches: what ours is compared with.

``published`` uses the operators of the published implementation (patches as convolution kernels), ``unfolded`` lists
all patches first. Both hold several copies of the matrix; ``unfolded`` is the leaner one. ``panet`` is the whole
network in this manner: its maps lie as torch lays them, and training keeps every one.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.networks.layers.edsr import ResidualBlock
from undegrade.networks.layers.pyramid import LEVELS, NORM_FLOOR, SHARPNESS, PyramidAttention
from undegrade.networks.panet import PANet


def sizes_of(layer: PyramidAttention, x: Tensor) -> list[Tensor]:
    return [x, *(layer.resize(x, 1 - level / 10) for level in range(1, LEVELS))]


def branch(layers: nn.Sequential, x: Tensor) -> Tensor:
    convolution, activation = layers
    return F.prelu(convolution(x), activation.weight)


def patches(maps: list[Tensor]) -> Tensor:
    """(B, 9 C, all positions)."""
    return torch.cat([F.unfold(features, 3, padding=1) for features in maps], 2)


def unfolded(layer: PyramidAttention, x: Tensor) -> Tensor:
    sizes = sizes_of(layer, x)
    keys, values = (
        patches([branch(layer.key, size) for size in sizes]),
        patches([branch(layer.value, size) for size in sizes]),
    )
    keys = keys / keys.norm(dim=1, keepdim=True).clamp_min(NORM_FLOOR)
    weights = torch.softmax(SHARPNESS * patches([branch(layer.query, x)]).transpose(1, 2) @ keys, -1)
    pasted = F.fold((weights @ values.transpose(1, 2)).transpose(1, 2), x.shape[-2:], 3, padding=1)
    return pasted / 4 + layer.residual * x


def published(layer: PyramidAttention, x: Tensor) -> Tensor:
    sizes = sizes_of(layer, x)
    query, keys, values = (
        branch(layer.query, x),
        [branch(layer.key, size) for size in sizes],
        [branch(layer.value, size) for size in sizes],
    )
    pasted = []
    for i in range(x.shape[0]):
        kernels = patches([key[i : i + 1] for key in keys]).squeeze(0).t()
        kernels = kernels / kernels.norm(dim=1, keepdim=True).clamp_min(NORM_FLOOR)
        scores = F.conv2d(query[i : i + 1], kernels.reshape(len(kernels), -1, 3, 3), padding=1)
        weights = torch.softmax(SHARPNESS * scores, 1)
        brushes = patches([value[i : i + 1] for value in values]).squeeze(0).t()
        pasted.append(F.conv_transpose2d(weights, brushes.reshape(len(brushes), -1, 3, 3), padding=1))
    return torch.cat(pasted) / 4 + layer.residual * x


def panet(net: PANet, x: Tensor) -> Tensor:
    def through(blocks: Iterable[nn.Module], x: Tensor) -> Tensor:
        for block in blocks:
            assert isinstance(block, ResidualBlock)
            x = x + block.factor * block.conv2(F.prelu(block.conv1(x), net.activation.weight))
        return x

    shallow = net.head(x)
    deep = through(net.after, published(net.attention, through(net.before, shallow)))
    return net.tail(shallow + net.merge(deep))
