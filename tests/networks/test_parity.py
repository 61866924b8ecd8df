"""Every stored official output is reproduced within its tolerance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import parity
import pytest
from weight_rule import official_weight

FILES = sorted(parity.GOLDEN.glob("*.npz"))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("feat_extract.0.main.0.weight", (32, 3, 3, 3), [0.12259699, -0.25100622, -0.09694580, 0.14809336]),
        ("Encoder.0.layers.15.dyna_ch.gamma", (32, 1, 1), [1.00333917, 1.01166523, 1.03477812, 1.01560235]),
        (
            "Encoder.0.layers.15.dyna_ch.filter_bn.running_var",
            (96,),
            [0.72024322, 2.01504493, 1.02329540, 0.98222977],
        ),
    ],
)
def test_weight_rule(name: str, shape: tuple[int, ...], expected: list[float]) -> None:
    value = official_weight(name, shape)
    assert value is not None
    np.testing.assert_allclose(value.ravel()[:4], expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_stored_outputs(path: Path) -> None:
    rows = parity.compare(path)
    assert rows
    failed = [row for row in rows if not row.passed]
    assert not failed, "\n".join(f"{row.case}: {row.error:.2e} above {row.tolerance:.0e}" for row in failed)


def test_every_runner_has_files() -> None:
    used = {getattr(parity.runner(path.stem), "__name__", None) for path in FILES}
    assert used == {path.stem for path in Path(__file__).parent.glob("parity_*.py")}
