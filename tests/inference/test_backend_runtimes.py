"""Backends besides plain torch: when a graph runs, when torch does, and which one `auto` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from undegrade.core import device as devices
from undegrade.core.errors import MissingExtraError, UnknownNameError, UsageError
from undegrade.inference import fastest, runtimes, tiling
from undegrade.inference import run as running
from undegrade.inference.backend import Backend, TorchBackend
from undegrade.inference.restorer import Restorer
from undegrade.inference.run import Options
from undegrade.inference.runtimes import CompiledBackend, GraphBackend
from undegrade.networks import catalog as networks
from undegrade.networks.layers.whole import Passes, using
from undegrade.weights.card import WeightsCard


@pytest.fixture
def graph(monkeypatch, probe) -> Callable[..., GraphBackend]:
    """A GraphBackend whose graph adds one to what the network gives."""

    def make(result: Callable[[Tensor], Tensor] | None = None) -> GraphBackend:
        restorer = probe()
        module = restorer.backend.module
        monkeypatch.setattr(runtimes, "_recorded", lambda *_: result or (lambda x: module(x).detach() + 1))
        return GraphBackend("openvino", module, restorer.spec, restorer.config)

    return make


def test_the_graph_runs(graph, picture):
    backend, x = graph(), picture(16, 16)
    assert torch.allclose(backend.run(x), backend.torch.run(x) + 1)
    with using(Passes([])):  # a whole picture: each input has its own means
        assert torch.allclose(backend.run(x), backend.torch.run(x) + 1)


def test_torch_runs_where_means_are_shared(graph, picture):
    backend, x = graph(), picture(16, 16)
    with using(Passes()):
        assert torch.equal(backend.run(x), backend.torch.run(x))
    backend.name = "onnx"
    with using(Passes([[torch.zeros(1)]])):
        assert torch.equal(backend.run(x), backend.torch.run(x))


def test_openvino_runs_tiles_with_the_means_of_the_whole_picture(picture):
    pytest.importorskip("openvino")
    spec = networks.get("nafsr")
    config = spec.configure(None, width=8, blocks=2)
    torch.manual_seed(0)
    net = spec.build(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    plain = Restorer.from_module(net, spec, config)
    x = picture(300, 280) * torch.linspace(0, 1, 280)
    expected = plain.tensor(x, tile=128)
    quick = Restorer.from_module(net, spec, config, backend="openvino")
    assert (quick.tensor(x, tile=128) - expected).abs().max() < 1e-5
    alone = replace(plain, spec=replace(spec, tiling="free")).tensor(x, tile=128)
    assert (alone - expected).abs().max() > 1e-4  # tiles with means of their own differ


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_threads_that_share_a_graph_get_their_own_results(name, picture):
    pytest.importorskip("openvino" if name == "openvino" else "onnxruntime")
    spec = networks.get("nafsr")
    config = spec.configure(None, width=8, blocks=2)
    net = spec.build(config).eval()
    backend = runtimes.make(name, net, spec, config)
    pictures = [picture(64 + 8 * (index % 3), 80) * index / 7 for index in range(8)]
    alone = [backend.run(x) for x in pictures]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(6):
            for one, other in zip(threads.map(backend.run, pictures), alone, strict=True):
                assert torch.equal(one, other)


def test_torch_runs_what_is_too_small_for_the_graph_and_what_it_spoils(graph, picture):
    backend = graph()
    x = picture(4, 16)
    assert torch.equal(backend.run(x), backend.torch.run(x))
    spoilt = graph(lambda x: x * torch.nan)
    x = picture(16, 16)
    assert torch.equal(spoilt.run(x), spoilt.torch.run(x))


def test_a_restorer_runs_openvino_as_it_runs_torch(probe, picture):
    pytest.importorskip("openvino")
    plain = probe(scale=2)
    restorer = Restorer.from_module(plain.backend.module, plain.spec, plain.config, backend="openvino")
    assert restorer.info["backend"] == "openvino"
    x = picture(51, 70)
    assert (restorer.tensor(x) - plain.tensor(x)).abs().max() < 1e-5
    # Tiles of several sizes, and networks that see the whole picture nowhere keep the graph on tiles.
    assert (restorer.tensor(x, tile=32) - plain.tensor(x, tile=32)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        ("tensorflow", {}, UnknownNameError, "there are: auto, compile"),
        ("openvino", {"device": "cuda"}, UsageError, "openvino runs on the cpu"),
        ("onnx", {"dtype": "bf16"}, UsageError, "onnx computes in float32"),
        ("openvino", {"dtype": "int4"}, UsageError, "choose one of auto, float32"),
    ],
)
def test_impossible_wishes(probe, name, settings, error, message):
    restorer = probe()
    with pytest.raises(error, match=message):
        runtimes.make(name, restorer.backend.module, restorer.spec, restorer.config, **settings)


def test_a_missing_package_is_named(monkeypatch, probe):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    restorer = probe()
    with pytest.raises(MissingExtraError, match=r"undegrade\[openvino\]"):
        runtimes.make("openvino", restorer.backend.module, restorer.spec, restorer.config)


def test_compile_leaves_shared_means_to_the_plain_network(monkeypatch, probe, picture):
    settings = {}

    def compiled(module, **given):
        settings.update(given)
        return lambda x: module(x) + 1

    monkeypatch.setattr(torch, "compile", compiled)
    restorer = probe()
    backend = CompiledBackend(restorer.backend.module, device="cpu")
    assert settings == {"dynamic": True, "mode": "default"}
    x = picture(16, 16)
    assert torch.allclose(backend.run(x), restorer.backend.run(x) + 1)
    with using(Passes([[torch.zeros(1)]])):
        assert torch.equal(backend.run(x), restorer.backend.run(x))


class Elsewhere(nn.Module):
    """A module that says it has moved to the GPU."""

    def to(self, *args, **settings):
        return self


def test_compile_records_cuda_graphs_on_a_gpu(monkeypatch):
    asked = {}
    monkeypatch.setattr(torch, "compile", lambda module, **given: asked.update(given))
    monkeypatch.setattr(devices, "pick", torch.device)
    backend = CompiledBackend(Elsewhere(), device="cuda")
    assert asked == {"dynamic": False, "mode": "reduce-overhead"}
    assert backend.dtype == torch.float16


def test_tiles_run_together_on_a_gpu_as_memory_allows(monkeypatch):
    backend = Fake("torch", 0)
    monkeypatch.setattr(backend, "bytes_needed", lambda height, width: 100 * height * width)
    cut = tiling.Plan((128, 128), context=16)
    side = 128 + 2 * (16 + tiling.FADE)

    def together(tiles: float) -> int:
        return running._together(backend, None, cut, Options(max_memory=int(tiles * 100 * side * side)))

    assert together(3.5) == 1  # a tile keeps a processor busy
    backend.device = torch.device("cuda")
    assert [together(tiles) for tiles in (0.5, 3.5, 1000)] == [1, 3, running.MOST_TOGETHER]


def test_memory_is_counted_by_the_backend_or_said_by_the_card(monkeypatch, graph):
    backend = Fake("torch", 0)
    card = WeightsCard(id="x", title="x", network="chair", file="x", bytes_per_pixel=7)
    assert running._needed(backend, None)(10, 20) is None
    assert running._needed(backend, card)(10, 20) == 1400
    monkeypatch.setattr(backend, "bytes_needed", lambda height, width: 5)
    assert running._needed(backend, card)(10, 20) == 5


def test_graphs_are_counted_with_whole_maps(monkeypatch):
    spec = networks.get("m3snet")
    config = spec.configure(None, width=16, enc_blocks=(1, 1, 1, 1))
    net = spec.build(config)
    monkeypatch.setattr(runtimes, "_recorded", lambda *_: None)
    whole = GraphBackend("openvino", net, spec, config).bytes_needed(64, 64)
    in_strips = TorchBackend(net, device="cpu").bytes_needed(64, 64)
    assert whole is not None
    assert in_strips is not None
    assert whole > 1.3 * in_strips


class Fake:
    """Gives a constant."""

    device = torch.device("cpu")

    def __init__(self, name: str, value: float) -> None:
        self.name, self.value = name, value

    def run(self, x: Tensor) -> Tensor:
        return x + self.value

    def bytes_needed(self, height: int, width: int) -> int | None:
        return None


def raising() -> Backend:
    raise MissingExtraError("it", "onnx")


@pytest.fixture
def seconds(monkeypatch, tmp_path) -> dict[str, float]:
    """What each fake backend takes, and an empty memory."""
    table = {"torch": 3.0, "quick": 2.0, "wrong": 1.0}
    monkeypatch.setenv("UNDEGRADE_HOME", str(tmp_path))
    monkeypatch.setattr(fastest, "_time", lambda backend, x: table[backend.name])
    return table


CANDIDATES = {
    "torch": lambda: Fake("torch", 0),
    "quick": lambda: Fake("quick", 1e-6),
    "wrong": lambda: Fake("wrong", 0.1),
    "missing": raising,
}


def test_auto_takes_the_fastest_that_is_right_and_remembers_it(seconds):
    x = torch.zeros(1, 3, 8, 8)
    assert fastest.fastest(CANDIDATES, "net float32", x).name == "quick"
    (entry,) = json.loads(fastest.memory().read_text()).values()
    assert entry == {"fastest": "quick", "seconds": {"torch": 3.0, "quick": 2.0}}
    seconds["quick"] = 9.0  # not measured again
    assert fastest.fastest(CANDIDATES, "net float32", x).name == "quick"
    assert fastest.fastest(CANDIDATES, "another float32", x).name == "torch"
    fastest.memory().write_text("not JSON")
    assert fastest.fastest(CANDIDATES, "net float32", x).name == "torch"


def test_what_is_remembered_but_gone_is_measured_again(seconds):
    x = torch.zeros(1, 3, 8, 8)
    fastest.fastest(CANDIDATES, "net float32", x)
    left = {name: make for name, make in CANDIDATES.items() if name != "quick"}
    assert fastest.fastest(left, "net float32", x).name == "torch"


def test_auto_is_torch_for_attention_over_all_pixels(probe):
    restorer = probe(spec_fields={"tiling": "required"})
    backend = runtimes.make("auto", restorer.backend.module, restorer.spec, restorer.config, "cpu")
    assert isinstance(backend, TorchBackend)
