"""Scoring: restore every picture of a test set, measure it by a named protocol, and report figures as data.

Test sets are pairs (``inputs`` and ``targets``) or clean pictures that the task degrades here, with a generator seeded
by the picture's name, so a score does not depend on order or number of pictures.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from undegrade._version import __version__
from undegrade.core.device import pick
from undegrade.core.errors import InputError, MissingExtraError, UsageError
from undegrade.core.image import Picture, read
from undegrade.core.image import save as save_picture
from undegrade.core.names import exists, is_file, is_folder, same_file
from undegrade.data.folders import Pair, count_deeper, list_pictures, named, pair_folders, rule
from undegrade.engine.degrade import apply, check_seed, generator_for
from undegrade.engine.scores import EvalReport, ImageScore
from undegrade.inference.load import load
from undegrade.metrics import protocol as protocols
from undegrade.ops.colour import luma
from undegrade.ops.resize import crop_to_multiple, imresize
from undegrade.tasks import Task
from undegrade.tasks import get as get_task
from undegrade.weights.store import sha256

__all__ = ["Sample", "evaluate", "made_from", "samples", "score"]

RESIZE = "bicubic as MATLAB imresize (a = -0.5, antialiased), for inputs made here and for the untouched input's score"


class TensorRestorer(Protocol):
    """What is scored: anything that restores a batch, as `undegrade.inference.restorer.Restorer` does."""

    def tensor(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, sH, sW)."""


@dataclass(frozen=True)
class Sample:
    """One test picture: ``input`` (C, h, w) and ``target`` (C, H, W) in 0..1, the input maybe outside."""

    name: str
    input: Tensor
    target: Tensor


def evaluate(
    task: Task | str,
    *,
    inputs: Path | str | None = None,
    targets: Path | str | None = None,
    clean: Path | str | None = None,
    weights: str | None = None,
    restorer: TensorRestorer | None = None,
    protocol: str | None = None,
    seed: int = 0,
    pairing: str = "stem",
    recursive: bool = False,
    limit: int | None = None,
    save: Path | str | None = None,
    progress: Callable[[ImageScore], None] | None = None,
    device: str = "auto",
    tile: Any = "auto",
    ensemble: int = 1,
    **parameters: Any,
) -> EvalReport:
    """Scores a restorer on a test set.

    Args:
        task: name, alias or task.
        inputs, targets: folders of pairs, matched by stem whatever the suffix. For super-resolution their sizes tell
            the scale.
        clean: instead of them, a folder of clean pictures, degraded here by the task.
        weights: id or file; None for the task's default; ``"none"`` scores the inputs themselves (for
            super-resolution, enlarged by MATLAB's bicubic).
        restorer: a Restorer in memory instead of ``weights``.
        protocol: name of the ruler; None for the task's own.
        seed: of the synthetic degradation, combined with each picture's name.
        pairing: rule that finds the target of an input, see `undegrade.data.folders.RULES`.
        recursive: look into subfolders too; pictures there are otherwise left out, and the report says so.
        limit: score only the first so many pictures.
        save: folder for the restored pictures, as 8-bit PNG; none that they are read from.
        progress: called with each picture's scores.
        device, tile, ensemble: handed to the restorer.
        parameters: the task's own (``sigma=25``, ``quality=10``, ``scale=4``, ``pattern="GRBG"``).

    Raises:
        UsageError: neither or both kinds of test set, an unknown name or a value outside its range.
        InputError: a folder is missing, or not one picture could be scored.
    """
    task = get_task(task) if isinstance(task, str) else task
    checked = _strength(task, parameters)
    ruler = protocols.get(protocol or task.protocol)
    check_seed(seed)
    rule(pairing)  # a name that nobody knows is told of whether it is needed or not
    if limit is not None and not (isinstance(limit, Integral) and limit >= 1):
        raise UsageError(f"limit={limit!r}: a whole number of pictures, at least one")
    if clean is not None:
        if inputs is not None or targets is not None:
            raise UsageError("clean and inputs/targets are given: a test set is either made here or made of pairs")
        source = _synthetic(task, ruler, clean, seed, checked, recursive)
        selection: dict[str, Any] = {"seed": seed}
    elif inputs is not None and targets is not None:
        pairs = pair_folders(inputs, targets, pairing, recursive)
        source = [(pair.name, partial(_read, pair)) for pair in pairs]
        selection = {"pairing": pairing}
        if "scale" in checked:
            checked["scale"] = _scale_of(pairs, parameters.get("scale"), task)
    else:
        raise UsageError("a test set is needed: give inputs and targets (pairs), or clean (degraded here)")
    selection |= {"recursive": recursive, "limit": limit}
    name = "none" if weights == "none" else weights or ""
    options = dict[str, Any]()
    if restorer is None and weights != "none":
        options = {"tile": tile, "ensemble": ensemble}
        restorer, name, about = _load(task, weights, checked, device=device, **options)
        options |= about
    _refuse_save(save, [Path(folder) for folder in (inputs, targets, clean) if folder], recursive)
    scores, failed = [], dict[str, str]()
    for picture, make in source[:limit]:
        try:
            sample = make()
            _refuse_other_scale(sample, checked.get("scale", 1))
            image, output = score(sample, restorer, ruler)
        except (InputError, MissingExtraError, ValueError) as error:
            failed[picture] = str(error)
            continue
        scores.append(image)
        if save is not None:
            _save(output, Path(save) / f"{picture}.png")
        if progress is not None:
            progress(image)
    if not scores:
        first, why = next(iter(failed.items()))
        raise InputError(f"no picture could be scored; {first}: {why}")
    return EvalReport(
        task=task.name,
        weights=name or "in memory",
        protocol=ruler.describe() | ({"resize": RESIZE} if "scale" in checked else {}),
        set=_set_name(Path(clean or inputs or "")),
        strength=checked,
        inputs=(_made(task, ruler, seed, checked) if clean else "files") + _left_out(clean or inputs, recursive),
        images=tuple(scores),
        failed=failed,
        options=options,
        selection=selection,
        versions={"undegrade": __version__, "torch": torch.__version__, "python": platform.python_version()},
    )


