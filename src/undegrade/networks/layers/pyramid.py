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

Layout: the key positions of all sizes lie in one line, row by row, each row followed by one empty position and each
size by one empty row (zero key, zero value, weight zero). A row of pixels is an array (B, columns, line); in its
flattened form, one column to the right together with one key to the right is always (line + 1) numbers further on,
and the empty positions absorb what leaves a row at its ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from undegrade.core.memory import place
from undegrade.networks.layers.prelu import PReLU

__all__ = ["KeyLine", "PyramidAttention", "attend"]

LEVELS = 5
SHARPNESS = 10.0
NORM_FLOOR = 9.999999747378752e-05  # 1e-4 as float32 holds it, in double precision too
NUMBERS_PER_ROW = 400_000
"""Most numbers in a strip's row on a CPU: its seven rows stay in a core's cache."""
NUMBERS_PER_GPU_ROW = 8_000_000
"""The same on a GPU, where every step of a strip costs a launch: seven rows are about 200 MB."""
LEAST_COLUMNS = 24
"""Of a strip, whatever its rows take: up to four more are computed on top."""
softmax_slope = torch.ops.aten._softmax_backward_data


class PyramidAttention(nn.Module):
    """The layer; its three branches are 1x1 convolutions, each followed by a one-parameter PReLU.

    Args:
        features: channels in and out.
        match_features: channels in which patches are compared.
        residual: factor of the input in the output.
        legacy_resize: sample the smaller sizes at the positions of torch 1.1, which the official weights were trained
            with: steps of H / floor(H s) instead of 1 / s.
    """

    def __init__(
        self, features: int, match_features: int, residual: float = 1.0, *, legacy_resize: bool = False
    ) -> None:
        super().__init__()

        def branch(width: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(features, width, 1), PReLU())

        self.query = branch(match_features)
        self.key = branch(match_features)
        self.value = branch(features)
        self.residual = residual
        self.legacy_resize = legacy_resize

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) with H, W >= 2 -> same shape."""
        gathered = attend(self.query(x).permute(0, 2, 3, 1), *self.keys_and_values(x))
        return torch.add(x * self.residual, gathered.permute(0, 3, 1, 2), alpha=1 / 4)

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, KeyLine]:
        """Keys, values and factors of the scores along the line, and the line: the arguments of ``attend``."""
        sizes = [x, *(self.resize(x, 1 - level / 10) for level in range(1, LEVELS))]
        line = KeyLine([(size.shape[2], size.shape[3]) for size in sizes])
        values = line.join([self.value(size) for size in sizes])
        keys = [self.key(size) for size in sizes]
        factors = line.join([SHARPNESS / patch_norm(key) for key in keys])
        return line.join(keys), values, factors, line

    def resize(self, x: Tensor, factor: float) -> Tensor:
        """Bicubic, no antialiasing; the side becomes floor(side * factor)."""
        recompute = True if self.legacy_resize else None
        return F.interpolate(x, scale_factor=factor, mode="bicubic", recompute_scale_factor=recompute)


def patch_norm(features: Tensor) -> Tensor:
    """Length of the 3x3 patch around every pixel, at least the floor: (B, C, H, W) -> (B, 1, H, W)."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))  # the floor's square is 0 in float16
    energy = F.avg_pool2d(features.square().sum(1, keepdim=True), 3, stride=1, padding=1, divisor_override=1)
    return energy.clamp_min(NORM_FLOOR**2).sqrt()  # clamped first: the square root has no slope at zero


class KeyLine:
    """The positions of all sizes in one line; see Layout above.

    Args:
        sizes: height and width of every size, the largest first.

    Attributes:
        length: number of positions, empty ones included.
        spans: per size (start, stop, length of a row with its empty position).
    """

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        self.spans: list[tuple[int, int, int]] = []
        self.length = sizes[0][1] + 1  # an empty row above the first size
        for height, width in sizes:
            start, stop = self.length, self.length + height * (width + 1)
            self.spans.append((start, stop, width + 1))
            self.length = stop + width + 1

    def join(self, maps: Sequence[Tensor]) -> Tensor:
        """One map (B, C, h, w) per size -> (B, length, C), zero at the empty positions."""
        B, C = maps[0].shape[:2]
        line = maps[0].new_zeros(B, self.length, C)
        for features, (start, stop, pitch) in zip(maps, self.spans, strict=True):
            line[:, start:stop].view(B, -1, pitch, C)[:, :, :-1] = features.permute(0, 2, 3, 1)
        return line

    def closed(self, like: Tensor) -> Tensor:
        """(length): -inf at the empty positions, 0 elsewhere; added to scores, it gives them weight zero."""
        mask = like.new_full((self.length,), -torch.inf)
        for start, stop, pitch in self.spans:
            mask[start:stop].view(-1, pitch)[:, :-1] = 0
        return mask


