"""Pictures of any size and content through every shipped weight: shape, type and range; nothing that is no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import undegrade
from undegrade.core.errors import InputError
from undegrade.inference.restorer import Restorer

LOADED: dict[str, Any] = {}


def restorer(name: str) -> Any:
    return LOADED.setdefault(name, undegrade.load(name, device="cpu"))


SPECIAL = {
    "black": np.zeros((9, 12, 3), np.float32),
    "white": np.ones((9, 12, 3), np.float32),
    "constant": np.full((9, 12, 3), 0.3, np.float32),
    "denormal": np.full((9, 12, 3), 1e-42, np.float32),
    "one pixel": np.full((1, 1, 3), 0.5, np.float32),
    "one row": np.linspace(0, 1, 120, dtype=np.float32).reshape(1, 40, 3),
    "beyond the range": np.linspace(-2, 3, 9 * 12 * 3, dtype=np.float32).reshape(9, 12, 3),
}


@pytest.mark.parametrize("name", undegrade.list_weights())
def test_special_pictures(name: str) -> None:
    task = undegrade.weights_card(name).task
    mosaic = task == "demosaicing"
    for what, picture in SPECIAL.items():
        given = picture[..., 0] if mosaic else picture
        result = restorer(name)(given)
        scale = restorer(name).scale
        assert result.shape[:2] == (given.shape[0] * scale, given.shape[1] * scale), what
        assert result.dtype == np.float32
        assert np.isfinite(result).all(), what
        if task != "auto":  # which gives back what it finds nothing wrong with
            assert result.min() >= 0, what
            assert result.max() <= 1, what


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32]),
        st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4)),
        elements={"min_value": 0, "max_value": 1},
    )
)
def test_any_array_comes_back_as_its_kind(picture: np.ndarray) -> None:
    result = restorer("denoising")(picture)
    assert result.shape == picture.shape
    assert result.dtype == picture.dtype
    assert np.isfinite(result.astype(np.float32)).all()


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 1000))
def test_a_batch_is_its_pictures(height: int, width: int, seed: int) -> None:
    batch = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    together = restorer("denoising")(batch)
    for number in range(2):
        torch.testing.assert_close(together[number], restorer("denoising")(batch[number]), rtol=0, atol=0)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(150, 260), st.integers(150, 260), st.integers(0, 1000))
def test_tiles_change_little(height: int, width: int, seed: int) -> None:
    picture = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.3 + 0.3
    whole, tiled = (restorer("denoising")(picture, tile=tile) for tile in (None, 96))
    assert float((whole - tiled).square().mean()) < 1e-5  # 50 dB


def test_no_number_in_and_none_out(probe: Any) -> None:
    for wrong in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(InputError, match=r"NaN or infinity|floats up to"):
            restorer("denoising")(torch.full((3, 8, 8), wrong))
    broken: Restorer = probe()
    with torch.no_grad():
        next(broken.backend.module.parameters()).fill_(float("nan"))  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="gave NaN or infinity for this picture"):
        broken(torch.rand(3, 8, 8))
