"""A network with its padding inside, and the two ways of recording it for any batch, height and width."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from undegrade.core.alone import ALONE
from undegrade.graphs._forms import as_graph
from undegrade.networks._spec import NetworkSpec
from undegrade.networks.layers import whole

__all__ = ["Format", "Graph", "Half", "Run", "exported", "quiet", "traced"]

Run = Callable[[Tensor], Tensor]
"""(B, C, H, W) float32 -> (B, C', sH, sW) float32, on the CPU."""

LARGEST = 1 << 15


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        suffix: of its files.
        write: (graph, path, whether weights are stored in 16 bits) writes a file.
        open: (path) reads a file and gives what runs it.
        extra: extra of undegrade that brings what is needed; empty for none.
    """

    suffix: str
    write: Callable[[Graph, Path, bool], None]
    open: Callable[[Path], Run]
    extra: str = ""


class Graph(nn.Module):
    """A network that takes any size: it pads at the bottom and on the right, and crops the result.

    Args:
        module: the network; not changed, its weights are shared.
        spec, config: what it is.
        padding: ``"reflect"`` or ``"zeros"``; None is the network's own.

    Attributes:
        least: smallest height and width that the graph takes.
        channels, scale: of the network.
        about: name -> text, written into files that have room for it.
    """

    def __init__(
        self,
        module: nn.Module,
        spec: NetworkSpec[Any],
        config: Any,
        padding: Literal["reflect", "zeros"] | None = None,
    ) -> None:
        super().__init__()
        self.network = as_graph(module)
        self.multiple, self.scale, self.channels = spec.multiple_of, spec.scale(config), spec.channels(config)
        self.zeros = (padding or spec.padding) == "zeros"
        # Two steps at least: exporters take a side of 1 on the lowest level for a constant.
        steps = max(-(-spec.min_size // self.multiple), 2)
        self.least = (steps - 1) * self.multiple + 1
        colours = {1: "grey", 3: "red, green, blue"}.get(self.channels, f"{self.channels} channels")
        self.about = {
            "x": f"(batch, {self.channels}, height, width): {colours} in 0..1",
            "y": "as x, scale times as large, not clamped",
            "least side": str(self.least),
            "scale": str(self.scale),
        }
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) float32, sides from ``least`` -> (B, C', sH, sW), not clamped."""
        height, width = x.shape[-2:]
        y = self.network(self._padded(self._padded(x, -2), -1))
        # By index, because exporters want a proof that a slice does not end behind the map.
        rows, columns = (torch.arange(side * self.scale, device=x.device) for side in (height, width))
        cropped: Tensor = y.index_select(-2, rows).index_select(-1, columns)
        return cropped

    def _padded(self, x: Tensor, dim: int) -> Tensor:
        if self.multiple == 1:
            return x
        length = x.shape[dim]
        place = torch.arange((length + self.multiple - 1) // self.multiple * self.multiple, device=x.device)
        period = 2 * length - 2
        mirrored = place % period
        source = torch.where(mirrored < length, mirrored, period - mirrored)
        y = x.index_select(dim, source)
        if self.zeros:
            inside = (place < length).to(x.dtype)
            y = y * (inside[:, None] if dim == -2 else inside)
        return y

    def example(self) -> Tensor:
        """A batch of two for recording, its sides unequal and no multiples of anything."""
        height = self.least + 2 * self.multiple + 2
        generator = torch.Generator().manual_seed(0)  # the user's own random numbers stay as they are
        return torch.rand(2, self.channels, height, height + self.multiple + 1, generator=generator)


class Half(nn.Module):
    """A graph that computes in float16 between float32 pictures."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.inner = deepcopy(graph).half()  # torch.fx keeps the name `graph` for itself

    def forward(self, x: Tensor) -> Tensor:
        """As the graph's."""
        y: Tensor = self.inner(x.half())
        return y.float()


def exported(graph: Graph, half: bool = False) -> ExportedProgram:
    """The graph by ``torch.export``, with batch, height and width dynamic."""
    side = {"min": graph.least, "max": LARGEST}
    shapes = {0: Dim("batch", min=1, max=1024), 2: Dim("height", **side), 3: Dim("width", **side)}
    with quiet():
        program: ExportedProgram = torch.export.export(
            Half(graph) if half else graph,
            (graph.example(),),
            dynamic_shapes=(shapes,),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        ).run_decompositions()
    # What is left are facts of arithmetic on sizes that the exporter could not prove, such as h <= 16 * ceil(h / 16).
    for node in list(program.graph.nodes):
        if "_assert" in str(node.target):
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


class WithMeans(nn.Module):
    """A graph whose means over the whole picture are inputs, for tiles; see ``networks.layers.whole``."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.inner = graph

    def forward(self, x: Tensor, *means: Tensor) -> Tensor:
        """As the graph's; ``means`` in the order in which the network meets them."""
        with whole.using(whole.Passes([list(means)])):
            whole.begin()
            y: Tensor = self.inner(x)
        return y


def traced(graph: Graph, means: Sequence[Tensor] = ()) -> torch.jit.ScriptModule:
    """The graph as recorded by ``torch.jit.trace``, which keeps sizes symbolic: ten times as quick as ``exported``.

    With ``means``, of the shapes given, it takes these as further inputs.
    """
    module = WithMeans(graph) if means else graph
    with quiet():
        recorded = torch.jit.trace(module, (graph.example()[:1], *means), check_trace=False)  # type: ignore[no-untyped-call]
        assert isinstance(recorded, torch.jit.ScriptModule)
        return recorded


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn of what the check against torch settles. Gradients stay on: units then work out of place.

    Only one thread is in such a block; exporters keep their state in the module.
    """
    with ALONE, warnings.catch_warnings(), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        warnings.simplefilter("ignore")
        yield
