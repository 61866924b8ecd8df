"""Pyramid attention: every pixel gathers similar 3x3 patches from five sizes of the feature map, in linear memory.

Mei et al.: Pyramid Attention Networks for Image Restoration (arXiv 2004.13824), section 3. With queries q from the
full size, keys k and values v from all sizes (3x3 patches around every pixel, zeros outside), the layer computes

    a = softmax over all patches j of 10 q . k_j / max(|k_j|, 1e-4),    y = sum_j a_j v_j,

pastes y back as a 3x3 patch around its pixel, adds up what overlaps and divides by 4.

Written out, that takes a matrix of pixels x patches with products over 9 pixels, four times over. Two facts make it
small and fast, without approximation. Let o run over the nine offsets of a patch. Then

    q_p . k_j           = sum_o G[p+o, j+o],      G[p, j] = query_p . key_j      of single pixels, and
    output_p            = sum_j B[p, j] value_j,  B[p, j] = sum_o a[p-o, j-o]    with the value of single pixels.

Both are one operator, the *diagonal box*: pixel and key move together, nine products are added. It is separable
(three columns, then three rows) and its own adjoint, so the backward pass needs no other. Query rows go through it
one after the other, in strips of a few columns, and at most three rows of each kind exist at a time: memory grows
with the pixels, not with their square.

Layout: the key positions of all sizes lie in one line, row by row, each row followed by one empty position (zero key,
zero value, weight zero). A row of queries is an array (B, columns, keys); in its flattened form, one column to the
right together with one key to the right is always (keys + 1) numbers further on, and the empty positions absorb what
leaves a row at its ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["KeyLine", "PyramidAttention", "attend"]

LEVELS = 5
SHARPNESS = 10.0
NORM_FLOOR = 9.999999747378752e-05  # 1e-4 as float32 holds it, in double precision too
NUMBERS_PER_ROW = 800_000  # of a strip: columns x keys. Seven such rows exist at a time.
LEAST_COLUMNS = 16


class PyramidAttention(nn.Module):
    """The layer; its three branches are 1x1 convolutions, each followed by a one-parameter PReLU.

    Args:
        features: channels in and out.
        match_features: channels in which patches are compared.
        residual: factor of the input in the output.
        legacy_resize: sample the smaller sizes at the positions that torch used before 1.5, when the official weights
            were trained: steps of H / floor(H s) instead of 1 / s.
    """

    def __init__(
        self, features: int, match_features: int, residual: float = 1.0, *, legacy_resize: bool = False
    ) -> None:
        super().__init__()

        def branch(width: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(features, width, 1), nn.PReLU())

        self.query = branch(match_features)
        self.key = branch(match_features)
        self.value = branch(features)
        self.residual = residual
        self.legacy_resize = legacy_resize

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) with H, W >= 2 -> same shape."""
        sizes = [x, *(self.resize(x, 1 - level / 10) for level in range(1, LEVELS))]
        line = KeyLine([(size.shape[2], size.shape[3]) for size in sizes])
        keys = [self.key(size) for size in sizes]
        gathered = attend(
            self.query(x).permute(0, 2, 3, 1),
            line.join(keys),
            line.join([self.value(size) for size in sizes]),
            line.join([SHARPNESS / patch_norm(key) for key in keys]).squeeze(1),
            line,
        )
        return torch.add(gathered.permute(0, 3, 1, 2) / 4, x, alpha=self.residual)

    def resize(self, x: Tensor, factor: float) -> Tensor:
        """Bicubic, no antialiasing; the side becomes floor(side * factor)."""
        recompute = True if self.legacy_resize else None
        return F.interpolate(x, scale_factor=factor, mode="bicubic", recompute_scale_factor=recompute)


def patch_norm(features: Tensor) -> Tensor:
    """Length of the 3x3 patch around every pixel, at least the floor: (B, C, H, W) -> (B, 1, H, W)."""
    energy = F.avg_pool2d(features.square().sum(1, keepdim=True), 3, stride=1, padding=1, divisor_override=1)
    return energy.clamp_min(NORM_FLOOR**2).sqrt()  # clamped first: the square root has no slope at zero


