from __future__ import annotations

from pathlib import Path

import pyramid_plain
import pytest
import torch

from undegrade.core.errors import UsageError
from undegrade.networks.panet import SPEC, PanetConfig
from undegrade.weights.load import load_network

SMALL = PanetConfig(blocks=4, features=8, colors=1)


def official_state(config: PanetConfig, seed: int) -> dict[str, torch.Tensor]:
    """A checkpoint as the published scripts write it: every name of a shared tensor, unused entries included."""
    torch.manual_seed(seed)
    state = SPEC.build(config).state_dict()
    return {
        theirs: torch.zeros(1) if ours is None else state[ours].clone()
        for theirs, ours in SPEC.official(config).items()
    }


@pytest.mark.parametrize(("preset", "count"), [("panet_rgb", 5_957_255), ("panet_grey", 5_954_949)])
def test_published_sizes(preset: str, count: int) -> None:
    config = SPEC.configure(preset)
    assert sum(p.numel() for p in SPEC.build(config).parameters()) == count
    assert len(SPEC.official(config)) == 420


@pytest.mark.parametrize("preset", SPEC.presets)
def test_config_is_found_from_names_and_shapes(preset: str) -> None:
    config = SPEC.configure(preset)
    shapes = {name: tuple(tensor.shape) for name, tensor in official_state(config, 0).items()}
    assert SPEC.infer(shapes) == config
    assert SPEC.infer({name: shape for name, shape in shapes.items() if "conv_match." not in name}) is None


def test_every_entry_of_ours_has_an_official_name() -> None:
    ours = set(SPEC.build(SMALL).state_dict())
    assert {name for name in SPEC.official(SMALL).values() if name is not None} == ours


def test_network_and_gradients_equal_the_plain_form() -> None:
    net = SPEC.build(SMALL).double()
    x = torch.rand(2, 1, 9, 8, dtype=torch.float64)
    ours, plain = net(x), pyramid_plain.panet(net, x)
    assert (ours - plain).abs().max() <= 1e-12 * plain.abs().max()
    parameters = list(net.parameters())
    pairs = zip(*(torch.autograd.grad(y.square().sum(), parameters) for y in (ours, plain)), strict=True)
    assert all((a - b).abs().max() <= 1e-11 * b.abs().max() for a, b in pairs)


def test_one_slope_serves_all_blocks() -> None:
    net = SPEC.build(SMALL)
    x = torch.rand(1, 1, 9, 8)
    net(x).sum().backward()
    slopes = [
        name for name, p in net.named_parameters() if p.numel() == 1 and "attention" not in name and "tail" not in name
    ]
    assert slopes == ["activation.weight"]
    assert net.activation.weight.grad.abs() > 0


def test_checkpoint_loads_and_the_last_name_of_a_shared_tensor_wins(tmp_path: Path) -> None:
    state = official_state(SMALL, 1)
    state["body.0.body.1.weight"] = torch.tensor([0.5])
    state["body.4.body.1.weight"] = torch.tensor([0.125])
    torch.save(state, tmp_path / "model_best.pt")
    net = load_network(tmp_path / "model_best.pt")
    assert net.activation.weight.item() == 0.125
    torch.manual_seed(1)
    expected = SPEC.build(SMALL).eval()
    expected.activation.weight.data.fill_(0.125)
    x = torch.rand(1, 1, 12, 10)
    with torch.no_grad():
        assert torch.equal(net(x), expected(x))


def test_every_parameter_gets_a_gradient() -> None:
    net = SPEC.build(SMALL)
    net(torch.rand(2, 1, 8, 7)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


@pytest.mark.parametrize("blocks", [0, 3])
def test_odd_blocks_are_refused(blocks: int) -> None:
    with pytest.raises(UsageError, match=f"blocks={blocks}"):
        PanetConfig(blocks=blocks)


@pytest.mark.parametrize("reduction", [0, 9])
def test_reductions_that_leave_no_channel_are_refused(reduction: int) -> None:
    with pytest.raises(UsageError, match=f"reduction={reduction}: from 1 to the 8 features"):
        PanetConfig(blocks=2, features=8, reduction=reduction)
