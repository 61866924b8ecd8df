"""What every network of the catalogue promises, found by walking the catalogue: a new file is tested unasked."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from undegrade.core.errors import UnknownNameError, UsageError
from undegrade.networks import catalog
from undegrade.networks._spec import NetworkSpec

NAMES = catalog.names()

SMALL: dict[str, dict[str, Any]] = {
    "ccnet": {"width": 8, "blocks": 1},
    "chair": {"width": 8, "blocks": 1},
    "m3snet": {"width": 4, "enc_blocks": (1, 1, 1, 2)},
    "mhnet": {"width": 4, "enc_blocks": (1, 1, 1, 2), "num_cab": 1},
    "mhnet2023": {"width": 16, "n_feat": 6, "enc_blocks": (1, 1, 1, 2), "num_cab": 1},
    "nafsr": {"width": 8, "blocks": 2},
    "pa_edsr": {"blocks": 2, "features": 16, "reduction": 2},
    "panet": {"blocks": 2, "features": 16},
    "resunet": {"widths": (8, 12, 16), "blocks": (1, 2, 1)},
}
"""Numbers that keep these tests fast; a network without an entry runs at its default size."""


def config_of(name: str, **numbers: Any) -> Any:
    return catalog.get(name).configure(**SMALL.get(name, {}), **numbers)


def network(name: str, **numbers: Any) -> nn.Module:
    """Small, in eval mode, every parameter moved away from its start: zeros there would hide whole branches."""
    spec = catalog.get(name)
    torch.manual_seed(1)
    net = spec.build(config_of(name, **numbers))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.eval()


@cache
def shared(name: str) -> nn.Module:
    return network(name)


def picture(spec: NetworkSpec[Any], config: Any, *, batch: int = 1, extra: tuple[int, int] = (0, 0)) -> Tensor:
    """Random, as small as the network allows, plus ``extra`` times the multiple that it asks for."""
    height, width = ((math.ceil(spec.min_size / spec.multiple_of) + more) * spec.multiple_of for more in extra)
    return torch.rand(batch, spec.channels(config), height, width, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("extra", [(0, 0), (1, 0), (2, 5)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_output_has_the_input_size_times_scale(name: str, extra: tuple[int, int]) -> None:
    spec, config = catalog.get(name), config_of(name)
    x = picture(spec, config, extra=extra)
    with torch.no_grad():
        y = shared(name)(x)
    scale = spec.scale(config)
    assert y.shape == (1, spec.channels(config), scale * x.shape[-2], scale * x.shape[-1])
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes(name: str) -> None:
    """Either the network computes them, or it says what it wants; the Restorer pads for it."""
    spec, config = catalog.get(name), config_of(name)
    size = (max(spec.min_size, 3) | 1, max(spec.min_size, 5) + 4 | 1)
    x = torch.rand(1, spec.channels(config), *size)
    try:
        with torch.no_grad():
            y = shared(name)(x)
    except UsageError as error:
        assert f"multiples of {spec.multiple_of}" in str(error)  # noqa: PT017
        assert spec.multiple_of > 1
    else:
        assert y.shape[-2:] == (spec.scale(config) * size[0], spec.scale(config) * size[1])


GREY = [name for name in NAMES if "colors" in {field.name for field in fields(catalog.get(name).config)}]


@pytest.mark.parametrize("name", GREY)
def test_grey_pictures(name: str) -> None:
    spec = catalog.get(name)
    config = config_of(name, colors=1)
    assert spec.channels(config) == 1
    x = picture(spec, config)
    with torch.no_grad():
        assert network(name, colors=1)(x).shape[:2] == (1, 1)


@pytest.mark.parametrize("name", GREY)
@pytest.mark.parametrize("colors", [0, -1])
def test_no_colours_are_refused(name: str, colors: int) -> None:
    with pytest.raises(UsageError, match=f"colors={colors}: give 1 or more"):
        config_of(name, colors=colors)


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("ccnet", {"blocks": 0}, "blocks=0: give 1 or more"),
        ("chair", {"blocks": -1}, "blocks=-1: give 1 or more"),
        ("m3snet", {"middle_blocks": -1}, "middle_blocks=-1: give 0 or more"),
        ("mhnet", {"num_cab": -1}, "num_cab=-1: give 0 or more"),
        ("mhnet", {"width": 40}, "width=40: its eighth"),
        ("mhnet2023", {"num_cab": -2}, "num_cab=-2: give 0 or more"),
        ("pa_edsr", {"features": 0}, "features=0: give 1 or more"),
        ("panet", {"features": -3}, "features=-3: give 1 or more"),
        ("resunet", {"widths": (), "blocks": ()}, "one number for each level"),
        ("resunet", {"widths": (4, -6), "blocks": (1, 1)}, "one number for each level"),
        ("resunet", {"widths": (4, 6), "blocks": (1, -1)}, "one number for each level"),
    ],
)
def test_numbers_that_no_network_can_have_are_refused(name: str, numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        catalog.get(name).configure(**numbers)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_parameter(name: str) -> None:
    net = network(name).train()
    x = picture(catalog.get(name), config_of(name), batch=2, extra=(1, 1))
    outputs = net.scales(x) if hasattr(net, "scales") else [net(x)]
    sum((output * torch.randn_like(output)).sum() for output in outputs).backward()
    without = [key for key, parameter in net.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert not without
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters() if parameter.requires_grad)
    flat = [key for key, parameter in net.named_parameters() if parameter.requires_grad and not parameter.grad.any()]
    assert not flat


@pytest.mark.parametrize("name", NAMES)
def test_two_runs_are_equal(name: str) -> None:
    x = picture(catalog.get(name), config_of(name))
    with torch.no_grad():
        first, second, other = shared(name)(x), shared(name)(x), network(name)(x)
    assert torch.equal(first, second)
    assert torch.equal(first, other)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_a_batch_do_not_meet(name: str) -> None:
    x = picture(catalog.get(name), config_of(name), batch=2, extra=(1, 0))
    with torch.no_grad():
        together = shared(name)(x)
        apart = torch.cat([shared(name)(single) for single in x.split(1)])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4 * float(apart.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_stays_close(name: str) -> None:
    x = picture(catalog.get(name), config_of(name))
    with torch.no_grad():
        exact = shared(name)(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = shared(name)(x).float()
    assert torch.isfinite(rough).all()
    assert (rough - exact).abs().mean() < 0.15 * exact.std()


@pytest.mark.parametrize("name", NAMES)
def test_full_resolution_output_is_one_of_the_scales(name: str) -> None:
    net = shared(name)
    if not hasattr(net, "scales"):
        return
    with torch.no_grad():
        x = picture(catalog.get(name), config_of(name))
        full, several = net(x), net.scales(x)
    assert any(torch.equal(full, output) for output in several)


@pytest.mark.parametrize("name", NAMES)
def test_local_form(name: str) -> None:
    spec, config = catalog.get(name), config_of(name)
    if spec.local is None:
        return
    x = picture(spec, config, extra=(32 // spec.multiple_of, 48 // spec.multiple_of))
    height, width = x.shape[-2:]
    with torch.no_grad():
        exact = shared(name)(x)
        large = spec.local(network(name), (4 * height, 4 * width))(x)
        small = spec.local(network(name), (height // 4, width // 4))(x)
    torch.testing.assert_close(large, exact)
    assert small.shape == exact.shape
    assert not torch.allclose(small, exact)


PRESETS = [(name, preset) for name in NAMES for preset in catalog.get(name).presets]


@pytest.mark.parametrize(("name", "preset"), PRESETS, ids=[preset for _, preset in PRESETS])
def test_official_names(name: str, preset: str) -> None:
    """Official entries lead to all of ours and to nothing else, and their shapes tell the config again."""
    spec = catalog.get(name)
    config = spec.configure(preset)
    with torch.device("meta"):
        shapes = {key: tuple(entry.shape) for key, entry in spec.build(config).state_dict().items()}
    table = spec.official(config)
    assert {ours for ours in table.values() if ours is not None} == set(shapes)
    official = {key: shapes[ours] for key, ours in table.items() if ours is not None}
    found = {other: catalog.get(other).infer(official) for other in NAMES}
    assert found == {other: config if other == name else None for other in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_spec(name: str) -> None:
    spec = catalog.get(name)
    assert spec.name == name
    assert spec.default in spec.presets
    assert spec.title
    assert spec.paper
    assert catalog.summary(name).startswith(spec.title) or spec.title.replace("-", "") in catalog.summary(name)
    with pytest.raises(UnknownNameError, match="preset"):
        spec.configure("nonsense")
    with pytest.raises(UnknownNameError, match="widht"):
        spec.configure(widht=8)
    for key, like in vars(spec.configure()).items():
        kind = type(like[0] if isinstance(like, tuple) and like else like)
        # Of a plugin's floats and words only None is wrong for certain.
        for wrong in (8.0, "8", None) if kind in (int, bool) else (None,):
            with pytest.raises(UsageError, match=f"{key}={wrong!r}: a (list of )?(whole )?(number|word)s? is needed"):
                spec.configure(**{key: wrong})
        if isinstance(like, tuple):
            assert spec.configure(**{key: list(np.array(like))}) == spec.configure()
