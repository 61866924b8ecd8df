"""Scores what is installed anyway, for comparison: `python scripts/peers.py DATA` writes docs/scores/peers/*.json.

The classical methods of OpenCV, scikit-image and Pillow, with their customary settings and, for noise, told its level;
the dark channel prior in a few lines of OpenCV. Pictures, seeds and rulers are those of `scripts/scoreboard.py`. Then
`python scripts/make_gallery.py --chart` draws them beside the shipped weights.

CBM3D and Menon's demosaicing, which published tables lead with, say how hard our parts of the customary sets are. They
want `pip install bm3d colour-demosaicing`; the licence of the first allows no commercial use. CBM3D takes an hour.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter
from scoreboard import SCORES, rows
from skimage import restoration

import undegrade

Pixels = np.ndarray[Any, np.dtype[Any]]
Parameters = Mapping[str, Any]


def nlm_opencv(picture: Pixels, sigma: float = 20 / 3, **_: Any) -> Pixels:
    """Non-local means on 8 bits (Buades et al., 2005), at 0.6 of the level: chosen on training photographs."""
    strength = 0.6 * sigma
    if picture.shape[2] == 1:
        return cv2.fastNlMeansDenoising(_bytes(picture), None, strength, 7, 21)[..., None] / 255
    return cv2.fastNlMeansDenoisingColored(_bytes(picture), None, strength, strength, 7, 21) / 255


def nlm_skimage(picture: Pixels, sigma: float, **_: Any) -> Pixels:
    """Non-local means in float, told the noise level, at the factor of scikit-image's own example."""
    noise = sigma / 255
    return restoration.denoise_nl_means(
        picture, patch_size=5, patch_distance=6, h=0.6 * noise, sigma=noise, fast_mode=True, channel_axis=-1
    )


def bilateral(picture: Pixels, **_: Any) -> Pixels:
    """The bilateral filter over 5x5 pixels."""
    return cv2.bilateralFilter(picture.astype(np.float32), 5, 0.08, 2).reshape(picture.shape)


def median(picture: Pixels, **_: Any) -> Pixels:
    """The median of 5x5 pixels, which takes away what is thin and bright."""
    return cv2.medianBlur(_bytes(picture), 5).reshape(picture.shape) / 255


def demosaic(method: str) -> Callable[..., Pixels]:
    """OpenCV's interpolation of a Bayer mosaic: bilinear, "_VNG" or "_EA" (edge-aware)."""

    def run(picture: Pixels, pattern: str, **_: Any) -> Pixels:
        return cv2.cvtColor(_bytes(picture.max(axis=2)), getattr(cv2, f"COLOR_Bayer{pattern}2RGB{method}")) / 255

    return run


def cbm3d(picture: Pixels, sigma: float, **_: Any) -> Pixels:
    """Dabov et al., "Color image denoising via sparse 3D collaborative filtering" (2007), by its authors' package."""
    import bm3d

    return bm3d.bm3d_rgb(picture, sigma / 255)


def menon(picture: Pixels, pattern: str, **_: Any) -> Pixels:
    """Menon et al., "Demosaicing with directional filtering and a posteriori decision" (2007)."""
    import colour_demosaicing

    return colour_demosaicing.demosaicing_CFA_Bayer_Menon2007(picture.max(axis=2), pattern)


def lanczos(picture: Pixels, scale: int, **_: Any) -> Pixels:
    """Enlarged by Pillow's Lanczos filter, each channel in float."""
    height, width, _channels = picture.shape
    size = (width * scale, height * scale)
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(picture, 2, 0)]
    return np.stack([np.asarray(plane.resize(size, Image.Resampling.LANCZOS)) for plane in planes], axis=2)


def unsharp(picture: Pixels, **_: Any) -> Pixels:
    """Pillow's unsharp mask as it stands (radius 2, 150 %)."""
    sharp = Image.fromarray(_bytes(picture).squeeze()).filter(ImageFilter.UnsharpMask())
    return np.asarray(sharp).reshape(picture.shape) / 255


