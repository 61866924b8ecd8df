"""Measure networks on this machine: time, peak memory, and the share of what the machine can do at most."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from undegrade.cli import _complete
from undegrade.cli._console import plain
from undegrade.cli._report import check_report, write_text
from undegrade.core.errors import UsageError
from undegrade.core.whole_number import whole_number


def command(
    *,
    network: Annotated[list[str] | None, typer.Option(help="A network; may be given several times.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            "-w",
            autocompletion=_complete.weights,
            help="Weights; may be given several times. Default: the shipped ones, one of each architecture.",
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Preset of the network.")] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="torch, compile, onnx or openvino; several times. Default: the installed, not compile."),
    ] = None,
    size: Annotated[str, typer.Option(help="Side of the picture, or height x width: 512 or 480x640.")] = "512",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bf16.")] = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Runs after the first; the best counts.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there; - for stdout.")] = None,
) -> int:
    """Time, peak memory (each in a fresh process), billions of multiply-adds, and share of the machine's peak.

    Exit status 1 when something could not be measured.
    """
    from undegrade import api

    check_report(json_file)
    sides = _size(size)
    out = plain(stderr=str(json_file) == "-")
    line = "{:<26}{:<10}{:<10}{:>9}{:>9}{:>9}{:>9}{:>8}".format
    headed = False

    def told(row: dict[str, Any]) -> None:
        nonlocal headed
        if not headed:  # a call that is refused shows no table
            out.print(line("", "backend", "dtype", "seconds", "CPU s", "peak MB", "GMACs", "of peak"))
            headed = True
        name = row.get("weights") or row.get("preset") or row["network"]
        if "error" in row:
            out.print(f"{name:<26}{row['backend']:<10}{row['error']}")
            return
        figures = f"{row['seconds']:.3f}", f"{row['cpu_seconds']:.3f}", f"{row['peak_mb']:.0f}", f"{row['gmacs']:.1f}"
        out.print(line(name, row["backend"], row["dtype"], *figures, f"{row['share_of_peak']:.0%}"))

    report = api.bench(
        networks=network or (),
        weights=weights or (),
        preset=preset,
        backends=backend or (),
        size=sides,
        device=device,
        dtype=dtype,
        repeats=repeats,
        told=told,
    )
    machine = report["machine"]
    out.print(f"\n{machine['processor']}, {machine['threads']} threads; {machine['device']} does {_peak(machine)}")
    for row in report["fastest"]:
        verdict = "holds" if row["holds"] else "misses"
        out.print(
            f"{row['weights']}: {row['seconds_per_megapixel']:.2f} s per megapixel on two cores with {row['backend']}, "
            f"{verdict} the aim of {report['aim_seconds_per_megapixel']:g}"
        )
    if json_file is not None:
        text = json.dumps(report, indent=1) + "\n"
        write_text(json_file, text)
    return 1 if report["failed"] else 0


def _peak(machine: dict[str, Any]) -> str:
    each = " for each CPU second" if machine["device"] == "cpu" else ""
    return f"{machine['peak_gflops']:.0f} GFLOP/s{each} in a large convolution"


def _size(word: str) -> int | tuple[int, int]:
    match [whole_number(side) for side in word.lower().split("x")]:
        case [int(side)] if side:
            return side
        case [int(height), int(width)] if height and width:
            return height, width
    raise UsageError(f"size={word[:40]}: give a side (512), or height x width (480x640)")
