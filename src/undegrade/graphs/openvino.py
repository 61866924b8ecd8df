"""OpenVINO files: quick at dense convolutions on processors, with bfloat16 where the processor has it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from undegrade.core.device import threads
from undegrade.core.errors import MissingExtraError
from undegrade.graphs._graph import Format, Graph, Run, quiet, traced

__all__ = ["FORMAT", "compiled", "converted"]


def _openvino() -> Any:
    # OpenVINO tells its makers of every conversion, by a package of this name where it finds one.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("OpenVINO", "openvino") from error
    return openvino


def converted(graph: Graph, means: Sequence[torch.Tensor] = ()) -> Any:
    """The graph as an ``openvino.Model``; with ``means`` it takes such as further inputs, see ``traced``.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    openvino = _openvino()
    recorded = traced(graph, means)
    shapes = [[-1, graph.channels, -1, -1], *(list(mean.shape) for mean in means)]
    with quiet():
        model = openvino.convert_model(
            recorded,
            example_input=(graph.example()[:1], *means),
            input=[openvino.PartialShape(shape) for shape in shapes],
        )
    for port, name in ((model.inputs[0], "x"), (model.outputs[0], "y")):
        port.get_tensor().set_names({name})
    return model


def compiled(model: Any, precision: str = "f32") -> Callable[..., torch.Tensor]:
    """What runs a model or a file of one on the CPU, called with the picture and, where it takes them, the means.

    Args:
        model: ``openvino.Model`` or path.
        precision: ``"f32"``, ``"bf16"`` or ``"f16"``; the runtime takes float32 where the processor lacks it.
    """
    openvino = _openvino()
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": min(threads(), torch.get_num_threads()),
        "PERFORMANCE_HINT": "LATENCY",
    }
    if precision == "f32":
        settings["EXECUTION_MODE_HINT"] = "ACCURACY"
    program = openvino.Core().compile_model(model, "CPU", settings)
    alone = Lock()  # the program has one place for its result: another thread's would be taken for one's own

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        with alone:
            return torch.from_numpy(program([each.contiguous().numpy() for each in inputs])[0].copy())

    return run


def write(graph: Graph, path: Path, half: bool = False) -> None:
    """Write ``path`` (.xml) and its weights beside it (.bin); ``half`` stores them in 16 bits."""
    model = converted(graph)
    for name, text in graph.about.items():
        model.set_rt_info(text, ["undegrade", name])
    _openvino().save_model(model, str(path), compress_to_fp16=half)


def load(path: Path) -> Run:
    """What runs the file on the CPU, in float32."""
    return compiled(str(path))


FORMAT = Format(suffix=".xml", write=write, open=load, extra="openvino")
