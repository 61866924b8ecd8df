"""ONNX files: run by ONNX Runtime and many others, on servers, phones and in browsers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from undegrade.core.device import threads
from undegrade.core.errors import MissingExtraError, WeightsError
from undegrade.graphs._graph import Format, Graph, Half, Run, quiet

__all__ = ["FORMAT"]


def write(graph: Graph, path: Path, half: bool = False) -> None:
    """Write ``path``; ``half`` computes in float16.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("writing ONNX", "onnx") from error
    axes = {0: "batch", 2: "height", 3: "width"}
    with quiet():
        # The exporter that records calls: the one on torch.export gives up at sizes computed from sizes (torch 2.13).
        torch.onnx.export(
            Half(graph) if half else graph,
            (graph.example()[:1],),
            str(path),
            dynamo=False,
            opset_version=18,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": axes, "y": {axis: f"{name}_out" if axis else name for axis, name in axes.items()}},
        )
    model = onnx.load(path)  # the recorder takes the result's channels for dynamic as well
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = graph.channels
    for name, text in graph.about.items():
        model.metadata_props.add(key=name, value=text)
    onnx.save(model, path)


def load(path: Path) -> Run:
    """What runs the file on the CPU.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        WeightsError: it cannot read the file; what is returned raises it when it cannot run it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it tells its makers that it runs
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("running ONNX", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(threads(), torch.get_num_threads())
    options.log_severity_level = 3
    try:
        # Without the second attempt, of which the runtime would tell on stdout.
        session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        name = session.get_inputs()[0].name
    except Exception as error:
        raise WeightsError(f"{path}: ONNX Runtime cannot read it: {_line(error)}") from error

    def run(x: torch.Tensor) -> torch.Tensor:
        try:
            return torch.from_numpy(session.run(None, {name: x.contiguous().numpy()})[0])
        except Exception as error:
            raise WeightsError(f"{path}: ONNX Runtime cannot run it on {tuple(x.shape)}: {_line(error)}") from error

    return run


def _line(error: Exception) -> str:
    """The runtime's errors have several, and name its source files."""
    return " ".join(str(error).split())[-160:] or type(error).__name__


FORMAT = Format(suffix=".onnx", write=write, open=load, extra="onnx")
