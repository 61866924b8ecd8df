"""What can run a network besides plain torch: torch.compile, ONNX Runtime, OpenVINO; and which is fastest here.

The windows from which tiles get the means of a whole picture (``networks.layers.whole``) are run by torch. For the
tiles OpenVINO runs a second graph that takes the means as inputs; ONNX Runtime leaves them to torch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from undegrade.core.errors import UnknownNameError, UsageError
from undegrade.inference.backend import Backend, TorchBackend
from undegrade.inference.fastest import fastest
from undegrade.networks._spec import NetworkSpec
from undegrade.networks.layers import whole

if TYPE_CHECKING:
    from undegrade.graphs._graph import Graph

__all__ = ["NAMES", "CompiledBackend", "GraphBackend", "installed", "make"]

NAMES = ("torch", "compile", "onnx", "openvino")

_PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",)}
_PRECISIONS = {"auto": "f32", "float32": "f32", "bf16": "bf16", "bfloat16": "bf16", "float16": "f16", "fp16": "f16"}


def installed() -> list[str]:
    """Names of the backends whose packages are there."""
    return [name for name in NAMES if all(util.find_spec(package) for package in _PACKAGES.get(name, ()))]


def make(
    name: str,
    module: nn.Module,
    spec: NetworkSpec[Any],
    config: Any,
    device: str | torch.device = "auto",
    dtype: str = "auto",
) -> Backend:
    """A backend for a network.

    Args:
        name: one of ``NAMES``, or ``"auto"``: the fastest of the installed that gives torch's result. On the CPU it
            is found by running them once, and remembered for the network, the machine and the versions.
        module, spec, config: the network.
        device: ONNX Runtime and OpenVINO run on the CPU.
        dtype: ``"auto"``, ``"float32"``, ``"float16"`` or ``"bf16"``; ONNX Runtime computes in float32.

    Raises:
        UnknownNameError: no such backend.
        UsageError: a device or dtype that the backend does not have.
        MissingExtraError: its package is not installed.
    """
    channels = spec.channels(config)
    if name == "torch":
        return TorchBackend(module, channels, device, dtype)
    if name == "compile":
        return CompiledBackend(module, channels, device, dtype)
    if name in _PACKAGES:
        return GraphBackend(name, module, spec, config, device, dtype)
    if name == "auto":
        return _fastest(module, spec, config, device, dtype)
    raise UnknownNameError("backend", name, [*NAMES, "auto"])


class CompiledBackend(TorchBackend):
    """``torch.compile``: half a minute and more for the first picture, then the quickest torch on a GPU.

    On CUDA it records CUDA graphs, one for each size of tile, which takes the launches of hundreds of small kernels off
    the processor.
    """

    def __init__(
        self, module: nn.Module, channels: int = 3, device: str | torch.device = "auto", dtype: str = "auto"
    ) -> None:
        super().__init__(module, channels, device, dtype)
        self.name = "compile"
        cuda = self.device.type == "cuda"
        self._compiled = torch.compile(self.module, dynamic=not cuda, mode="reduce-overhead" if cuda else "default")

    def forward(self, x: Tensor) -> Tensor:
        """The compiled network, or the plain one where means of a whole picture come into it."""
        if not whole.apart():
            return super().forward(x)
        y: Tensor = self._compiled(x)
        return y.clone()  # the memory of a CUDA graph's result is written again by the next call


class GraphBackend:
    """A network recorded as a graph, run by ONNX Runtime or OpenVINO on the CPU.

    Args:
        name: ``"onnx"`` or ``"openvino"``.
        module, spec, config: the network.
        device: ``"auto"`` or ``"cpu"``.
        dtype: precision of the computation. Half precision is OpenVINO's; it takes float32 where the processor has no
            instructions for it.

    Raises:
        UsageError: another device, or a precision that the runtime does not have.
        MissingExtraError: the runtime is not installed.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        spec: NetworkSpec[Any],
        config: Any,
        device: str | torch.device = "auto",
        dtype: str = "auto",
    ) -> None:
        if str(device) not in ("auto", "cpu"):
            raise UsageError(f"device={device}: {name} runs on the cpu here; backend=torch or compile use others")
        if dtype not in _PRECISIONS:
            raise UsageError(f"dtype={dtype}: choose one of {', '.join(_PRECISIONS)}")
        if name == "onnx" and _PRECISIONS[dtype] != "f32":
            raise UsageError(f"dtype={dtype}: onnx computes in float32 here; openvino has bf16")
        self.name, self.device = name, torch.device("cpu")
        self.torch = TorchBackend(module, spec.channels(config), "cpu", "float32")
        self.torch.place = name  # graphs hold whole maps, not the forms for the CPU
        self.module = self.torch.module
        # Imports torch's compiler, for which no start that needs none of it should wait.
        from undegrade.graphs._graph import Graph

        self._graph = Graph(module, spec, config)
        self._precision = _PRECISIONS[dtype]
        self._run = _recorded(name, self._graph, self._precision)
        self._on_tiles: Callable[..., Tensor] | None = None

    def run(self, x: Tensor) -> Tensor:
        """(B, C, H, W) float32 -> (B, C', sH, sW) float32 on the CPU."""
        x = x.float()
        if min(x.shape[-2:]) < self._graph.least:
            return self.torch.run(x)
        if not whole.apart():
            return self.torch.run(x) if whole.recording() or self.name != "openvino" else self._tile(x)
        whole.begin()
        y = self._run(x)
        return y if torch.isfinite(y).all() else self.torch.run(x)

    def _tile(self, x: Tensor) -> Tensor:
        """With the means of the whole picture."""
        from undegrade.graphs import openvino

        whole.begin()
        means = whole.fixed()
        assert means is not None
        means = [mean.float() for mean in means]
        if self._on_tiles is None:
            with whole.using(whole.Passes([])):
                self._on_tiles = openvino.compiled(openvino.converted(self._graph, means), self._precision)
        return self._on_tiles(x, *means)

    def bytes_needed(self, height: int, width: int) -> int | None:
        """Working memory for an input of this size, as that of the network's plain form in torch."""
        return self.torch.bytes_needed(height, width)


def _recorded(name: str, graph: Graph, precision: str) -> Callable[[Tensor], Tensor]:
    """What runs the network."""
    from undegrade.graphs import catalog, openvino

    if name == "openvino":
        return openvino.compiled(openvino.converted(graph), precision)
    file = catalog.get(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"network{file.suffix}"
        file.write(graph, path, False)
        return file.open(path)


def _fastest(module: nn.Module, spec: NetworkSpec[Any], config: Any, device: str | torch.device, dtype: str) -> Backend:
    plain = TorchBackend(module, spec.channels(config), device, dtype)
    # Attention over all pixels is only plain torch's to compute in linear memory.
    if plain.device.type != "cpu" or spec.tiling == "required":
        return plain
    half = _PRECISIONS[dtype] != "f32"
    others = [name for name in installed() if name in _PACKAGES and not (half and name == "onnx")]
    candidates: dict[str, Callable[[], Backend]] = {"torch": lambda: plain}
    candidates |= {name: partial(make, name, module, spec, config, "cpu", dtype) for name in others}
    side = max(256, -(-spec.min_size // spec.multiple_of) * spec.multiple_of)
    x = torch.rand(1, spec.channels(config), side, side, generator=torch.Generator().manual_seed(0))
    return fastest(candidates, f"{spec.name} {config} {dtype}", x, half=half)
