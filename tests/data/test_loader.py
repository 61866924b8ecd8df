"""The loader: errors of a sample come out as they are, whether or not a worker met them."""

from __future__ import annotations

from typing import cast

import pytest
from torch import Tensor

from undegrade.core.errors import InputError, MissingExtraError, UndegradeError, UnknownNameError
from undegrade.data.loader import Patch, batches
from undegrade.data.patches import Patches


class Failing:
    """Patches of which none can be drawn."""

    def __init__(self, error: UndegradeError) -> None:
        self.error = error

    def sample(self, step: int, place: int, size: int) -> tuple[Tensor, Tensor]:
        raise self.error


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "error",
    [
        InputError("a: b\nc.png: cannot be read"),
        UnknownNameError("rain model", "fog", ["mist"]),
        MissingExtraError("reading HEIC", "heif"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_its_kind_and_its_message(error: UndegradeError, workers: int) -> None:
    stream = batches(cast("Patches", Failing(error)), lambda step: Patch(1, 8, 2), workers=workers)
    with pytest.raises(type(error)) as raised:
        next(stream)
    assert str(raised.value) == str(error)
