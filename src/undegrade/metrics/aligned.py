"""The deraining script of M3SNet and MHNet: brightness fitted and picture warped onto the target, then PSNR and SSIM.

Such figures forgive shifts and exposure; the rivals' deraining tables use the Y channel without alignment.
"""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.core.errors import InputError, MissingExtraError
from undegrade.metrics.psnr import crop_border, psnr
from undegrade.metrics.ssim import GAUSSIAN, ssim_map

__all__ = ["align", "score_aligned"]

BORDER = 5
"""Pixels of the SSIM map left out on every side: as many as a valid 11 x 11 window cannot reach."""


def align(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The output warped onto the target, and where it covers it.

    First the output is multiplied by sum(target * output) / sum(output^2). Then a homography between the two grey
    pictures is sought by enhanced correlation (Evangelidis and Psarakis 2008; 100 iterations), and the output is
    resampled by cubic interpolation with mirrored borders.

    Args:
        output, target: (3, H, W) in 0..1.

    Returns:
        (3, H, W) float64 and a mask (1, H, W) of zeros and ones.

    Raises:
        MissingExtraError: OpenCV is not installed.
        InputError: no homography was found.
    """
    try:
        import cv2
    except ImportError:
        raise MissingExtraError("the aligned deraining protocol", "cv") from None
    import numpy as np

    output = output * ((target * output).sum() / output.square().sum().clamp(min=1e-12))
    height, width = target.shape[-2:]
    moving, fixed = (np.ascontiguousarray(picture.float().permute(1, 2, 0).numpy()) for picture in (output, target))
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, -1)
    start = np.eye(3, dtype=np.float32)
    fixed_grey, moving_grey = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (fixed, moving))
    everywhere = np.ones((height, width), np.uint8)
    try:
        _, warp = cv2.findTransformECC(
            fixed_grey, moving_grey, start, cv2.MOTION_HOMOGRAPHY, stop, inputMask=everywhere, gaussFiltSize=5
        )
    except cv2.error as error:
        raise InputError(f"no alignment was found: score this picture with derain-y ({error.msg})") from None
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(moving, warp, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
    mask = cv2.warpPerspective(
        everywhere,
        warp,
        (width, height),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return torch.from_numpy(warped).permute(2, 0, 1).double(), torch.from_numpy(mask)[None].double()


def score_aligned(output: Tensor, target: Tensor) -> dict[str, float]:
    """PSNR over the covered pixels and mask-weighted SSIM of the aligned output.

    Args:
        output, target: (3, H, W) or (1, H, W) in 0..1, at least 11 pixels on a side.

    Raises:
        MissingExtraError, InputError: as `align`; or the aligned output covers nothing of the target.
    """
    output, target = (picture.double().expand(3, -1, -1) for picture in (output, target))
    warped, mask = align(output, target)
    weight = crop_border(mask, BORDER)
    if not weight.any():
        raise InputError("the alignment led out of the picture: score this picture with derain-y")
    covered = mask.bool().expand_as(warped)
    error = psnr(warped[covered][None, None], target[covered][None, None])
    local = ssim_map(warped, target, GAUSSIAN)
    return {"psnr": error, "ssim": float((local * weight).sum() / weight.expand_as(local).sum())}