@torch.compiler.disable  # type: ignore[untyped-decorator]  # it would unroll the rows
def attend(query: Tensor, key: Tensor, value: Tensor, factor: Tensor, line: KeyLine) -> Tensor:
    """Patch attention: softmax over all keys of factor * (3x3 patch of query . 3x3 patch of key), patches pasted.

    Args:
        query: (B, H, W, c).
        key: (B, line, c), zero at the empty positions.
        value: (B, line, C), zero at the empty positions.
        factor: (B, line, 1), multiplies all scores of a key.
        line: the layout of the keys.

    Returns:
        (B, H, W, C), the sum of the overlapping patches.
    """
    dtype = query.dtype
    inputs: tuple[Tensor, ...] = (query, key, value, factor)
    if dtype in (torch.float16, torch.bfloat16):  # the sums and the softmax need more digits
        inputs = tuple(t.float() for t in inputs)
    at_once = 1 if query.device.type == "cpu" else query.shape[0]  # a core's cache holds the rows of one picture
    pictures = zip(*(torch.split(t, at_once) for t in inputs), strict=True)
    with torch.autocast(query.device.type, enabled=False):
        out = [_Attend.apply(*picture, line) for picture in pictures]  # type: ignore[no-untyped-call]
    return torch.cat(out).to(dtype)


