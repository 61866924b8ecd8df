"""Checks a data set before the first training step: unpaired, corrupt, of the wrong size, duplicated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from undegrade.core.errors import InputError, MissingExtraError, UsageError
from undegrade.core.image import load_rgb
from undegrade.data.folders import Key, Matching, Pair, count_deeper, listed, rule, uneven
from undegrade.data.locate import locate

__all__ = ["CheckReport", "Finding", "check_data", "check_matching"]

Kind = Literal[
    "unpaired-input", "unpaired-target", "ambiguous", "corrupt", "wrong-size", "too-small", "duplicate", "many-to-one",
    "unchanged", "subfolders", "uneven",
]  # fmt: skip

HARMLESS = frozenset({"unpaired-target", "many-to-one", "unchanged", "subfolders"})
"""Findings worth knowing that training survives; the others are faults."""


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: what sort of thing.
        files: the files concerned.
        message: one line for people.
    """

    kind: Kind
    files: tuple[Path, ...]
    message: str

    @property
    def fault(self) -> bool:
        """Whether it must be put right before training."""
        return self.kind not in HARMLESS


@dataclass(frozen=True)
class CheckReport:
    """What a look through the data found.

    Attributes:
        pairs: how many pairs (of clean pictures, in a clean set) there are.
        findings: faults first.
        sizes: (width, height) of the smallest and the largest target.
        expected: how many there usually are; 0 if not known.
    """

    pairs: int
    findings: tuple[Finding, ...]
    sizes: tuple[tuple[int, int], tuple[int, int]] | None
    expected: int = 0

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that must be put right."""
        return tuple(finding for finding in self.findings if finding.fault)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, schema 1."""
        return {
            "schema": 1,
            "pairs": self.pairs,
            "expected": self.expected,
            "faults": len(self.faults),
            "sizes": [list(size) for size in self.sizes] if self.sizes else None,
            "findings": [
                {"kind": finding.kind, "files": [str(file) for file in finding.files], "message": finding.message}
                for finding in self.findings
            ],
        }


@dataclass(frozen=True)
class _Looked:
    """What one file holds: size and a digest of both it and the pixels, or why it cannot be read."""

    size: tuple[int, int] = (0, 0)
    digest: bytes = b""
    error: str = ""


def check_data(
    root: Path | str | None = None,
    *,
    inputs: Path | str | None = None,
    targets: Path | str | None = None,
    layout: str | None = None,
    split: str = "test",
    pairing: Key | str = "stem",
    scale: int = 1,
    min_size: int = 0,
    recursive: bool = False,
) -> CheckReport:
    """Looks through a data set: see `undegrade.data.locate.locate` for how it is named, `check_matching` for the rest.

    >>> check_data("DIV2K", layout="div2k", split="train").faults  # doctest: +SKIP
    ()
    """
    if scale < 1 or min_size < 0:
        raise UsageError(f"scale={scale}, min_size={min_size}: a scale is 1 or more, a side 0 or more")
    if isinstance(pairing, str):
        rule(pairing)
    found = locate(
        root,
        inputs=inputs,
        targets=targets,
        layout=layout,
        split=split,
        pairing=pairing,
        recursive=recursive,
        scale=scale,
    )
    report = check_matching(found.matching, found.scale, min_size, found.border)
    folder = None if recursive or layout is not None else root or inputs
    deeper = 0 if folder is None else count_deeper(folder)
    if deeper:
        message = f"{deeper} pictures in subfolders, which training takes too, were not looked at: say recursive"
        report = replace(report, findings=(*report.findings, Finding("subfolders", (), message)))
    return replace(report, expected=found.expected)


def check_matching(matching: Matching, scale: int = 1, min_size: int = 0, border: int = 0) -> CheckReport:
    """Decodes every file once and reports what would go wrong.

    Args:
        matching: of `undegrade.data.folders.match`, or `Layout.locate`.
        scale: how many times larger targets are than inputs.
        min_size: smallest side that an input must have, for example the patch size.
        border: pixels by which targets are larger on every side (raw SOTS labels).
    """
    files = {pair.input for pair in matching.pairs} | {pair.target for pair in matching.pairs}
    looked = {file: _look(file) for file in files}
    findings = [
        *_partners(matching),
        *_unreadable(looked),
        *_sizes(matching.pairs, looked, scale, min_size, border),
        *_doubles(matching.pairs, looked),
    ]
    findings.sort(key=lambda finding: not finding.fault)
    sizes = sorted((looked[pair.target].size for pair in matching.pairs), key=lambda size: size[0] * size[1])
    sizes = [size for size in sizes if all(size)]
    return CheckReport(len(matching.pairs), tuple(findings), (sizes[0], sizes[-1]) if sizes else None)


