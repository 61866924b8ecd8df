"""Look through data sets before training, and lay them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from undegrade.cli._report import check_report, write_text

command = typer.Typer(no_args_is_help=True, help="Check, prepare and list data sets.")

Root = Annotated[Path | None, typer.Argument(help="Folder of a known data set (with --set), or of clean pictures.")]
Inputs = Annotated[Path | None, typer.Option(help="Folder of degraded pictures.")]
Targets = Annotated[Path | None, typer.Option(help="Folder of what they should look like.")]
Set = Annotated[str | None, typer.Option("--set", help="A known data set; see undegrade data layouts.")]
Split = Annotated[str, typer.Option(help="Which part of the known data set.")]
Pairing = Annotated[str, typer.Option(help="Rule that finds the target of an input, e.g. before-underscore.")]
Scale = Annotated[
    int, typer.Option(help="How many times larger targets are; or the number in their folder's name, as in X50.")
]
Recursive = Annotated[bool, typer.Option("--recursive", help="Look into subfolders too.")]


@command.command()
def check(
    *,
    root: Root = None,
    inputs: Inputs = None,
    targets: Targets = None,
    set_name: Set = None,
    split: Split = "test",
    pairing: Pairing = "stem",
    scale: Scale = 1,
    min_size: Annotated[int, typer.Option(help="Smallest side allowed, e.g. the patch size.")] = 0,
    recursive: Recursive = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the findings there; - for stdout.")] = None,
) -> int:
    """Find unpaired, corrupt, wrong-size, many-to-one and doubled pictures. Exit status 1 if there are faults."""
    from undegrade import api

    check_report(json_file)
    report = api.check_data(
        root,
        inputs=inputs,
        targets=targets,
        layout=set_name,
        split=split,
        pairing=pairing,
        scale=scale,
        min_size=min_size,
        recursive=recursive,
    )
    if json_file is not None:
        text = json.dumps(report.to_dict(), indent=2) + "\n"
        write_text(json_file, text)
    if str(json_file) == "-":
        return 1 if report.faults else 0
    for finding in report.findings:
        print(f"{'fault' if finding.fault else 'note'}: {finding.kind}: {finding.message}")
    sizes = ""
    if report.sizes:
        (small_width, small_height), (large_width, large_height) = report.sizes
        sizes = f", {small_width}x{small_height} to {large_width}x{large_height}"
    expected = f" (usually {report.expected})" if report.expected not in (0, report.pairs) else ""
    print(f"{report.pairs} pictures or pairs{expected}{sizes}; {len(report.faults)} faults")
    return 1 if report.faults else 0


@command.command()
def prepare(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    root: Root = None,
    inputs: Inputs = None,
    targets: Targets = None,
    set_name: Set = None,
    split: Split = "test",
    pairing: Pairing = "stem",
    scale: Scale = 1,
    crop: Annotated[int | None, typer.Option(help="Cut into squares of this side (of the input).")] = None,
    stride: Annotated[int | None, typer.Option(help="Distance between squares; default side by side.")] = None,
    recursive: Recursive = False,
) -> int:
    """Lay a data set out as OUT/input and OUT/target (clean sets: OUT), whole or cut into crops.

    Files that are there already are kept.
    """
    from undegrade import api

    done = api.prepare_data(
        root,
        out,
        inputs=inputs,
        targets=targets,
        layout=set_name,
        split=split,
        pairing=pairing,
        scale=scale,
        crop=crop,
        stride=stride,
        recursive=recursive,
    )
    print(f"{done.pairs} read, {done.files} written to {out}")
    for why in done.skipped.values():
        typer.echo(f"undegrade: {why}", err=True)
    return 1 if done.skipped else 0


@command.command()
def layouts(
    name: Annotated[str | None, typer.Argument(help="One data set, for its folders.")] = None,
) -> None:
    """List the known data sets, or the folders of one."""
    from undegrade import api

    found = api.data_layouts(name)
    if name is None:
        for layout in found:
            print(f"{layout.name:<14}{layout.kind:<7}{', '.join(layout.tasks)}")
        return
    layout = found[0]
    print(f"{layout.title}: {layout.origin}")
    for split, part in layout.parts.items():
        sides = f"{part.inputs} with {part.targets}, paired by {part.rule}" if part.inputs else part.targets
        print(f"  {split:<16}{sides}" + (f", usually {part.count}" if part.count else ""))
    if layout.note:
        print(f"  {layout.note}")
    if not layout.checked:
        print("  These folders are from memory: compare with your copy.")