def dark_channel(picture: Pixels, **_: Any) -> Pixels:
    """He, Sun and Tang, "Single image haze removal using dark channel prior" (2009), and their guided filter (2010)."""
    haze = picture.astype(np.float32)
    square = np.ones((15, 15), np.uint8)
    dark = cv2.erode(haze.min(axis=2), square)
    brightest = dark.ravel().argsort()[-max(1, dark.size // 1000) :]
    airlight = haze.reshape(-1, 3)[brightest[haze.sum(axis=2).ravel()[brightest].argmax()]]
    raw = 1 - 0.95 * cv2.erode((haze / airlight).min(axis=2), square)
    transmission = np.maximum(_guided(cv2.cvtColor(haze, cv2.COLOR_RGB2GRAY), raw, 40, 1e-3), 0.1)[..., None]
    return (haze - airlight) / transmission + airlight


def _guided(guide: Pixels, signal: Pixels, radius: int, smoothness: float) -> Pixels:
    def mean(values: Pixels) -> Pixels:
        return cv2.boxFilter(values, -1, (2 * radius + 1, 2 * radius + 1))

    slope = (mean(guide * signal) - mean(guide) * mean(signal)) / (mean(guide**2) - mean(guide) ** 2 + smoothness)
    return mean(slope) * guide + mean(mean(signal) - slope * mean(guide))


def _bytes(picture: Pixels) -> Pixels:
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class Peer:
    """A method as something that `undegrade.evaluate` can score.

    Attributes:
        run: picture (H, W, C) in 0..1 and the task's parameters -> restored picture (sH, sW, C).
        parameters: handed to it.
    """

    run: Callable[..., Pixels]
    parameters: Parameters

    def tensor(self, x: torch.Tensor) -> torch.Tensor:
        """(1, C, H, W) -> (1, C, sH, sW)."""
        restored = self.run(np.ascontiguousarray(x[0].permute(1, 2, 0).numpy()), **self.parameters)
        return torch.from_numpy(np.ascontiguousarray(restored, np.float32)).permute(2, 0, 1)[None]


PEERS: dict[str, dict[str, tuple[Callable[..., Pixels], tuple[str, ...]]]] = {
    "denoising": {
        "OpenCV non-local means": (nlm_opencv, ("denoising-cbsd68-*",)),
        "scikit-image non-local means": (nlm_skimage, ("denoising-cbsd68-*",)),
        "CBM3D": (cbm3d, ("denoising-cbsd68-*",)),
    },
    "jpeg_artifacts": {
        "OpenCV non-local means": (nlm_opencv, ("jpeg_artifacts-*-quality10", "jpeg_artifacts-*-quality20")),
        "OpenCV bilateral filter": (bilateral, ("jpeg_artifacts-*-quality10", "jpeg_artifacts-*-quality20")),
    },
    "demosaicing": {
        "OpenCV bilinear": (demosaic(""), ("demosaicing-*-patternGRBG",)),
        "OpenCV VNG": (demosaic("_VNG"), ("demosaicing-*-patternGRBG",)),
        "OpenCV edge-aware": (demosaic("_EA"), ("demosaicing-*-patternGRBG",)),
        "Menon": (menon, ("demosaicing-*-patternGRBG", "demosaicing-*-patternRGGB")),
    },
    "super_resolution": {"Pillow Lanczos": (lanczos, ("super_resolution-*",))},
    "deraining": {"OpenCV median": (median, ("deraining-rain100?",))},
    "desnowing": {"OpenCV median": (median, ("desnowing-kodak24", "desnowing-csd"))},
    "dehazing": {"dark channel prior": (dark_channel, ("dehazing-sots-indoor",))},
    "motion_deblurring": {"Pillow unsharp mask": (unsharp, ("motion_deblurring-[gkl]*",))},
    "defocus_deblurring": {"Pillow unsharp mask": (unsharp, ("defocus_deblurring-[dkl]*",))},
}
"""Task -> name of the peer -> (method, patterns of the scoreboard's rows)."""


def main() -> None:
    """Scores every peer on its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with test/")
    parser.add_argument("--task", help="only the peers of this task")
    parser.add_argument("--peer", help="only this one")
    parser.add_argument("--missing", action="store_true", help="leave out what has been scored")
    given = parser.parse_args()
    (SCORES / "peers").mkdir(exist_ok=True)
    for task, peers in PEERS.items():
        for name, (run, patterns) in peers.items():
            if given.task not in (None, task) or given.peer not in (None, name):
                continue
            for row in rows():
                file = SCORES / "peers" / f"{row.id}-{name.lower().replace(' ', '-')}.json"
                if not any(fnmatch(row.id, pattern) for pattern in patterns) or (given.missing and file.exists()):
                    continue
                peer = Peer(run, dict(row.strength))
                report = replace(undegrade.evaluate(task, restorer=peer, **row.settings(given.data)), weights=name)
                mean = report.mean
                print(f"{row.id:<42}{name:<32}{mean['input_psnr']:6.2f} -> {mean['psnr']:6.2f}", flush=True)
                file.write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