class KeyLine:
    """The positions of all sizes in one line; see Layout above.

    Args:
        sizes: height and width of every size.

    Attributes:
        length: number of positions, empty ones included.
        spans: per size (start, stop, length of a row with its empty position).
    """

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        self.length = 0
        self.spans: list[tuple[int, int, int]] = []
        for height, width in sizes:
            start, self.length = self.length, self.length + height * (width + 1)
            self.spans.append((start, self.length, width + 1))

    def join(self, maps: Sequence[Tensor]) -> Tensor:
        """One map (B, C, h, w) per size -> (B, C, length), zero at the empty positions."""
        return torch.cat([F.pad(features, (0, 1)).flatten(2) for features in maps], 2)

    def closed(self, like: Tensor) -> Tensor:
        """(length): -inf at the empty positions, 0 elsewhere; added to scores, it gives them weight zero."""
        mask = like.new_zeros(self.length)
        for start, stop, pitch in self.spans:
            mask[start + pitch - 1 : stop : pitch] = -torch.inf
        return mask


def attend(query: Tensor, key: Tensor, value: Tensor, factor: Tensor, line: KeyLine) -> Tensor:
    """Patch attention: softmax over all keys of factor * (3x3 patch of query . 3x3 patch of key), patches pasted.

    Args:
        query: (B, H, W, c).
        key: (B, c, length of the line).
        value: (B, C, length of the line), zero at the empty positions, like ``key``.
        factor: (B, length of the line), multiplies all scores of a key.
        line: the layout of the keys.

    Returns:
        (B, H, W, C), the sum of the overlapping patches.
    """
    dtype = query.dtype
    if dtype in (torch.float16, torch.bfloat16):  # the sums and the softmax need more digits
        query, key, value, factor = (t.float() for t in (query, key, value, factor))
    values = value.transpose(1, 2).contiguous()
    out: Tensor = _Attend.apply(query.contiguous(), key, values, factor, line)  # type: ignore[no-untyped-call]
    return out.to(dtype)


class _Attend(torch.autograd.Function):
    """``attend`` with values as (B, length, C). The backward pass recomputes the weights, so none are kept."""

    @staticmethod
    def forward(  # noqa: PLR0917 (apply takes positions only)
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, factor: Tensor, line: KeyLine
    ) -> Tensor:
        ctx.save_for_backward(query, key, value, factor)
        ctx.line = line
        closed, factor = line.closed(query), factor.unsqueeze(1)
        out = torch.empty(*query.shape[:3], value.shape[2], dtype=query.dtype, device=query.device)
        for strip in strips(query.shape[2], line.length):

            def weights(columns: slice = strip.reach) -> Iterator[Tensor]:
                for scores in diagonal_box(row_products(query[:, :, columns], key), line):
                    torch.addcmul(closed, scores, factor, out=scores)
                    yield torch.softmax(scores, -1, out=scores)

            for y, boxed in enumerate(diagonal_box(weights(), line)):
                out[:, y, strip.columns] = boxed[:, strip.inner] @ value
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, factor = ctx.saved_tensors
        line: KeyLine = ctx.line
        closed, factor = line.closed(query), factor.unsqueeze(1)
        values = value.transpose(1, 2)
        grad = grad.contiguous()
        grad_query = torch.empty_like(query)
        grad_key, grad_value, grad_factor = (torch.zeros_like(t) for t in (key, value, factor))
        for strip in strips(query.shape[2], line.length):

            def weights_and_products(strip: Strip = strip) -> Iterator[Tensor]:
                """Row by row the weights and the gradient of the scores times the factor, in one (2, B, n, keys)."""
                nonlocal grad_factor
                both: Tensor | None = None
                raw = diagonal_box(row_products(query[:, :, strip.reach], key), line)
                slopes = diagonal_box(row_products(grad[:, :, strip.reach], values), line)
                for scores, slope in zip(raw, slopes, strict=True):
                    if both is None:
                        both = torch.empty(2, *scores.shape, dtype=scores.dtype, device=scores.device)
                    weights, products = both
                    torch.addcmul(closed, scores, factor, out=weights)
                    torch.softmax(weights, -1, out=weights)
                    # softmax: d score = a (d a - sum of a d a)
                    slope.mul_(weights)
                    slope.addcmul_(weights, slope.sum(-1, keepdim=True), value=-1)
                    torch.mul(slope, factor, out=products)
                    grad_factor += slope.mul_(scores)[:, strip.inner].sum(1, keepdim=True)
                    yield both

            for y, boxed in enumerate(diagonal_box(weights_and_products(), line)):
                weights, products = boxed[:, :, strip.inner]
                grad_value.baddbmm_(weights.transpose(1, 2), grad[:, y, strip.columns])
                grad_query[:, y, strip.columns] = products @ key.transpose(1, 2)
                grad_key.baddbmm_(query[:, y, strip.columns].transpose(1, 2), products)
        return grad_query, grad_key, grad_value, grad_factor.squeeze(1), None