def samples(
    task: Task | str,
    *,
    clean: Path | str,
    protocol: str | None = None,
    seed: int = 0,
    **parameters: Any,
) -> Iterator[Sample]:
    """The synthetic test pictures that `evaluate` would score, for looking at or for other tools."""
    task = get_task(task) if isinstance(task, str) else task
    ruler = protocols.get(protocol or task.protocol)
    check_seed(seed)
    for _, make in _synthetic(task, ruler, clean, seed, _strength(task, parameters), recursive=False):
        yield make()


def _load(
    task: Task, weights: str | None, parameters: Mapping[str, Any], **how: Any
) -> tuple[TensorRestorer, str, dict[str, str]]:
    """The restorer, its name, and what else tells one of that name from another."""
    restorer = load(task=task.name, weights=weights, **how, **parameters)
    card = getattr(restorer, "card", None)
    about = {"device": str(pick(how["device"]))}
    if weights and is_file(weights):
        about["sha256"] = sha256(Path(weights))
    elif card and card.sha256:
        about["sha256"] = card.sha256
    return restorer, card.id if card else str(weights), about


Source = list[tuple[str, Callable[[], Sample]]]
"""(name, function that reads or makes the sample) of every test picture."""


def _synthetic(
    task: Task, ruler: protocols.Protocol, clean: Path | str, seed: int, parameters: Mapping[str, Any], recursive: bool
) -> Source:
    if task.degrade is None:
        raise UsageError(f"{task.name} has no synthetic degradation: give inputs and targets")
    known = {name: value for name, value in parameters.items() if value != "auto"}
    make = partial(made_from, task=task, ruler=ruler, seed=seed, strength=known)
    files = list_pictures(clean, recursive)
    if not files:
        raise InputError(f"no pictures in '{clean}': give the folder that holds the clean ones")
    pictures = named(files, clean)
    name, count = Counter(name for name, _ in pictures).most_common(1)[0]
    if count > 1:
        raise UsageError(f"clean={clean}: {count} pictures are called '{name}': keep one file for each name")
    return [(name, partial(make, file, name=name)) for name, file in pictures]


def _left_out(folder: Path | str | None, recursive: bool) -> str:
    deeper = 0 if recursive or folder is None else count_deeper(folder)
    return f"; {deeper} in subfolders left out" if deeper else ""


def _scale_of(pairs: Sequence[Pair], given: Any, task: Task) -> Any:
    """The scale of the first pair that can be read; ``given`` or the default if none can."""
    for pair in pairs:
        try:
            sample = _read(pair)
            found = _scale(sample.input, sample.target)[0]
        except (InputError, MissingExtraError, ValueError):
            continue
        if given is not None and task.check({"scale": given})["scale"] != found:
            raise UsageError(f"scale={given}: the targets are {found} times as large as the inputs: leave it out")
        return task.check({"scale": found})["scale"]
    return _strength(task, {"scale": given})["scale"]


def _refuse_other_scale(sample: Sample, scale: int) -> None:
    found, _ = _scale(sample.input, sample.target)
    if found != scale:
        raise ValueError(f"the target is {found} times as large as the input; expected: {scale}")


def _read(pair: Pair) -> Sample:
    degraded, target = read(pair.input).pixels, read(pair.target).pixels
    if degraded.shape[0] != target.shape[0]:
        degraded, target = degraded.expand(3, -1, -1), target.expand(3, -1, -1)
    return Sample(pair.name, degraded, target)


