from __future__ import annotations

import pytest
import skimage.data
import torch

from undegrade import list_weights, load, weights_card
from undegrade.inference import tiling
from undegrade.inference.tiling import Plan


def whole(restorer, x, **options):
    return restorer.tensor(x, tile=None, **options)


@pytest.mark.parametrize("tile", [16, 48, 100, 200])
@pytest.mark.parametrize("size", [(203, 310), (150, 33)])
def test_tiles_equal_the_whole_picture(probe, picture, tile, size):
    restorer, x = probe(), picture(*size)
    assert torch.allclose(restorer.tensor(x, tile=tile), whole(restorer, x), atol=2e-6)


def test_too_little_context_is_visible(probe, picture):
    restorer, x = probe({"context": 0}), picture(203, 310)
    assert (restorer.tensor(x, tile=48) - whole(restorer, x)).abs().max() > 1e-3


@pytest.mark.parametrize("scale", [2, 3])
def test_tiles_of_enlarging_networks(probe, picture, scale):
    restorer, x = probe(scale=scale), picture(90, 131)
    y = restorer.tensor(x, tile=32)
    assert y.shape == (1, 3, 90 * scale, 131 * scale)
    assert torch.allclose(y, whole(restorer, x), atol=2e-6)


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
def test_padding_is_that_of_the_whole_picture_in_every_tile(probe, picture, mode):
    restorer, x = probe({"multiple_of": 16, "padding": mode}), picture(65, 97)
    assert torch.allclose(restorer.tensor(x, tile=16), whole(restorer, x), atol=2e-6)


@pytest.mark.parametrize("length", [1, 17, 64, 333, 1000])
@pytest.mark.parametrize("core", [16, 50, 128])
def test_weights_sum_to_one(length, core):
    padded = -(-length // 8) * 8
    total = torch.zeros(length)
    for span in tiling.spans(length, padded, core, Plan((core, core), context=24, multiple=8)):
        place, weight = tiling._share(span, 1, total)
        assert span.start <= place.start
        assert place.stop <= span.stop
        total[place] += weight
    assert torch.allclose(total, torch.ones(length), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in list_weights() if weights_card(name).task != "auto"])
def test_shipped_weights_are_close_to_the_whole_picture(name):
    # Two windows cover this picture, so the means are good ones; docs/tiling.md has the figures for usual sizes.
    restorer = load(name, device="cpu")
    clean = torch.from_numpy(skimage.data.astronaut()[:, 128:384].copy()).permute(2, 0, 1) / 255
    parameters = {"sigma": 25, "quality": 30, "pattern": "RGGB", "scale": restorer.scale}
    strength = {parameter.name: parameters[parameter.name] for parameter in restorer.task.parameters}
    x = restorer.task.degrade(clean, torch.Generator().manual_seed(0), **strength)[None]
    error = (restorer.tensor(x, tile=160) - restorer.tensor(x, tile=None)).square().mean()
    # Haze, and the veil behind snow, are judged from the whole picture more than anything else.
    assert -10 * torch.log10(error) > (35 if restorer.task.name in ("dehazing", "desnowing") else 45)


def test_plan_fits_the_budget():
    def needed(height, width):
        return 100 * height * width

    whole_picture = Plan((2000, 3000), context=32, multiple=16)
    assert tiling.plan(whole_picture, needed, 10**9) == whole_picture
    cut = tiling.plan(whole_picture, needed, 10**7)
    for span in tiling.spans(3000, 3008, cut.tile[1], cut):
        assert needed(span.stop - span.start, span.stop - span.start) <= 10**7
    assert cut.tile[0] > 128
    assert tiling.plan(whole_picture, needed, 1).tile == (64, 64)


def test_tiles_of_one_size_run_as_a_batch(probe, picture):
    restorer, x, shapes = probe(), picture(150, 210), []

    def network(part):
        shapes.append(tuple(part.shape))
        return restorer.backend.run(part)

    cut = tiling.Plan((64, 64), 32, 4)
    settings = {"padded": (152, 212), "scale": 1}
    told = []
    alone = tiling.join(network, x, cut, **settings)
    count = len(shapes)
    shapes.clear()
    together = tiling.join(network, x, cut, **settings, together=4, progress=lambda done, total: told.append(done))
    assert (together - alone).abs().max() < 1e-6
    assert sum(shape[0] for shape in shapes) == count == told[-1]
    assert max(shape[0] for shape in shapes) > 1
