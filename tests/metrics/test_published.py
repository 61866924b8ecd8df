from __future__ import annotations

import pytest

from undegrade import tasks
from undegrade.data import layouts
from undegrade.metrics import protocol
from undegrade.metrics.published import beside, tables


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
def test_every_table_names_what_exists(table):
    parameters = {parameter.name for parameter in tasks.get(table.task).parameters}
    assert table.parameter is None or table.parameter in parameters
    assert table.protocol in protocol.names()
    assert table.source
    methods = {row.method for row in table.rows}
    assert set(table.own) <= methods
    seen = set()
    for row in table.rows:
        assert row.set == "nhr" or layouts.get(row.set).name == row.set
        assert row.strength is None or table.parameter is not None
        assert 5 < row.psnr < 60
        assert row.ssim is None or 0 < row.ssim < 1
        assert (row.method, row.set, row.strength) not in seen
        seen.add((row.method, row.set, row.strength))


@pytest.mark.parametrize(
    ("task", "set_id", "strength", "method", "figures"),
    [
        ("dehazing", "sots-indoor", {}, "ChaIR", (41.95, 0.997)),
        ("deraining", "rain100l", {}, "M3SNet-64", (40.04, 0.985)),
        ("deraining", "test1200", {}, "MHNet", (33.41, 0.924)),
        ("motion_deblurring", "hide", {}, "M3SNet-32", (30.92, 0.948)),
        ("denoising", "urban100", {"sigma": 70}, "PANet", (27.87, None)),
        ("demosaicing", "mcmaster", {"pattern": "GRBG"}, "PANet", (40.00, 0.9737)),
        ("jpeg_artifacts", "classic5", {"quality": 20}, "PANet", (32.36, 0.8712)),
        ("super_resolution", "manga109", {"scale": 4}, "PA-EDSR", (31.29, 0.9194)),
    ],
)
def test_figures_read_off_the_papers(task, set_id, strength, method, figures):
    rows = [row for _, found in beside(task, set_id, strength) for row in found if row.method == method]
    assert [(row.psnr, row.ssim) for row in rows] == [figures]


def test_rows_of_another_strength_are_left_out():
    rows = [row for _, found in beside("denoising", "kodak24", {"sigma": 30}) for row in found]
    assert {row.strength for row in rows} == {30}
    assert beside("denoising", "kodak24", {"sigma": 30.0}) == beside("denoising", "kodak24", {"sigma": 30})
    assert [row.psnr for row in rows] == sorted((row.psnr for row in rows), reverse=True)
    assert not beside("denoising", "rain100l")
