"""Cards, packing, and the store that finds weights for a wish."""

from __future__ import annotations

import dataclasses
import os
import sys

import numpy as np
import pytest
import torch
from torch import nn

from undegrade import list_weights, load, weights_card
from undegrade.api import catalogue
from undegrade.core.errors import UnknownNameError, UsageError, WeightsError
from undegrade.networks import catalog
from undegrade.weights import store
from undegrade.weights.card import Score, Training, WeightsCard
from undegrade.weights.convert import convert
from undegrade.weights.load import open_weights
from undegrade.weights.pack import pack

CARD = WeightsCard(
    id="trial",
    title='A "title" with \\ and tab\t and \x7f',
    network="m3snet",
    file="trial.safetensors",
    task="denoising",
    preset="m3snet_w16_d8",
    numbers={"width": 4, "enc_blocks": (1, 1, 1, 2)},
    parameters={"sigma": {"low": 0, "high": 75}, "kind": ("a", "b"), "scale": 2},
    sha256="00",
    context=32,
    train_size=(256, 192),
    parity_error=1e-6,
    training=Training(recipe="r", seed=1, minutes=2.5, versions={"torch": "2"}, validation={"sigma=25": 31.5}),
    scores=(Score("rgb", "cbsd68", 31.25, strength=25), Score("rgb", "kodak24", 32.0, 0.9, 20.2, "blind", "abc")),
)
SMALL = {"width": 4, "enc_blocks": (1, 1, 1, 1)}


@pytest.fixture
def small():
    spec = catalog.get("m3snet")
    config = spec.configure("m3snet_w16_d8", **SMALL)
    torch.manual_seed(0)
    return spec.build(config), config


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The user's folder of weights, empty."""
    monkeypatch.setenv("UNDEGRADE_HOME", str(tmp_path))
    return tmp_path / "weights"


def test_card_survives_toml():
    assert WeightsCard.from_toml(CARD.to_toml()) == CARD
    plain = WeightsCard(id="x", title="y", network="chair", file="x.safetensors")
    assert WeightsCard.from_toml(plain.to_toml()) == plain
    of_numpy = dataclasses.replace(CARD, parity_error=np.float64(1e-6))
    assert WeightsCard.from_toml(of_numpy.to_toml()) == CARD


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id = ", "not a weights card"),
        ("id = 'x'", "missing"),
        (CARD.to_toml().replace("licence", "license"), "unknown entry license"),
        (CARD.to_toml().replace("schema = 1", "schema = 2"), "schema 2, this version reads 1"),
        (CARD.to_toml().replace("high = 75", ""), r"parameters\.sigma: a range is told by two numbers"),
        (CARD.to_toml().replace("context = 32", "context = 'wide'"), "context='wide': must be a whole number"),
        (CARD.to_toml().replace("context = 32", "padding = 'mirror'"), "padding='mirror': must be reflect or zeros"),
        (CARD.to_toml().replace("trial.safetensors", ""), "file='': must be the name of a file"),
    ],
)
def test_wrong_cards(text, message):
    with pytest.raises(WeightsError, match=message):
        WeightsCard.from_toml(text, "x.toml")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_pack_and_open(small, tmp_path, dtype):
    net, config = small
    path = tmp_path / "deep" / "trial.safetensors"
    card_path = pack(net, "m3snet", config, "denoising", path, dtype=dtype, preset="m3snet_w16_d8", limits="none known")
    for source in (path, card_path):
        loaded = open_weights(source)
        assert loaded.config == config
        assert loaded.card is not None
        assert loaded.card.limits == "none known"
        for name, tensor in net.state_dict().items():
            assert torch.equal(loaded.module.state_dict()[name], tensor.to(dtype).float()), name
    assert sorted(p.name for p in path.parent.iterdir()) == ["trial.safetensors", "trial.toml"]


def test_shared_tensors_are_stored_once_and_come_back(tmp_path):
    spec = catalog.get("panet")
    config = spec.configure("panet_small", blocks=2)
    net = spec.build(config)
    pack(net, "panet", config, "denoising", tmp_path / "x.safetensors", dtype=torch.float32)
    again = open_weights(tmp_path / "x.safetensors").module
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_values_beyond_half_precision_keep_their_width(small, tmp_path):
    net, config = small
    with torch.no_grad():
        net.intro.bias.fill_(1e6)
    pack(net, "m3snet", config, "denoising", tmp_path / "x.safetensors")
    assert open_weights(tmp_path / "x.safetensors").module.intro.bias[0] == 1e6