def made_from(
    file: Path,
    *,
    task: Task,
    ruler: protocols.Protocol,
    seed: int,
    strength: Mapping[str, Any],
    name: str | None = None,
) -> Sample:
    """The test picture that a clean one gives, degraded with the randomness of its name (None: that of the file).

    Raises:
        InputError: it cannot be read, or has no room for the degradation.
    """
    target = read(file).pixels
    if ruler.luma_inputs and target.shape[0] == 3:
        target = (luma(target) * 255).round() / 255
    scale = int(strength.get("scale", 1))
    target = crop_to_multiple(target, scale) if scale > 1 else target
    degraded = apply(task, target, generator_for(seed, file.stem), strength)
    if ruler.bits == 8:
        degraded = (degraded.clamp(0, 1) * 255).round() / 255
    return Sample(name or file.stem, degraded, target)


def score(sample: Sample, restorer: TensorRestorer | None, ruler: protocols.Protocol) -> tuple[ImageScore, Tensor]:
    """The scores of one picture, restored or untouched, and what was scored.

    Raises:
        InputError: the result is not finite.
        ValueError: the sizes do not belong together, or are too small for the ruler.
    """
    degraded, target = sample.input, sample.target
    scale, target = _scale(degraded, target)
    untouched = degraded if scale == 1 else imresize(degraded, float(scale))
    before = ruler.score(untouched, target, scale, clip=scale > 1)
    if restorer is None:
        return ImageScore(sample.name, before, before, 0.0), untouched
    start = time.perf_counter()
    output = _restore(restorer, degraded)
    seconds = time.perf_counter() - start
    if not torch.isfinite(output).all():
        raise InputError("the result holds NaN or infinity: the weights do not fit, or lower precision overflowed")
    if output.shape[-2:] != target.shape[-2:]:
        (height, width), (rows, columns) = output.shape[-2:], target.shape[-2:]
        raise ValueError(
            f"the result is {width}x{height} and the target {columns}x{rows}: the weights are of another scale"
        )
    return ImageScore(sample.name, ruler.score(output, target, scale), before, seconds), output


def _scale(degraded: Tensor, target: Tensor) -> tuple[int, Tensor]:
    """The whole factor between the two sizes, and the target without the rows that no input pixel stands for."""
    height, width = degraded.shape[-2:]
    scale = max(1, target.shape[-2] // height)
    rest = (target.shape[-2] - scale * height, target.shape[-1] - scale * width)
    if not all(0 <= part < scale for part in rest):
        raise ValueError(
            f"the input is {width}x{height} and the target {target.shape[-1]}x{target.shape[-2]}: "
            "they must be equal, or a whole factor apart (raw SOTS labels: undegrade data prepare cuts their border)"
        )
    return scale, target[..., : scale * height, : scale * width]


def _restore(restorer: TensorRestorer, degraded: Tensor) -> Tensor:
    """(C, H, W) -> (C, sH, sW) on the CPU."""
    return restorer.tensor(degraded[None])[0].float().cpu()


def _refuse_save(save: Path | str | None, folders: list[Path], recursive: bool) -> None:
    """Nothing that is scored may be replaced by a result, nor a result be taken for what is to be scored."""
    if save is None:
        return
    place = Path(save).resolve()
    if exists(place) and not is_folder(place):
        raise UsageError(f"save={save}: is a file: give a folder for the results")
    for folder in folders:
        if same_file(place, folder) or (recursive and place.is_relative_to(folder.resolve())):
            raise UsageError(
                f"save={save}: results would replace the pictures there, or be scored next time: give another folder"
            )


def _save(picture: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(Picture(picture), path)


def _strength(task: Task, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, checked, with the task's defaults for those left out."""
    return {one.name: one.default for one in task.parameters if one.default is not None} | task.check(parameters)


def _made(task: Task, ruler: protocols.Protocol, seed: int, parameters: Mapping[str, Any]) -> str:
    form = "clipped and rounded to 8 bits" if ruler.bits == 8 else "as the degradation gives them"
    drawn = [one.name for one in task.parameters if parameters.get(one.name, "auto") == "auto"]
    strength = f", {' and '.join(drawn)} drawn for each picture" if drawn else ""
    return f"made from clean pictures, seed {seed} and the picture's name{strength}, {form}"


def _set_name(folder: Path) -> str:
    """``Rain100L`` of ``.../Rain100L/input``."""
    sides = {"input", "inputs", "source", "blur", "hazy", "rain", "snow", "target", "gt"}
    sides |= {"lq", "lr", "lr_bicubic", "hr", "x2", "x3", "x4"}
    parts = [part for part in folder.resolve().parts if part.lower() not in sides]
    return parts[-1] if parts else folder.name
