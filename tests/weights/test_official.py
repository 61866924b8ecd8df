"""Official checkpoints: every wrapping, every network told from names and shapes, strict."""

from __future__ import annotations

import warnings

import parity
import pytest
import torch
from networks_of import network_of
from safetensors.torch import save_file

from undegrade import load_network
from undegrade.core.errors import UnknownNameError, UsageError, WeightsError
from undegrade.networks import catalog
from undegrade.weights.checkpoint import read
from undegrade.weights.load import _recognise, _Wish, open_weights

STEMS = [
    path.stem
    for path in sorted(parity.GOLDEN.glob("*.npz"))
    if not path.stem.endswith("_train") and not path.stem.startswith("pa_c")
]
TRIAL = "chair_r4"


@pytest.mark.parametrize("stem", STEMS)
def test_network_and_numbers_are_told_from_names_and_shapes(stem):
    _, meta = parity.read(parity.GOLDEN / f"{stem}.npz")
    schema = {name: tuple(shape) for name, shape in (meta.get("state_dict") or meta["schema"]).items()}
    spec, config = _recognise(parity.GOLDEN, schema, _Wish(None, None, {}))
    assert spec.name == network_of(stem)
    assert set(spec.official(config)) == set(schema)
    numbers = vars(config)
    for name, value in meta["kwargs"].items():
        ours = {"num_res": "blocks", "n_resblocks": "blocks", "n_colors": "colors", "dim": "width"}.get(name, name)
        if ours in numbers and name != "scale":
            assert numbers[ours] == value, name


@pytest.mark.parametrize("stem", [TRIAL, "ccnet_dehaze", "mhnet_w16", "panet_rgb_b4_24x32", "paedsr_x2_b4_12x16"])
def test_entries_arrive(official, save, stem):
    entries = official(stem)
    loaded = open_weights(save({"model": entries}, "net.pkl"))
    state, table = loaded.module.state_dict(), loaded.spec.official(loaded.config)
    assert not loaded.module.training
    for name, ours in table.items():
        if ours is not None:
            assert torch.equal(state[ours], entries[name]), name
    assert {ours for ours in table.values() if ours} == set(state)


def wrappings(entries):
    prefixed = {f"module.{name}": tensor for name, tensor in entries.items()}
    other = {name: torch.zeros_like(tensor) for name, tensor in entries.items()}
    counted = entries | {"total_ops": torch.zeros(1), "Encoder.0.total_params": torch.zeros(1)}
    return {
        "bare": entries,
        "bare with prefix": prefixed,
        "model": {"model": entries, "epoch": 7},
        "state_dict": {"epoch": 7, "state_dict": prefixed, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
        "params": {"params": entries},
        "params_ema": {"params": other, "params_ema": entries},
        "net": {"net": prefixed},
        "nested": {"model": {"state_dict": entries}},
        "counters of a profiler": {"model": counted},
    }


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
@pytest.mark.parametrize("wrapping", list(wrappings({})))
def test_wrappings(save, wrapping, old):
    entries = {"Encoder.0.weight": torch.rand(3, 2), "feat.bias": torch.rand(3)}
    found = read(save(wrappings(entries)[wrapping], old=old)).entries
    assert list(found) == list(entries)
    assert all(torch.equal(found[name], entries[name]) for name in entries)


def _equal(net, entries):
    table = catalog.get("chair").official(catalog.get("chair").presets["chair_r4"])
    return all(torch.equal(net.state_dict()[table[name]], entries[name]) for name in entries)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pkl", ".ckpt", ".bin"])
def test_suffix_does_not_matter(save, suffix):
    assert list(read(save({"a.weight": torch.ones(2)}, f"x{suffix}")).entries) == ["a.weight"]


def test_safetensors_may_keep_a_shared_tensor_under_one_name(official, tmp_path, save):
    entries = official("panet_rgb_b4_24x32")
    slopes = [name for name in entries if name.startswith("body.") and name.endswith(".body.1.weight")]
    kept = {name: tensor.clone() for name, tensor in entries.items() if name not in slopes[1:]}
    save_file(kept, tmp_path / "x.safetensors")
    net = load_network(tmp_path / "x.safetensors")
    whole = load_network(save(entries))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), whole.parameters(), strict=True))
    with pytest.raises(WeightsError, match="missing: body"):
        load_network(save(kept))


