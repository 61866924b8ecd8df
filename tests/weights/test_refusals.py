"""Files that must not be used: code inside, cut off, not weights at all. Each error is one line that says why."""

from __future__ import annotations

import argparse
import pickle
import struct
import warnings
import zipfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pickled_call import Bomb
from safetensors.torch import save as as_bytes
from safetensors.torch import save_file
from torch import nn

from undegrade import create_network, load_network
from undegrade.core.errors import UsageError, WeightsError
from undegrade.networks import catalog
from undegrade.weights.card import WeightsCard
from undegrade.weights.checkpoint import read
from undegrade.weights.pack import CARD_KEY

TENSORS = {"a.weight": torch.arange(2000.0), "b.weight": torch.ones(3, 3)}


class EvalBomb(Bomb):
    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({str(self.path)!r})",)


@pytest.mark.parametrize("bomb", [Bomb, EvalBomb])
@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(save, tmp_path, bomb, old):
    trap = tmp_path / "it ran"
    path = save({"model": TENSORS, "epoch": bomb(trap)}, old=old)
    with pytest.raises(WeightsError, match=r"refused: reading it would call \w+\.(mkdir|eval), that is, run code"):
        load_network(path)
    assert not trap.exists()
    torch.load(path, weights_only=False)  # the trap is a real one
    assert trap.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_plain_pickle_is_refused_and_does_not_run(tmp_path, protocol):
    trap = tmp_path / "it ran"
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"model": Bomb(trap)}, protocol=protocol))
    with pytest.raises(WeightsError):
        load_network(path)
    assert not trap.exists()


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_a_whole_module_is_refused_with_the_way_out(save, old):
    with pytest.raises(WeightsError, match=r"object of torch\.nn\.\S+, .*whole module.*save model\.state_dict\(\)"):
        load_network(save(nn.Sequential(nn.Conv2d(3, 3, 1)), old=old))


def test_plain_values_beside_the_tensors_are_harmless(save):
    content = {
        "model": OrderedDict(TENSORS),
        "args": argparse.Namespace(lr=1e-3, names=["a"]),
        "best": np.float64(31.5),
        "steps": np.int64(7),
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999)}]},
    }
    assert list(read(save(content)).entries) == list(TENSORS)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_cut_off(save, tmp_path, kind, share):
    if kind == "safetensors":
        path = tmp_path / "x.safetensors"
        save_file(TENSORS, path)
    else:
        path = save({"model": TENSORS}, old=kind == "old")
    content = path.read_bytes()
    path.write_bytes(content[: max(4, int(share * len(content)))])
    with pytest.raises(WeightsError, match=r"cut off or .*get it again$") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_file_on_several_disks(save):
    path = save(TENSORS)
    content = path.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    path.write_bytes(content[:64] + struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 2) + content[end:])
    with pytest.raises(WeightsError, match="cut off or damaged"):
        read(path)


def test_values_that_are_no_numbers(save):
    path = save(TENSORS | {"b.weight": torch.full((3, 3), float("inf"))})
    with pytest.raises(WeightsError, match=r"NaN, infinity or no plain numbers in b\.weight: a damaged file"):
        load_network(path)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.ones(3, device="meta"),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(3).to(torch.float8_e4m3fn),
    ],
    ids=["sparse", "meta", "complex", "eight-bit"],
)
def test_tensors_that_are_no_plain_numbers(save, tensor):
    path = save(TENSORS | {"b.weight": tensor})
    with pytest.raises(WeightsError, match=r"no plain numbers in b\.weight"):
        load_network(path)


def test_a_dict_that_holds_itself(save):
    content = {}
    content["model"] = content["net"] = content
    with pytest.raises(WeightsError, match="no tensors inside; found the keys model, net"):
        read(save(content))
    assert list(read(save(content | TENSORS)).entries) == list(TENSORS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git-lfs pointer"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"GIF89a and so on", "not a checkpoint"),
        (b"{}" * 100, "not a checkpoint"),
    ],
)
def test_not_weights(tmp_path, content, message):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read(path)