class _Attend(torch.autograd.Function):
    """``attend``. The backward pass recomputes the weights, so that none are kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, factor: Tensor, line: KeyLine) -> Tensor:
        ctx.save_for_backward(query, key, value, factor)
        ctx.line = line
        closed, factor = line.closed(query), factor.transpose(1, 2)
        out = query.new_empty(*query.shape[:3], value.shape[2])
        for strip in strips(query.shape[2], line.length, place(query)):

            def weights(strip: Strip = strip) -> Iterator[Row]:
                near: Row | None = None
                for row in diagonal_box(row_products(query[:, :, strip.reach], key, line), line):
                    near = near or Row(row.numbers[:, strip.near], line)
                    torch.addcmul(closed, near.numbers, factor, out=near.numbers)
                    torch.softmax(near.numbers, -1, out=near.numbers)
                    yield near

            for y, row in enumerate(diagonal_box(weights(), line)):
                out[:, y, strip.columns] = row.numbers[:, strip.inner] @ value
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, factor = ctx.saved_tensors
        line: KeyLine = ctx.line
        closed, factors = line.closed(query), factor.transpose(1, 2)
        grad_query, grad_key, grad_value, grad_factor = (torch.zeros_like(t) for t in (query, key, value, factor))
        for strip in strips(query.shape[2], line.length, place(query)):

            def weights_and_slopes(strip: Strip = strip) -> Iterator[Row]:
                """Row by row the weights, and the gradient of the boxed products, in one array (2, B, n, line)."""
                nonlocal grad_factor
                scores_of = diagonal_box(row_products(query[:, :, strip.reach], key, line), line)
                slopes_of = diagonal_box(row_products(grad[:, :, strip.reach], value, line), line)
                both: Row | None = None
                for boxed, boxed_slopes in zip(scores_of, slopes_of, strict=True):
                    scores, slopes = boxed.numbers[:, strip.near], boxed_slopes.numbers[:, strip.near]
                    both = both or Row(torch.stack([scores, slopes]), line)
                    weights, products = both.numbers
                    torch.addcmul(closed, scores, factors, out=weights)
                    torch.softmax(weights, -1, out=weights)
                    softmax_slope.out(slopes, weights, -1, weights.dtype, grad_input=products)
                    grad_factor += scores.mul_(products)[:, strip.inner].sum(1).unsqueeze(2)
                    products.mul_(factors)
                    yield both

            for y, both in enumerate(diagonal_box(weights_and_slopes(), line)):
                weights, products = both.numbers[:, :, strip.inner]
                # In place, which stays in float32 where ``backward`` is called under autocast.
                grad_value.baddbmm_(weights.transpose(1, 2), grad[:, y, strip.columns])
                grad_query[:, y, strip.columns].baddbmm_(products, key)
                grad_key.baddbmm_(products.transpose(1, 2), query[:, y, strip.columns])
        return grad_query, grad_key, grad_value, grad_factor, None


class Strip:
    """Columns of the picture that are computed together.

    Each of the two boxes in a row looks one column further on either side, if there is one.

    Attributes:
        columns: what is computed, in columns of the picture.
        reach: where products are needed, in columns of the picture.
        near: where weights are needed, in columns of ``reach``.
        inner: ``columns`` in columns of ``near``.
    """

    def __init__(self, start: int, stop: int, width: int) -> None:
        first, last = max(start - 1, 0), min(stop + 1, width)
        left, right = max(start - 2, 0), min(stop + 2, width)
        self.columns = slice(start, stop)
        self.reach = slice(left, right)
        self.near = slice(first - left, last - left)
        self.inner = slice(start - first, stop - first)


def strips(width: int, keys: int, device: str = "cpu") -> list[Strip]:
    """Strips of about equal width that cover a row, as wide as memory allows."""
    numbers = NUMBERS_PER_GPU_ROW if device == "cuda" else NUMBERS_PER_ROW
    count = -(-width // max(numbers // keys, LEAST_COLUMNS))
    edges = [width * i // count for i in range(count + 1)]
    return [Strip(start, stop, width) for start, stop in pairwise(edges)]


class Row:
    """A row of pixels against the line of keys, and the parts of it that the box adds up.

    Args:
        numbers: (..., columns, line).
        line: the layout of the keys.
    """

    def __init__(self, numbers: Tensor, line: KeyLine) -> None:
        self.numbers = numbers
        step = line.length + 1  # one column and one key to the right
        flat = numbers.flatten(-2)
        self.first, self.left, self.right = flat[..., :step], flat[..., :-step], flat[..., step:]
        self.sizes = [
            (
                numbers[..., start - pitch : stop - pitch],
                numbers[..., start:stop],
                numbers[..., start + pitch : stop + pitch],
            )
            for start, stop, pitch in line.spans
        ]


def row_products(left: Tensor, right: Tensor, line: KeyLine) -> Iterator[Row]:
    """For every row: (B, H, n, c) and (B, line, c) -> H times (B, n, line), all in the same memory."""
    row = Row(left.new_empty(left.shape[0], left.shape[2], line.length), line)
    right = right.transpose(1, 2).contiguous()  # once, not for every row
    for pixels in left.unbind(1):
        torch.bmm(pixels, right, out=row.numbers)
        yield row


def diagonal_box(rows: Iterable[Row], line: KeyLine) -> Iterator[Row]:
    """For every row of pixels the sum over the nine offsets that move pixel and key together.

    Nothing is added from outside the picture, the strip or a key's size. All ``rows`` may share one memory, and it is
    overwritten: each result stands in it until the next one is asked for.
    """
    before: Row | None = None  # these three hold sums over columns
    middle: Row | None = None
    spare: Row | None = None
    for row in rows:
        after = spare or Row(torch.empty_like(row.numbers), line)
        add_columns(row, out=after)
        if middle is not None:
            add_rows(before, middle, after, out=row)
            yield row
        before, middle, spare = middle, after, before
    if middle is not None:
        add_rows(before, middle, None, out=row)
        yield row


def add_columns(row: Row, out: Row) -> None:
    """out[x, j] = row[x-1, j-1] + row[x, j] + row[x+1, j+1], except at the empty positions."""
    out.first.copy_(row.first)
    torch.add(row.left, row.right, out=out.right)
    out.left.add_(row.right)


def add_rows(before: Row | None, row: Row, after: Row | None, out: Row) -> None:
    """out[j] = before[j - one row] + row[j] + after[j + one row], within each size."""
    for i, (_, middle, _) in enumerate(out.sizes):
        if before is None:
            middle.copy_(row.sizes[i][1])
        else:
            torch.add(before.sizes[i][0], row.sizes[i][1], out=middle)
        if after is not None:
            middle.add_(after.sizes[i][2])