class Strip:
    """Columns that are computed together: ``columns`` of the picture, ``reach`` with the two more that each of the
    two boxes in a row needs on either side, ``inner`` the former inside the latter."""

    def __init__(self, start: int, stop: int, width: int) -> None:
        first = max(start - 2, 0)
        self.columns = slice(start, stop)
        self.reach = slice(first, min(stop + 2, width))
        self.inner = slice(start - first, stop - first)


def strips(width: int, keys: int) -> list[Strip]:
    """Strips of about equal width that cover a row, as wide as memory allows."""
    most = max(NUMBERS_PER_ROW // keys, LEAST_COLUMNS)
    count = -(-width // most)
    edges = [width * i // count for i in range(count + 1)]
    return [Strip(start, stop, width) for start, stop in pairwise(edges)]


def row_products(left: Tensor, right: Tensor) -> Iterator[Tensor]:
    """For every row: (B, H, n, c) and (B, c, keys) -> H times (B, n, keys), all in the same memory."""
    product: Tensor | None = None
    for row in left.unbind(1):
        product = torch.bmm(row, right, out=product) if product is not None else torch.bmm(row, right)
        yield product


def diagonal_box(rows: Iterable[Tensor], line: KeyLine) -> Iterator[Tensor]:
    """For every row of pixels (..., n, keys) the sum over the nine offsets that move pixel and key together.

    Nothing is added from outside the picture, the strip or a key's size. All ``rows`` may share one memory, and it is
    overwritten: each result stands in it until the next one is asked for.
    """
    sums: list[Tensor] = []  # over columns, of the last three rows
    count, row = 0, None
    for count, row in enumerate(rows, 1):
        if len(sums) < 3:
            sums.append(torch.empty_like(row))
        latest = sums[(count - 1) % 3]
        add_columns(row, out=latest)
        if count > 1:
            before = sums[count % 3] if count > 2 else None
            add_rows(before, sums[(count - 2) % 3], latest, line, out=row)
            yield row
    if row is not None:
        add_rows(sums[(count - 2) % 3] if count > 1 else None, sums[(count - 1) % 3], None, line, out=row)
        yield row


def add_columns(row: Tensor, out: Tensor) -> None:
    """out[x, j] = row[x-1, j-1] + row[x, j] + row[x+1, j+1] for a (..., n, keys), except at the empty positions."""
    step = row.shape[-1] + 1
    row, out = row.flatten(-2), out.flatten(-2)
    out[..., :step] = row[..., :step]
    torch.add(row[..., step:], row[..., :-step], out=out[..., step:])
    out[..., :-step] += row[..., step:]


def add_rows(before: Tensor | None, row: Tensor, after: Tensor | None, line: KeyLine, out: Tensor) -> None:
    """out[j] = before[j - one row] + row[j] + after[j + one row], within each size."""
    out.copy_(row)
    for start, stop, pitch in line.spans:
        if before is not None:
            out[..., start + pitch : stop] += before[..., start : stop - pitch]
        if after is not None:
            out[..., start : stop - pitch] += after[..., start + pitch : stop]