def test_a_header_whose_length_looks_like_a_web_page(tmp_path):
    # 15392 bytes: a space and "<" in the eight bytes before it.
    short = as_bytes({"weight": torch.zeros(1)}, {"note": ""})
    length = struct.unpack("<Q", short[:8])[0]
    path = tmp_path / "weights.bin"
    path.write_bytes(as_bytes({"weight": torch.zeros(1)}, {"note": "x" * (0x3C20 - length)}))
    assert path.read_bytes()[:2] == b" <"
    assert list(read(path).entries) == ["weight"]


def test_missing_file_and_no_tensors(save, tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        load_network(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="no tensors inside; found the keys epoch, names"):
        read(save({"epoch": 1, "names": []}))
    with pytest.raises(WeightsError, match="no tensors inside; found a list"):
        read(save([1, 2]))


@pytest.mark.parametrize("said", [{"network": ["m3snet"]}, {"numbers": 3}, {"preset": ["m3snet_w16_d8"]}])
def test_a_recipe_inside_that_makes_no_sense(save, said):
    with pytest.raises(WeightsError, match="the recipe inside is damaged"):
        load_network(save({"ema": TENSORS, "recipe": {"network": "m3snet", **said}}))


def test_a_card_inside_that_asks_for_more_than_there_is(tmp_path):
    numbers = {"width": 2_000_000, "enc_blocks": [1, 1, 1, 1], "middle_blocks": 1, "dec_blocks": [1, 1, 1, 1]}
    card = WeightsCard(id="x", title="x", network="m3snet", file="x.safetensors", task="denoising", numbers=numbers)
    save_file(TENSORS, tmp_path / "x.safetensors", {CARD_KEY: card.to_toml()})
    with pytest.raises(WeightsError, match=r"of these numbers has \d+ weights, the file \d+"):
        load_network(tmp_path / "x.safetensors")


def test_little_that_stands_for_much(save, tmp_path):
    with pytest.raises(WeightsError, match="a would be many times as large as it is stored"):
        load_network(save({"a": torch.zeros(1).expand(3_000_000_000)}))
    path = save(TENSORS)
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in plain.namelist():
            archive.writestr(member, plain.read(member))
    with pytest.raises(WeightsError, match="refused: a compressed archive"):
        load_network(packed)


def test_threads_do_not_disturb_each_other(save):
    net = create_network("chair", "chair_small")
    path = save({"params": net.state_dict(), "args": argparse.Namespace(lr=1), "best": np.float64(3.5)})
    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        for loaded in [pool.submit(load_network, path) for _ in range(40)]:
            assert not loaded.exception()
    assert warnings.filters == filters


def test_a_card_with_sizes_that_make_no_sense():
    card = WeightsCard(id="x", title="x", network="m3snet", file="x", task="denoising").to_toml()
    for name, value in (("tile", 0), ("context", -5), ("bytes_per_pixel", -1)):
        with pytest.raises(WeightsError, match=f"{name}={value}: must be at least"):
            WeightsCard.from_toml(f"{name} = {value}\n{card}")


def test_the_users_default_type_and_device_change_nothing():
    torch.set_default_dtype(torch.float64)
    try:
        net = load_network("denoising_fast")
    finally:
        torch.set_default_dtype(torch.float32)
    assert {entry.dtype for entry in net.state_dict().values() if entry.is_floating_point()} == {torch.float32}
    with torch.device("meta"):
        net = load_network("denoising_fast")
    assert {entry.device.type for entry in net.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize("spec", [catalog.get(name) for name in catalog.names()], ids=catalog.names())
def test_entries_without_numbers_in_them(save, spec):
    names = spec.official(spec.presets[spec.default])
    path = save({name: torch.zeros(0, 0, 0, 0) for name in names})
    with pytest.raises((WeightsError, UsageError)):
        load_network(path, network=spec.name)
