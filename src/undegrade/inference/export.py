"""Weights as a file of another runtime, checked against torch before anybody sees it."""

from __future__ import annotations

import inspect
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undegrade import tasks
from undegrade._version import __version__
from undegrade.core.errors import InputError, UndegradeError, UnknownNameError, UsageError, WeightsError, one_line
from undegrade.core.names import means_folder, same_file
from undegrade.graphs import catalog
from undegrade.graphs._graph import Format, Graph
from undegrade.inference.backend import TorchBackend
from undegrade.inference.load import load
from undegrade.inference.restorer import Restorer
from undegrade.inference.run import Options, run
from undegrade.weights.foreign import Foreign

__all__ = ["LEAST_PSNR", "TOLERANCE", "Check", "Exported", "export", "write"]

TOLERANCE = 1e-5
"""Largest difference of a float32 file to torch, over the largest value of the result (1 at least)."""

LEAST_PSNR = 50.0
"""dB, of a half-precision file against torch."""

FULL = 1 << 20
"""Bytes; a disk with less is full, whatever the writer of a format says of it."""


@dataclass(frozen=True)
class Check:
    """The file against torch on random pictures.

    Attributes:
        shape: (B, C, H, W).
        difference: the largest, over the largest value of the result (1 at least).
        psnr: in dB for a range of 1.
    """

    shape: tuple[int, ...]
    difference: float
    psnr: float


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: the file.
        files: all files that belong to it.
        format, dtype: as chosen.
        weights: id of the weights.
        least: smallest height and width that it takes.
        scale: output size over input size.
        checks: against torch.
        preparation: in words, what the task does before the network and is not in the file; may be empty.
    """

    path: Path
    files: tuple[Path, ...]
    format: str
    dtype: str
    weights: str
    least: int
    scale: int
    checks: tuple[Check, ...]
    preparation: str = ""


def export(
    what: str | Path,
    output: str | Path,
    format: str | None = None,  # noqa: A002  # the word of the public function
    *,
    dtype: str = "float32",
    **wish: Any,
) -> Exported:
    """Write a network with its weights for another runtime. Batch, height and width are dynamic, padding is inside.

    Args:
        what: a task, the id of weights, or a file of weights.
        output: the file; without a suffix it gets the format's.
        format: ``"onnx"``, ``"openvino"`` or ``"pt2"``; None takes what the suffix of ``output`` says.
        dtype: ``"float16"`` halves the file; ONNX and pt2 then compute in float16, OpenVINO as its user asks.
        **wish: what ``load`` takes: ``task``, ``network``, ``local_train_size``, task parameters such as ``scale=2``.

    Raises:
        UsageError: no such format or dtype, several networks at once, one of spandrel's, or a file of the export would
            replace ``what``, a folder, or a file that does not belong to an older export.
        UnknownNameError: ``what`` is no task, no weights and no file.
        InputError: the file cannot be written.
        WeightsError: no such file of weights, a network that the format cannot hold, or a result that differs from
            torch; none is left behind.
        MissingExtraError: the format's package is not installed.
    """
    path, format, _ = _chosen(output, format)  # noqa: A001  # before weights are read
    if "local_train_size" in wish:  # goes with weights that are named, not with a task
        rest = {name: value for name, value in wish.items() if name != "local_train_size"}
        what = _weights_of(what, rest)
    return write(_one(what, wish), path, format, dtype=dtype, spared=what)


def _weights_of(what: str | Path, wish: Mapping[str, Any]) -> str | Path:
    """The id of the weights that a task takes; everything else as it is."""
    try:
        tasks.get(str(what))
    except UnknownNameError:
        return what
    card = _one(what, wish).card
    return card.id if card else what


def _one(what: str | Path, wish: Mapping[str, Any]) -> Restorer:
    restorer = load(what, device="cpu", **wish)
    if not isinstance(restorer, Restorer):
        raise UsageError(f"{what}: one network at a time can be exported: name weights (undegrade list weights)")
    return restorer


def write(
    restorer: Restorer,
    output: str | Path,
    format: str | None = None,  # noqa: A002
    *,
    dtype: str = "float32",
    spared: str | Path | None = None,
) -> Exported:
    """Like ``export``, for the network of a Restorer that runs in torch; ``spared`` is a file that stays as it is."""
    path, format, kind = _chosen(output, format)  # noqa: A001
    if dtype not in ("float32", "float16"):
        raise UsageError(f"dtype={dtype}: files hold float32 or float16")
    if not isinstance(restorer.backend, TorchBackend):
        raise UsageError(f"backend={restorer.backend.name}: networks are exported from torch")
    if isinstance(restorer.backend.module, Foreign):
        raise UsageError(f"{restorer.spec.title}: a network of spandrel's; export it from there")
    padding = restorer.card.padding if restorer.card else None
    graph = Graph(restorer.backend.module, restorer.spec, restorer.config, padding)
    graph.about |= _about(restorer)
    with _beside(path) as folder:
        draft = folder / path.name
        try:
            kind.write(graph, draft, dtype == "float16")
        except UndegradeError:
            raise
        except Exception as error:  # exporters fail in many ways on what they were not made for
            if shutil.disk_usage(folder).free < FULL:
                raise InputError(f"{path}: cannot be written: the disk is full") from error
            raise WeightsError(
                f"{path.name}: {restorer.spec.title}: {format} cannot hold this network ({one_line(error, 120)}); "
                "try another format"
            ) from error
        checks = _checked(restorer, graph, kind, draft, half=dtype == "float16")
        files = tuple(path.parent / part.name for part in sorted(folder.iterdir()))
        for file in files:
            _refuse_to_replace(file, path, spared)
        for file in files:
            (folder / file.name).replace(file)
    name = restorer.card.id if restorer.card else restorer.spec.name
    return Exported(path, files, format, dtype, name, graph.least, graph.scale, checks, _preparation(restorer))


def _preparation(restorer: Restorer) -> str:
    """What the task does before the network, in a line."""
    prepare = restorer.task.prepare if restorer.task else None
    return (inspect.getdoc(prepare) or "").partition("\n")[0] if prepare else ""


def _about(restorer: Restorer) -> dict[str, str]:
    """What a file tells of its weights to who finds it alone."""
    card, about = restorer.card, {"undegrade": __version__, "before the network": _preparation(restorer)}
    if restorer.task:
        about["task"] = restorer.task.name
    if card:
        about |= {"weights": card.id, "licence": card.licence, "origin": card.origin, "limits": card.limits}
    return {name: text for name, text in about.items() if text}


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder for drafts beside ``path``, gone afterwards."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export") as folder:
            yield Path(folder)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _refuse_to_replace(file: Path, path: Path, spared: str | Path | None) -> None:
    """Raises a UsageError where ``file``, one of those that belong to ``path``, would replace something else."""
    if spared is not None and same_file(file, Path(spared)):
        raise UsageError(f"{file}: is what the export is made from, and would be replaced; give another name")
    if file.is_dir():
        raise UsageError(f"{file}: is a folder; give another name")
    if file.exists() and not path.exists():
        raise UsageError(f"{file}: is there, without {path.name}, and would be replaced; give another name")


def _chosen(output: str | Path, name: str | None) -> tuple[Path, str, Format]:
    """The file's path, the format's name and the format."""
    path = Path(output)
    if means_folder(output):
        raise UsageError(f"{output}: is a folder; name the file in it")
    if name is None:
        suffixes = {catalog.get(known).suffix: known for known in catalog.names()}
        if path.suffix not in suffixes:
            raise UsageError(f"{path}: name the format: {', '.join(catalog.names())}, or end in {', '.join(suffixes)}")
        name = suffixes[path.suffix]
    kind = catalog.get(name)
    if path.suffix not in ("", kind.suffix):
        raise UsageError(f"{path}: files of {name} end in {kind.suffix}")
    return path.with_suffix(kind.suffix), name, kind


def _checked(restorer: Restorer, graph: Graph, kind: Format, path: Path, *, half: bool) -> tuple[Check, ...]:
    """Four sizes, one of them a batch.

    Raises:
        WeightsError: the file differs from torch.
    """
    opened = kind.open(path)
    side = max(graph.least, 33)
    generator = torch.Generator().manual_seed(0)
    checks = []
    for batch, height, width in (
        (1, side, side + 5),
        (2, side + 7, side),
        (1, side + 31, side + 15),
        (1, 2 * side, 48),
    ):
        x = torch.rand(batch, graph.channels, height, max(width, side), generator=generator)
        check = _compared(opened(x), torch.cat([_by_torch(restorer, one[None]) for one in x]), x)
        checks.append(check)
        if (half and check.psnr < LEAST_PSNR) or (not half and check.difference > TOLERANCE):
            raise WeightsError(
                f"{path.name}: differs from torch by {check.difference:.1e} ({check.psnr:.0f} dB) at {check.shape}; "
                "not written; try another format or float32"
            )
    return tuple(checks)


def _by_torch(restorer: Restorer, x: Tensor) -> Tensor:
    return run(restorer.backend, restorer.spec, restorer.config, x, Options(tile=None), card=restorer.card)


def _compared(y: Tensor, expected: Tensor, x: Tensor) -> Check:
    if y.shape != expected.shape:
        raise WeightsError(f"a result of {tuple(y.shape)} where torch gives {tuple(expected.shape)}; not written")
    error = float((y - expected).square().mean())
    largest = max(1.0, float(expected.abs().max()))
    psnr = -10 * math.log10(error) if error else math.inf
    return Check(tuple(x.shape), float((y - expected).abs().max()) / largest, psnr)
