"""Weights as a folder and on a hub: written, read back equal, uploaded by the hub's own package."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import undegrade
from undegrade.core.errors import MissingExtraError, UsageError, WeightsError

NOISY = np.random.default_rng(0).integers(0, 255, (32, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hub") / "denoiser"
    undegrade.load("denoising").save_pretrained(place)
    return place


def test_a_folder_gives_the_same_restorer(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.safetensors", "model.toml"]
    before, after = undegrade.load("denoising"), undegrade.from_pretrained(folder, strength=0.5)
    assert (undegrade.from_pretrained(folder)(NOISY) == before(NOISY)).all()
    assert (after(NOISY) == before(NOISY, strength=0.5)).all()
    assert {**after.info, "device": 0} == {**before.info, "device": 0}
    assert (undegrade.restore(NOISY, weights=folder) == before(NOISY)).all()


def test_the_page_tells_what_hubs_and_people_want(folder):
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert page.startswith("---\nlicense: apache-2.0\nlibrary_name: undegrade\n")
    assert "- denoising\n" in page
    assert "undegrade.from_pretrained(" in page
    assert "| CBSD68 | sigma 25 | rgb |" in page


def test_values_beyond_float16_keep_their_width(tmp_path):
    from undegrade.inference.restorer import Restorer
    from undegrade.networks import catalog
    from undegrade.weights.card import WeightsCard

    spec = catalog.get("nafsr")
    config = spec.configure(None, width=8, blocks=1)
    net = spec.build(config)
    card = WeightsCard(id="x", title="x", network="nafsr", file="x", task="super_resolution")
    Restorer.from_module(net, spec, config, card=card).save_pretrained(tmp_path)
    again = undegrade.load_network(tmp_path)
    for name, tensor in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    with pytest.raises(UsageError, match="can be saved"):
        Restorer.from_module(net, spec, config).save_pretrained(tmp_path)


@pytest.mark.parametrize(("name", "text"), [("README.md", "# My project\n"), ("pyproject.toml", "[project]\n")])
def test_a_folder_of_something_else_is_left_alone(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=f"{name} of something else"):
        undegrade.load("denoising").save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == text


def test_a_folder_is_saved_to_again(tmp_path):
    for _ in range(2):
        undegrade.load("denoising").save_pretrained(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_is_none(tmp_path, folder):
    with pytest.raises(WeightsError, match="no such folder"):
        undegrade.from_pretrained(tmp_path / "none")
    with pytest.raises(WeightsError, match="must hold one card"):
        undegrade.from_pretrained(tmp_path)
    copy = shutil.copytree(folder, tmp_path / "copy")
    with (copy / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match="SHA-256"):
        undegrade.from_pretrained(copy)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'undegrade\[hub\]'"):
        undegrade.from_pretrained("someone/denoiser")


def test_down_and_up(folder, monkeypatch):
    """The package's own calls are replaced: nothing here reaches a network."""
    hub = pytest.importorskip("huggingface_hub")
    asked: dict[str, Any] = {}

    def snapshot_download(repository: str, **settings: Any) -> str:
        if repository == "someone/nothing":
            raise OSError("401 Client Error\nRepository Not Found")
        asked.update(settings, repository=repository)
        return str(folder)

    class HfApi:
        def __init__(self, token: str | None = None) -> None:
            asked["token"] = token

        def create_repo(self, repository: str, **settings: Any) -> str:
            asked["made"] = (repository, settings)
            return f"https://hub.example/{repository}"

        def upload_folder(self, *, repo_id: str, folder_path: str, **settings: Any) -> None:
            asked["page"] = (Path(folder_path) / "README.md").read_text(encoding="utf-8")
            asked["uploaded"] = (repo_id, sorted(path.name for path in Path(folder_path).iterdir()), settings)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(hub, "HfApi", HfApi)
    restorer = undegrade.from_pretrained("someone/denoiser", revision="v1")
    assert restorer.info["weights"] == "denoising_fast"
    assert asked["revision"] == "v1"
    assert asked["allow_patterns"] == ["*.toml", "*.safetensors"]
    with pytest.raises(
        WeightsError, match=r"someone/nothing: cannot be fetched \(401 Client Error Repository Not Found"
    ):
        undegrade.from_pretrained("someone/nothing")
    address = restorer.push_to_hub("someone/other", token="secret", private=True, commit_message="first")
    assert address == "https://hub.example/someone/other"
    assert asked["token"] == "secret"
    assert asked["made"] == ("someone/other", {"private": True, "exist_ok": True})
    files = ["README.md", "model.safetensors", "model.toml"]
    assert asked["uploaded"] == ("someone/other", files, {"commit_message": "first"})
    assert 'from_pretrained("someone/other")' in asked["page"]


@pytest.mark.parametrize(("wish", "kind"), [("auto", "auto"), ("derain,denoise", "chain")])
def test_several_networks_at_once_are_not_saved(tmp_path, wish, kind):
    several = undegrade.load(wish)
    with pytest.raises(UsageError, match=f"^{kind}: holds the weights of several networks"):
        several.save_pretrained(tmp_path / "place")
    with pytest.raises(UsageError, match="save each by itself"):
        several.push_to_hub("me/all")
    assert not (tmp_path / "place").exists()
