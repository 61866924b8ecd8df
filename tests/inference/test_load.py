"""From a task, weights or a file to a Restorer."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from undegrade import convert, create_network, from_pretrained, list_weights, load, load_network, restore
from undegrade.core.errors import UnknownNameError, UsageError, WeightsError
from undegrade.core.image import Picture
from undegrade.inference.chain import Chain
from undegrade.networks import catalog
from undegrade.weights.pack import pack

SMALL = {"width": 4, "enc_blocks": (1, 1, 1, 1)}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Small weights in the user's folder: two denoisers and a deraining network."""
    monkeypatch.setenv("UNDEGRADE_HOME", str(tmp_path))
    folder = tmp_path / "weights"
    spec = catalog.get("m3snet")
    config = spec.configure(None, **SMALL)
    for seed, (name, task, parameters) in enumerate(
        [("mine_50", "denoising", {"sigma": 50}), ("mine_rain", "deraining", {}), ("mine_snow", "desnowing", {})]
    ):
        torch.manual_seed(seed)
        net = spec.build(config)
        for parameter in net.parameters():  # fresh blocks are the identity
            torch.nn.init.normal_(parameter, std=0.1)
        pack(net, "m3snet", config, task, folder / f"{name}.safetensors", parameters=parameters)
    return folder


PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_shipped_denoiser_is_the_default():
    restorer = load("denoise", sigma=25, strength=0.5, device="cpu")
    assert restorer.info["weights"] in list_weights(task="denoising")
    assert restorer.info["task"] == "denoising"
    assert restorer.info["parameters"] == {"sigma": 25}
    assert restorer.info["training"]["steps"] > 0
    assert restorer.options.strength == 0.5
    assert load("denoising", sigma="auto").info["weights"] in list_weights(task="denoising")


def test_what_may_be_task_weights_or_file(own):
    for what in ("derain", "deraining", "mine_rain", own / "mine_rain.safetensors", str(own / "mine_rain.toml")):
        restorer = load(what, weights="mine_rain") if what in ("derain", "deraining") else load(what)
        assert restorer.info["weights"] == "mine_rain"
        assert restorer.info["task"] == "deraining"
    assert load("denoise", sigma=50).info["weights"] == "mine_50"
    assert np.array_equal(restore(PICTURE, "derain", weights="mine_rain"), load("mine_rain")(PICTURE))


def test_file_without_a_card(tmp_path):
    torch.save({"model": create_network("chair", "chair_small").state_dict()}, tmp_path / "model_its.pkl")
    info = load(tmp_path / "model_its.pkl", network="chair", task="dehaze").info
    assert (info["network"], info["task"], info["weights"]) == ("chair", "dehazing", "model_its")
    assert info["licence"] == "unknown"
    assert load(tmp_path / "model_its.pkl").info["task"] is None
    with pytest.raises(UsageError, match="task=super_resolution: the weights model_its do not enlarge"):
        load(tmp_path / "model_its.pkl", task="sr")


@pytest.mark.parametrize(
    ("network", "numbers"),
    [("m3snet", SMALL), ("mhnet", SMALL | {"num_cab": 1}), ("mhnet2023", SMALL | {"n_feat": 4, "num_cab": 1})],
)
def test_official_files_are_padded_as_their_authors_did(tmp_path, own, network, numbers):
    spec = catalog.get(network)
    config = spec.configure(None, **numbers)
    net = spec.build(config).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    state = net.state_dict()
    unused = torch.zeros(1)  # computed and thrown away by the official file
    official = {name: unused if ours is None else state[ours] for name, ours in spec.official(config).items()}
    torch.save({"state_dict": official}, tmp_path / "official.pth")
    x = torch.rand(1, 3, 37, 50)
    with torch.no_grad():  # the network itself pads with zeros
        assert torch.allclose(load(tmp_path / "official.pth").tensor(x), net(x).clamp(0, 1), atol=1e-6)
        convert(tmp_path / "official.pth", tmp_path / "converted.safetensors")
        assert torch.allclose(load(tmp_path / "converted.safetensors").tensor(x), net(x).clamp(0, 1), atol=1e-6)


def test_chain(own):
    chain = load("mine_rain"), load("mine_snow")
    both = Chain(chain)
    x = torch.rand(2, 3, 20, 30)
    assert torch.equal(both.tensor(x), chain[1].tensor(chain[0].tensor(x)))
    assert [info["task"] for info in both.info["chain"]] == ["deraining", "desnowing"]
    assert both(PICTURE).dtype == np.uint8
    floats = PICTURE.astype(np.float32) / 255
    assert np.array_equal(both(PICTURE), np.rint(both(floats) * 255).astype(np.uint8))  # rounded once, at the end


def test_a_chain_takes_the_options_and_enlarges_by_all_its_scales(probe, picture):
    both, x = Chain((probe(scale=2), probe(scale=3))), picture(20, 24)
    assert both.scale == 6
    once = [restorer.tensor for restorer in both.restorers]
    halfway = once[1](once[0](x, strength=0.5), strength=0.5)
    assert torch.equal(both.tensor(x, strength=0.5), halfway)
    assert torch.equal(both.picture(Picture(x[0]), strength=0.5).pixels, halfway[0])
    shares: list[tuple[int, int]] = []
    both.tensor(x, progress=lambda *share: shares.append(share))
    both.picture(Picture(x[0]), progress=lambda *share: shares.append(share))
    assert shares == [(1, 1)] * 4


