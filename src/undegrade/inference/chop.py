"""The official tiled forward of the pyramid-attention scripts: four corner tiles, cut recursively, overlaps discarded.

Attention is global inside a tile, so the tiling is part of the published protocol: other tiles give other scores.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["chop"]


def chop(
    run: Callable[[Tensor], Tensor], x: Tensor, *, scale: int = 1, shave: int = 10, min_size: int = 6400
) -> Tensor:
    """Run a network on ever smaller corner tiles, as the test scripts of PANet and PA-EDSR do.

    A picture is covered by four tiles of half its size plus ``shave``, one in each corner. Tiles below ``min_size``
    pixels go through the network, larger ones are cut again. Each quadrant of the result is read from its own tile.
    Sides below 2 * shave - 1 leave no room for a tile; such a picture is run in one piece.

    Args:
        run: the network, (B, C, h, w) -> (B, C', scale * h, scale * w).
        x: (B, C, H, W).
        scale: output size over input size. Above 1, tile sides grow by their remainder modulo ``scale``.
        shave: pixels by which tiles reach beyond the middle (published: 10).
        min_size: a tile runs when it has fewer pixels than this (published: 6400; colour denoising 6800).

    Returns:
        (B, C', scale * H, scale * W).
    """
    H, W = x.shape[-2:]
    top, left = H // 2, W // 2
    th, tw = (side + shave for side in (top, left))
    if scale > 1:
        th, tw = th + th % scale, tw + tw % scale
    if th > H or tw > W or (th, tw) == (H, W):  # no room for a tile, or it would never get smaller
        return run(x)

    fits = th * tw < min_size

    def tile(y: int, x0: int) -> Tensor:
        part = x[..., y : y + th, x0 : x0 + tw]
        if fits:
            return run(part)
        return chop(run, part, scale=scale, shave=shave, min_size=min_size)

    out: Tensor | None = None
    # (row, column) of the tile, and the span of the picture that is read from it
    for y, rows in ((0, slice(0, top)), (H - th, slice(top, H))):
        for x0, columns in ((0, slice(0, left)), (W - tw, slice(left, W))):
            result = tile(y, x0)
            if out is None:
                out = result.new_empty(*result.shape[:-2], scale * H, scale * W)
            inside = result[
                ...,
                scale * (rows.start - y) : scale * (rows.stop - y),
                scale * (columns.start - x0) : scale * (columns.stop - x0),
            ]
            out[..., scale * rows.start : scale * rows.stop, scale * columns.start : scale * columns.stop] = inside
    assert out is not None
    return out
