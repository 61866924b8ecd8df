from __future__ import annotations

from pathlib import Path

import pytest
import torch

from undegrade.core.errors import UsageError
from undegrade.networks.pa_edsr import SPEC, PaEdsrConfig
from undegrade.weights.load import load_network


def small(scale: int) -> PaEdsrConfig:
    return PaEdsrConfig(scale=scale, blocks=2, features=8, reduction=2)


def official_state(config: PaEdsrConfig, seed: int) -> dict[str, torch.Tensor]:
    """A checkpoint as the published scripts write it: the attention twice, unused entries included."""
    torch.manual_seed(seed)
    state = SPEC.build(config).state_dict()
    return {
        theirs: torch.zeros(1) if ours is None else state[ours].clone()
        for theirs, ours in SPEC.official(config).items()
    }


@pytest.mark.parametrize(
    ("preset", "count", "entries"),
    [("pa_edsr_x2", 40_811_846, 160), ("pa_edsr_x3", 43_762_246, 160), ("pa_edsr_x4", 43_172_166, 162)],
)
def test_published_sizes(preset: str, count: int, entries: int) -> None:
    config = SPEC.configure(preset)
    with torch.device("meta"):
        net = SPEC.build(config)
    assert sum(p.numel() for p in net.parameters()) == count
    assert len(SPEC.official(config)) == entries


@pytest.mark.parametrize("preset", SPEC.presets)
def test_config_is_found_from_names_and_shapes(preset: str) -> None:
    config = SPEC.configure(preset)
    with torch.device("meta"):
        state = SPEC.build(config).state_dict()
    names = SPEC.official(config)
    shapes = {theirs: () if ours is None else tuple(state[ours].shape) for theirs, ours in names.items()}
    assert SPEC.infer(shapes) == config
    assert {ours for ours in names.values() if ours is not None} == set(state)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_output_is_the_input_times_the_scale(scale: int) -> None:
    config = small(scale)
    assert SPEC.scale(config) == scale
    assert SPEC.build(config)(torch.rand(2, 3, 7, 9)).shape == (2, 3, scale * 7, scale * 9)


def test_checkpoint_loads_and_the_last_copy_of_the_attention_wins(tmp_path: Path) -> None:
    state = official_state(small(4), 1)
    for copy, value in (("msa", 0.5), ("body.1", 0.125)):
        state[f"{copy}.conv_match.1.weight"] = torch.tensor([value])
    torch.save(state, tmp_path / "model_x4.pt")
    net = load_network(tmp_path / "model_x4.pt")
    assert net.attention.key[1].weight.item() == 0.125
    torch.manual_seed(1)
    expected = SPEC.build(small(4)).eval()
    expected.attention.key[1].weight.data.fill_(0.125)
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        assert torch.equal(net(x), expected(x))


def test_every_parameter_gets_a_gradient() -> None:
    net = SPEC.build(small(3))
    net(torch.rand(1, 3, 8, 7)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="scale=5"):
        PaEdsrConfig(scale=5)
    with pytest.raises(UsageError, match="blocks=3"):
        PaEdsrConfig(blocks=3)
    with pytest.raises(UsageError, match="reduction=0"):
        PaEdsrConfig(reduction=0)
