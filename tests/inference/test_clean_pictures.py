"""Clean photographs through every shipped weight: how much of them it may change at most."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

import undegrade
from undegrade.metrics.psnr import psnr
from undegrade.ops import bayer

LEAST = {
    "auto_fast": float("inf"),
    "defocus_deblurring_fast": 55.0,
    "dehazing_fast": 68.6,
    "demosaicing_fast": 38.5,
    "denoising_best": 45.2,
    "denoising_fast": 45.5,
    "deraining_fast": 53.0,
    "desnowing_fast": 49.2,
    "jpeg_artifacts_fast": 76.6,
    "motion_deblurring_best": 49.6,
    "motion_deblurring_fast": 46.5,
    "super_resolution_x2_fast": 42.1,
    "super_resolution_x3_fast": 41.3,
    "super_resolution_x4_fast": 41.5,
}
"""PSNR in dB of the result against the photograph: the least of the three below when the weights came, less 1 dB."""


def photographs() -> list[Tensor]:
    """Crops of scikit-image's photographs: a face, a cup of coffee, a cat."""
    data = pytest.importorskip("skimage.data")
    crops = data.astronaut()[:160, 150:310], data.coffee()[100:260, 150:310], data.chelsea()[50:210, 100:260]
    return [torch.from_numpy(crop.copy()).permute(2, 0, 1) / 255 for crop in crops]


def test_every_weight_has_a_bound() -> None:
    assert set(LEAST) == set(undegrade.list_weights())


@pytest.mark.parametrize("name", LEAST)
def test_clean_pictures_are_left_as_they_are(name: str) -> None:
    """A mosaic is compared with what it was taken from, an enlarged picture after it was made small again."""
    restorer = undegrade.load(name, device="cpu")
    mosaics = undegrade.weights_card(name).task == "demosaicing"
    for clean in photographs():
        result = restorer(bayer.mosaic(clean) if mosaics else clean)
        assert psnr(avg_pool2d(result, restorer.scale), clean) >= LEAST[name]
