"""OpenVINO files: the fastest runtime on most processors, with bfloat16 where the processor has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from undegrade.core.device import threads
from undegrade.core.errors import MissingExtraError
from undegrade.graphs._graph import Format, Graph, Run, quiet, traced

__all__ = ["FORMAT", "compiled", "converted"]


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("OpenVINO", "openvino") from error
    return openvino


def converted(graph: Graph) -> Any:
    """The graph as an ``openvino.Model``.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    openvino = _openvino()
    recorded = traced(graph)
    with quiet():
        shape = openvino.PartialShape([-1, graph.channels, -1, -1])
        model = openvino.convert_model(recorded, example_input=graph.example()[:1], input=[shape])
    for port, name in ((model.inputs[0], "x"), (model.outputs[0], "y")):
        port.get_tensor().set_names({name})
    return model


def compiled(model: Any, precision: str = "f32") -> Run:
    """What runs a model or a file of one on the CPU.

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

    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(program(x.contiguous().numpy())[0].copy())

    return run


def write(graph: Graph, path: Path, half: bool = False) -> None:
    """Write ``path`` (.xml) and its weights beside it (.bin); ``half`` stores them in 16 bits."""
    _openvino().save_model(converted(graph), str(path), compress_to_fp16=half)


def load(path: Path) -> Run:
    """What runs the file on the CPU, in float32."""
    return compiled(str(path))


FORMAT = Format(suffix=".xml", write=write, open=load, extra="openvino")