def test_chain_by_names(own, monkeypatch):
    chain = load("denoise,desnow", sigma=50)
    assert [restorer.info["task"] for restorer in chain.restorers] == ["denoising", "desnowing"]
    assert chain.restorers[0].parameters == {"sigma": 50}
    assert chain.restorers[1].parameters == {}
    with pytest.raises(UnknownNameError, match="unknown parameter 'quality'"):
        load("denoise,desnow", quality=3)
    with pytest.raises(UsageError, match="choose their own weights"):
        load("denoise,desnow", weights="mine_50")


@pytest.mark.parametrize(
    ("what", "wish", "error", "message"),
    [
        (None, {"network": "chair"}, UsageError, "a task, the id of weights, or a file is needed"),
        (None, {"sigma": 25, "quality": 30}, UsageError, "parameters of denoising and jpeg_artifacts"),
        (None, {"sigmas": 9}, UnknownNameError, "did you mean .sigma"),
        ("dehase", {}, UnknownNameError, "did you mean 'dehaze'"),
        ("denoise", {"sigma": 99}, UsageError, "sigma=99: must lie in 0-75"),
        ("denoise", {"sigmas": 9}, UnknownNameError, "did you mean 'sigma'"),
        ("denoise", {"network": "pa_edsr"}, WeightsError, "no weights for denoising with network pa_edsr"),
        ("denoise", {"preset": "m3snet_w32"}, UsageError, "only with a file"),
        ("denoise", {"weights": "mine_rain"}, UsageError, "mine_rain are for deraining"),
        ("mine_rain", {"weights": "mine_rain"}, UsageError, "give the weights once"),
        ("mine_rain", {"depth": 3}, UnknownNameError, "number of m3snet 'depth'"),
        ("super_resolution_x3_fast", {"scale": 2}, UsageError, r"scale=2: the weights super_\w+ enlarge 3 times"),
        ("", {}, UnknownNameError, "unknown task or weights ''"),
        (None, {"task": ""}, UsageError, "task='': an empty name"),
        (None, {"weights": ""}, UsageError, "weights='': an empty name"),
        ("denoise", {"backend": 5}, UnknownNameError, "unknown backend '5': there are"),
        (["denoise", "derain"], {}, UsageError, r"what=\['denoise', 'derain'\]: .*'denoise,derain'"),
        (None, {"task": ["denoise"]}, UsageError, r"task=\['denoise'\]"),
        (None, {"weights": 5}, UsageError, "weights=5: give a name"),
        ("mine_rain", {"dtype": "int8"}, UsageError, "dtype=int8"),
        ("none.pth", {}, WeightsError, "no such file"),
        ("demosaic", {"strength": 0.5}, UsageError, "no picture to blend with"),
        ("denoise", {"tile": "official"}, UsageError, "m3snet has none"),
    ],
)
def test_wrong_wishes(own, what, wish, error, message):
    with pytest.raises(error, match=message):
        load(what, **wish)


def test_weights_that_enlarge_as_asked():
    assert load("super_resolution_x3_fast", scale=3).scale == 3
    assert load("super_resolution_x3_fast").scale == 3


def test_a_folder_of_the_name_of_weights_is_not_meant(own, tmp_path, monkeypatch):
    load("derain", weights="mine_rain").save_pretrained(tmp_path / "work" / "mine_50")
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "denoise").touch()
    assert load("mine_50").info["task"] == "denoising"
    assert load("denoise", sigma=50).info["weights"] == "mine_50"
    assert load("./mine_50").info["weights"] == "mine_rain"


@pytest.mark.parametrize("wish", [{"device": "foo"}, {"dtype": "float7"}, {"backend": "slow"}])
def test_auto_refuses_at_once_what_is_not_there(wish):
    with pytest.raises(UsageError):
        load(**wish)


def test_options_are_checked(own):
    with pytest.raises(UsageError, match=r"strength='0\.5': must be a number"):
        load("mine_50", strength="0.5")
    with pytest.raises(UnknownNameError, match=r"unknown option 'tiles': did you mean 'tile'"):
        load("mine_50")(PICTURE, tiles=3)


def test_autocast_around_a_call_changes_nothing():
    restorer = load("denoising", device="cpu", dtype="float32")
    expected = restorer(PICTURE)
    with torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(restorer(PICTURE), expected)


def test_names_that_no_disk_can_have():
    """They are names of nothing, and told as such."""
    name = "x" * 300
    for call in (load, lambda name: load(weights=name), load_network):
        with pytest.raises(UnknownNameError, match=r"unknown .*weights 'xxx"):
            call(name)
    for call in (load, load_network):
        with pytest.raises(WeightsError, match="no such file"):
            call(f"{name}.pth")
    with pytest.raises(WeightsError, match="there is no such folder"):
        from_pretrained(name)


def test_without_a_home_shipped_weights_are_found(monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "UNDEGRADE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("Could not determine home directory.")))
    assert "denoising_fast" in list_weights()
