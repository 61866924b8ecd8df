"""Checkpoints of foreign networks through spandrel; where it is absent, a stand-in with its interface."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import undegrade
from undegrade.core.errors import UsageError, WeightsError


class Doubler(nn.Module):
    """Twice as large; refuses sizes that are no multiples of 4, as a network with levels does."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] % 4 == x.shape[-2] % 4 == 0
        return nn.functional.interpolate(x, scale_factor=2) + 0 * self.body(x).mean()


class Descriptor:
    """spandrel's ImageModelDescriptor, as far as it is used."""

    def __init__(self, model: nn.Module, **fields: Any) -> None:
        self.model = model
        self.architecture = SimpleNamespace(name="Doubler", id="Doubler")
        self.size_requirements = SimpleNamespace(minimum=0, multiple_of=4, square=False)
        self.scale, self.input_channels, self.output_channels = 2, 3, 3
        self.__dict__.update(fields)

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        assert len(image) == 1
        return self.model(image).clamp_(0, 1)


@pytest.fixture
def spandrel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("spandrel")

    class ModelLoader:
        def load_from_state_dict(self, entries: Mapping[str, Tensor]) -> Descriptor:
            if "body.weight" not in entries:
                raise ValueError("unsupported")
            model = Doubler()
            model.load_state_dict(entries)
            return Descriptor(model, output_channels=1 if entries["body.bias"][0] == 7 else 3)

    module.ModelLoader = ModelLoader  # type: ignore[attr-defined]
    module.ImageModelDescriptor = Descriptor  # type: ignore[attr-defined]
    module.canonicalize_state_dict = lambda state: state.get("params", state)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spandrel", module)
    return module


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "community.pth"
    torch.save({"params": Doubler().state_dict()}, path)
    return path


@pytest.mark.usefixtures("spandrel")
def test_a_foreign_checkpoint_restores(checkpoint):
    restorer = undegrade.load(checkpoint)
    assert restorer.scale == 2
    assert restorer.info["network"] == "spandrel-doubler"
    picture = np.arange(9 * 13 * 3, dtype=np.uint8).reshape(9, 13, 3)
    assert (restorer(picture) == picture.repeat(2, 0).repeat(2, 1)).all()
    assert restorer(torch.rand(2, 3, 8, 12)).shape == (2, 3, 16, 24)


@pytest.mark.usefixtures("spandrel")
def test_a_foreign_network_is_neither_converted_nor_exported(checkpoint, tmp_path):
    with pytest.raises(UsageError, match="Doubler, a network of spandrel's, is not converted"):
        undegrade.convert(checkpoint, tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match="Doubler: a network of spandrel's"):
        undegrade.export(checkpoint, tmp_path / "x.pt2")


@pytest.mark.usefixtures("spandrel")
def test_tiles_of_a_foreign_network(checkpoint):
    picture = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    restorer = undegrade.load(checkpoint)
    assert (restorer(picture, tile=64) == restorer(picture, tile=None)).all()


@pytest.mark.usefixtures("spandrel")
def test_what_spandrel_does_not_know_or_do(tmp_path, checkpoint):
    torch.save({"other.weight": torch.ones(3)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"not weights of any known network.*spandrel does not know it either"):
        undegrade.load(tmp_path / "x.pth")
    state = Doubler().state_dict()
    state["body.bias"][0] = 7
    torch.save(state, checkpoint)
    with pytest.raises(WeightsError, match="no picture into a picture"):
        undegrade.load(checkpoint)


@pytest.mark.parametrize("cause", [RuntimeError("operator torchvision::nms does not exist"), ImportError("no _C")])
def test_a_spandrel_that_does_not_start(checkpoint, monkeypatch, cause):
    class Broken:
        def find_spec(self, name, *_):
            if name == "spandrel":
                raise cause

    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(WeightsError, match=r"does not start here .*torchvision"):
        undegrade.load(checkpoint)


def test_without_spandrel(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(WeightsError, match=r"pip install 'undegrade\[spandrel\]'"):
        undegrade.load(checkpoint)


def test_the_real_spandrel(tmp_path):
    try:
        from spandrel.architectures.ESRGAN import ESRGAN
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"spandrel is not here, or its torchvision is for another torch: {error}")
    torch.save(ESRGAN(num_filters=8, num_blocks=1, scale=4).state_dict(), tmp_path / "esrgan.pth")
    restorer = undegrade.load(tmp_path / "esrgan.pth")
    assert restorer.scale == 4
    assert restorer(np.zeros((20, 31, 3), np.uint8)).shape == (80, 124, 3)