def _look(file: Path) -> _Looked:
    try:
        array = load_rgb(file)
    except (InputError, MissingExtraError) as error:
        return _Looked(error=str(error))
    digest = hashlib.sha256(f"{array.shape} {array.dtype} ".encode() + array.tobytes()).digest()
    return _Looked((array.shape[1], array.shape[0]), digest)


def _partners(matching: Matching) -> Iterable[Finding]:
    if matching.uneven:
        yield Finding("uneven", (*matching.lonely_inputs, *matching.lonely_targets), f"by order, {uneven(matching)}")
        return
    for file in matching.lonely_inputs:
        yield Finding("unpaired-input", (file,), f"{file.name}: no target answers to this name")
    for file in matching.lonely_targets:
        yield Finding("unpaired-target", (file,), f"{file.name}: no input answers to this name")
    # Where a rule does not fit, every input meets the same files: told once, or the report outgrows the data.
    claims: dict[int, list[str]] = {}
    for name, files in (matching.ambiguous or {}).items():
        claims.setdefault(id(files), []).append(name)
    for first, *others in claims.values():
        files = (matching.ambiguous or {})[first]
        names = f"'{first}' and {len(others)} more names are" if others else f"'{first}' is"
        yield Finding("ambiguous", files, f"{names} claimed by {listed([file.name for file in files])}: keep one")
    shared: dict[Path, list[Path]] = {}
    for pair in matching.pairs:
        shared.setdefault(pair.target, []).append(pair.input)
    several = {target: inputs for target, inputs in shared.items() if len(inputs) > 1}
    if several:
        target, inputs = max(several.items(), key=lambda entry: len(entry[1]))
        yield Finding(
            "many-to-one",
            (target, *inputs),
            f"{len(several)} targets serve several inputs, at most {len(inputs)} ({target.name})",
        )


def _unreadable(looked: Mapping[Path, _Looked]) -> Iterable[Finding]:
    for file in sorted(looked):
        if looked[file].error:
            yield Finding("corrupt", (file,), looked[file].error)


def _sizes(
    pairs: Iterable[Pair], looked: Mapping[Path, _Looked], scale: int, min_size: int, border: int
) -> Iterable[Finding]:
    for pair in pairs:
        low, high = looked[pair.input].size, looked[pair.target].size
        if not all(low) or not all(high):
            continue
        if pair.input != pair.target and tuple(side * scale + 2 * border for side in low) != high:
            factor = f", {scale} times the input's" if scale > 1 else ""
            message = (
                f"{pair.name}: the input is {low[0]}x{low[1]}, the target {high[0]}x{high[1]}; equal sizes{factor}"
            )
            yield Finding("wrong-size", (pair.input, pair.target), message + " are needed")
        elif min(low) < min_size:
            message = f"{pair.name}: {low[0]}x{low[1]} is smaller than {min_size} pixels"
            yield Finding("too-small", (pair.input,), message)


def _doubles(pairs: Iterable[Pair], looked: Mapping[Path, _Looked]) -> Iterable[Finding]:
    """The same pixels in two files of one side, and inputs that equal their targets."""
    sides: tuple[dict[bytes, list[Path]], dict[bytes, list[Path]]] = ({}, {})
    for pair in pairs:
        for side, file in zip(sides, (pair.input, pair.target), strict=True):
            if looked[file].digest and file not in side.setdefault(looked[file].digest, []):
                side[looked[file].digest].append(file)
        if pair.input != pair.target and looked[pair.input].digest == looked[pair.target].digest != b"":
            yield Finding("unchanged", (pair.input, pair.target), f"{pair.name}: input and target are the same")
    seen = set()
    for side in sides:
        for files in side.values():
            if len(files) > 1 and tuple(files) not in seen:
                seen.add(tuple(files))
                yield Finding(
                    "duplicate", tuple(files), f"{listed([file.name for file in files])} hold the same picture"
                )
