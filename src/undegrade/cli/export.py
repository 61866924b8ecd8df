"""Write weights for another runtime: ONNX, OpenVINO, or torch's own exported programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from undegrade.cli import _signals


def command(
    weights: Annotated[str, typer.Argument(help="A task, the name of weights (undegrade list weights), or a file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    format_: Annotated[
        str | None, typer.Option("--format", help="onnx, openvino or pt2; default: what the file's suffix says.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, or float16 for half the size.")] = "float32",
    scale: Annotated[int | None, typer.Option(help="Enlargement, where the weights are a task's: 2, 3 or 4.")] = None,
    local_train_size: Annotated[
        int | None, typer.Option(help="Side of the training patches, for the Local (TLC) form of the network.")
    ] = None,
) -> None:
    """Write a network with its weights for another runtime, checked against torch on four sizes.

    Batch, height and width of the file are dynamic, padding and cropping are inside.
    """
    from undegrade import api

    wish: dict[str, Any] = {"scale": scale, "local_train_size": local_train_size}
    given = {name: value for name, value in wish.items() if value is not None}
    with _signals.heard():
        done = api.export(weights, output, format_, dtype=dtype, **given)
    for check in done.checks:
        size = "x".join(str(side) for side in check.shape)
        print(f"{size}: differs from torch by {check.difference:.1e}, {check.psnr:.1f} dB")
    names = " and ".join(str(file) for file in done.files)
    print(f"{done.weights} -> {names} ({done.format}, {done.dtype}; any picture from {done.least} pixels a side)")
    if done.preparation:
        print(f"done before the network, and not in the file: {done.preparation}")