def test_of_several_names_for_one_tensor_the_last_in_the_file_wins(official, save):
    entries = official("panet_rgb_b4_24x32")
    *_, last = [name for name in entries if name.endswith(".body.1.weight")]
    loaded = open_weights(save(entries | {last: torch.full((1,), 0.75)}))
    assert loaded.module.state_dict()[loaded.spec.official(loaded.config)[last]].item() == 0.75


def test_said_instead_of_told(official, save):
    path = save(official(TRIAL))
    assert _equal(load_network(path, network="chair"), official(TRIAL))
    assert _equal(load_network(path, preset="chair_r4"), official(TRIAL))
    assert _equal(load_network(path, "chair", "chair_r16", blocks=4), official(TRIAL))
    with pytest.raises(WeightsError, match=r"missing: .* and \d+ more"):
        load_network(path, "chair", "chair_r16")
    with pytest.raises(WeightsError, match=r"weights of chair, not of m3snet$"):
        load_network(path, network="m3snet")
    with pytest.raises(UnknownNameError, match="did you mean 'chair_r4'"):
        load_network(path, preset="chair_r_4")
    with pytest.raises(UnknownNameError, match="did you mean 'chair'"):
        load_network(path, network="chairs")


@pytest.mark.parametrize("network", [None, "chair"])
def test_strict(official, save, network):
    entries = official(TRIAL)
    names = list(entries)
    for gone in (names[0], names[40], "SCM1.main.0.main.0.weight", names[-1]):
        with pytest.raises(WeightsError, match=f"missing: {gone}$"):
            load_network(save({name: entries[name] for name in names if name != gone}), network)
    with pytest.raises(WeightsError, match=r"surplus: extra\.weight$"):
        load_network(save(entries | {"extra.weight": torch.ones(3)}), network)
    with pytest.raises(WeightsError, match=rf"of another shape: {names[-1]} is \(5,\), needed"):
        load_network(save(entries | {names[-1]: torch.ones(5)}), network)


def test_weights_of_nothing_known(save):
    with pytest.raises(WeightsError, match=r"not weights of any known network \(ccnet, chair, .*like conv.weight"):
        load_network(save({"conv.weight": torch.ones(1), "fc.weight": torch.ones(1)}))


def test_our_own_names_without_a_card(save):
    spec = catalog.get("panet")
    net = spec.build(spec.presets["panet_small"])
    loaded = open_weights(save(net.state_dict()))
    assert loaded.config == spec.presets["panet_small"]
    assert all(torch.equal(a, b) for a, b in zip(loaded.module.parameters(), net.parameters(), strict=True))


def test_local_form(official, save):
    path = save(official("mhnet_w16"))
    x = torch.rand(1, 3, 64, 64)
    plain, local, wide = (load_network(path, local_train_size=size) for size in (None, (32, 32), 256))
    with torch.inference_mode():
        assert not torch.allclose(plain(x), local(x), atol=1e-4)
        assert torch.allclose(plain(x), wide(x), atol=1e-5)  # windows of 384 cover the picture
    with pytest.raises(UsageError, match="chair has no Local"):
        load_network(save(official(TRIAL)), local_train_size=256)


@pytest.mark.parametrize("size", ["64", 64.5, 0, (32,), (32, "32")])
def test_sizes_of_patches_that_are_none(size):
    with pytest.raises(UsageError, match="give the side, or"):
        load_network("denoising_fast", local_train_size=size)


def test_global_random_state_is_left_alone(official, save):
    path = save(official(TRIAL))
    before = torch.get_rng_state()
    load_network(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_warning_reaches_the_user(official, save):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_network(save(official(TRIAL), old=True))
