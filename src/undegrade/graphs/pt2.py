"""PyTorch's own exported programs: run by torch without undegrade."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch

from undegrade.graphs._graph import Format, Graph, Run, exported

__all__ = ["FORMAT"]


def write(graph: Graph, path: Path, half: bool = False) -> None:
    """Write ``path``; ``half`` computes in float16."""
    file = io.BytesIO()  # torch's own writer ends the process when the disk is full
    torch.export.save(exported(graph, half), file, extra_files={"undegrade.json": json.dumps(graph.about)})
    path.write_bytes(file.getbuffer())


def load(path: Path) -> Run:
    """What runs the file."""
    module = torch.export.load(path).module()

    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y: torch.Tensor = module(x)
        return y

    return run


FORMAT = Format(suffix=".pt2", write=write, open=load)