def test_broken_weights_are_not_written(small, tmp_path):
    net, config = small
    nn.init.constant_(net.intro.bias, float("nan"))
    with pytest.raises(WeightsError, match=r"'intro\.bias' holds NaN"):
        pack(net, "m3snet", config, "denoising", tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_changed_file_is_noticed(small, own):
    net, config = small
    pack(net, "m3snet", config, "denoising", own / "mine.safetensors")
    content = bytearray((own / "mine.safetensors").read_bytes())
    content[-1] ^= 1
    (own / "mine.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"SHA-256 \w{12}\.\.\. is not the card's"):
        open_weights("mine")
    (own / "mine.safetensors").unlink()
    with pytest.raises(WeightsError, match="is missing; put it beside its card"):
        open_weights("mine")


def test_own_weights_are_found(small, own):
    net, config = small
    pack(net, "m3snet", config, "denoising", own / "mine-denoise.safetensors", parameters={"sigma": 25})
    assert "mine-denoise" in list_weights("mine*", task="denoise", network="m3snet")
    assert list_weights("mine*", task="deraining") == []
    assert weights_card("mine-denoise").numbers["width"] == 4
    restorer = load("mine-denoise")
    assert restorer.info["task"] == "denoising"
    assert restorer.info["numbers"]["width"] == 4
    assert load(task="denoise", sigma=25, weights="mine-denoise").parameters == {"sigma": 25}
    with pytest.raises(UnknownNameError, match="did you mean 'mine-denoise'"):
        weights_card("mine-denoize")


def cards(own, **made):
    own.mkdir(parents=True)
    for name, parameters in made.items():
        card = dataclasses.replace(CARD, id=name, file=f"{name}.safetensors", task="trial", parameters=parameters)
        (own / f"{name}.toml").write_text(card.to_toml(), encoding="utf-8")


def test_resolve(own):
    cards(own, a_blind={"sigma": {"low": 0, "high": 50}}, b_exact={"sigma": 25}, c_choice={"sigma": (60, 70)})

    def chosen(preferred=None, network=None, **parameters):
        return store.resolve("trial", network, parameters, preferred).card.id

    assert chosen() == "a_blind"
    assert chosen(sigma=10) == "a_blind"
    assert chosen(sigma=25) == "b_exact"
    assert chosen(sigma=70) == "c_choice"
    assert chosen(sigma="auto") == "a_blind"
    assert chosen(preferred="c_choice") == "c_choice"
    assert chosen(preferred="c_choice", sigma=10) == "a_blind"
    assert chosen(preferred="a_blind", sigma=25) == "b_exact"
    assert chosen(unknown=3) == "a_blind"
    with pytest.raises(WeightsError, match=r"with sigma=75; there are: a_blind, b_exact, c_choice\."):
        chosen(sigma=75)
    with pytest.raises(WeightsError, match="with network chair"):
        chosen(network="chair")
    with pytest.raises(WeightsError, match="no weights for other; there are: none yet"):
        store.resolve("other")


def test_a_bad_card_of_the_user_stops_nothing(own):
    cards(own, good={})
    (own / "bad.toml").write_text("id = ", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"bad\.toml: left out: bad\.toml: not a weights card"):
        assert "good" in store.entries()


def test_convert(official, save, tmp_path):
    path = save({"model": official("chair_r4")}, "model_its.pkl")
    card = WeightsCard.from_toml(convert(path, tmp_path / "its.safetensors", task="dehazing").read_text("utf-8"))
    assert (card.network, card.preset, card.task) == ("chair", "chair_r4", "dehazing")
    assert card.origin == "converted from model_its.pkl"
    before, after = (
        open_weights(path).module.state_dict(),
        open_weights(tmp_path / "its.safetensors").module.state_dict(),
    )
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(UsageError, match=r"ends in \.safetensors"):
        convert(path, tmp_path / "its.pth")
    with pytest.raises(UsageError, match="is the checkpoint itself"):
        convert(tmp_path / "its.safetensors", tmp_path / "its.safetensors")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_convert_a_file_whose_name_is_no_text(official, save, tmp_path):
    path = save({"model": official("chair_r4")}, os.fsdecode(b"its\xff.pkl"))
    card = WeightsCard.from_toml(convert(path, tmp_path / "its.safetensors").read_text("utf-8"))
    assert card.origin == r"converted from its\udcff.pkl"


def test_every_shipped_card_is_complete():
    for name, stored in store.entries().items():
        card = stored.card
        assert card.id == name == stored.path.stem
        assert card.sha256
        assert card.task
        assert card.licence != "unknown"
        store.fetch(stored)
        if card.task == "auto":
            continue  # a classifier, which is no network of the catalogue
        spec = catalog.get(card.network)
        spec.configure(card.preset, **card.numbers)


def test_lists_read_every_card_once(monkeypatch):
    read = []
    monkeypatch.setattr(store, "read_card", lambda path, real=store.read_card: read.append(path) or real(path))
    assert "denoising_fast" in list_weights(task="denoising")
    assert len(read) == len(set(read)) > 5
    read.clear()
    assert list_weights() == [row["name"] for row in catalogue("weights")]
    assert len(read) == 2 * len(set(read))
