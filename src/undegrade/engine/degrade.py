"""Degraded versions of pictures and files, and contact sheets to look at them beside real ones."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from undegrade.core.alone import ALONE
from undegrade.core.errors import InputError, UndegradeError, UsageError, one_line
from undegrade.core.formats import SUFFIXES
from undegrade.core.image import like, read, save
from undegrade.core.names import Paths, folded, means_folder, same_file, several
from undegrade.data.folders import list_pictures
from undegrade.ops.resize import imresize
from undegrade.tasks import Task
from undegrade.tasks import get as get_task

__all__ = ["Done", "apply", "check_seed", "contact_sheet", "degrade", "degrade_files", "generator_for", "pictures_of"]

LARGEST_SHEET = 50_000_000
"""Pixels of a contact sheet; all of its pictures are in memory at once, as floats."""
FEW = 16
"""Pixels of a side below which a degradation may have no room."""

_Made = TypeVar("_Made")


def generator_for(seed: int, name: str) -> torch.Generator:
    """The randomness of the picture called ``name``: evaluation on synthetic sets uses the same."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def check_seed(seed: object, *, named: bool = True) -> None:
    """Raises a UsageError for anything but a whole number; of 64 bits where there is no name to mix it with."""
    if not isinstance(seed, Integral):
        raise UsageError(f"seed={seed!r}: a whole number")
    if not named and not -(2**63) <= int(seed) < 2**64:
        raise UsageError(f"seed={seed}: beyond 64 bits, which only files take: give a smaller number")


def degrade(image: Any, task: Task | str, *, seed: int = 0, frame: int | None = None, **strength: Any) -> Any:
    """A spoilt version of a clean image, of the same kind as given.

    Args:
        image: path, bytes, PIL image, array or tensor.
        task: whose degradation, by name or alias.
        seed: decides everything random, for a path together with the file's stem.
        frame: which one of a file that holds several, counted from 0.
        strength: the task's parameters (``sigma=25``) and the other strengths of its degradation (``gain=0.7``, see
            ``undegrade.degradations``); a pair is a range; what is left out has the parameter's default, or is drawn
            from the training range.

    Raises:
        InputError: the image cannot be read.
        UsageError: an unknown task or strength, or a value outside its range.
    """
    task = get_task(task) if isinstance(task, str) else task
    picture = read(image, frame=frame)
    named = isinstance(image, (str, Path))
    check_seed(seed, named=named)
    generator = generator_for(seed, Path(image).stem) if named else torch.Generator().manual_seed(int(seed))
    return like(picture, apply(task, picture.pixels, generator, _checked(task, strength)))


def _checked(task: Task, strength: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by their rules, a range by its ends, defaults filled in; other strengths as they are.

    A parameter that is ``"auto"``, left to the weights elsewhere, is left out: it is drawn.
    """
    rules = {parameter.name: parameter for parameter in task.parameters}
    checked = {name: rule.default for name, rule in rules.items() if rule.default is not None}
    for name, value in strength.items():
        if value is None:
            continue
        if rule := rules.get(name):
            ranged = isinstance(value, (list, tuple)) and not rule.choices
            value = [rule.check(end) for end in value] if ranged else rule.check(value)  # noqa: PLW2901
            if value == "auto":
                continue
        checked[name] = value
    return checked


def apply(task: Task, clean: Tensor, generator: torch.Generator, strength: Mapping[str, Any]) -> Tensor:
    """The task's degradation of (C, H, W).

    Raises:
        UsageError: the task has none, or none with such a strength.
        InputError: the picture is too small for it.
    """
    if task.degrade is None:
        raise UsageError(f"{task.name} has no degradation model, only real pairs")
    try:
        with torch.device(clean.device), _in_float32():  # whatever the program has new tensors be
            return task.degrade(clean, generator, **strength)
    except TypeError as error:
        unknown = re.search(r"(?:unexpected keyword argument|multiple values for argument) '(\w+)'", str(error))
        if unknown is None:
            raise
        raise UsageError(f"{unknown[1]}: the degradation of {task.name} has no such strength") from None
    except (ArithmeticError, IndexError, RuntimeError, ValueError) as error:
        height, width = clean.shape[-2:]
        if min(height, width) >= FEW:
            raise
        raise InputError(f"{width} x {height} pixels are too few for the degradation of {task.name}") from error


@contextmanager
def _in_float32() -> Iterator[None]:
    """Inside, new tensors are float32: in another type a seed draws other numbers, and some have no FFT.

    The type is the whole process's, so threads take turns where the program has chosen another one.
    """
    with ALONE:
        chosen = torch.get_default_dtype()
        if chosen != torch.float32:
            torch.set_default_dtype(torch.float32)
            try:
                yield
            finally:
                torch.set_default_dtype(chosen)
            return
    yield


@dataclass(frozen=True)
class Done:
    """One file of a batch: where it came from, where it went, and what went wrong if it did.

    Attributes:
        source: the clean picture.
        target: of the degraded one.
        error: one line, when it failed.
        cause: the exception behind ``error``.
    """

    source: Path
    target: Path
    error: str = ""
    cause: BaseException | None = field(default=None, compare=False)


def degrade_files(
    paths: Paths, output: str | Path, task: Task | str, /, *, seed: int = 0, **strength: Any
) -> Iterator[Done]:
    """Degrades files and the pictures of folders into ``output``, as PNG of the same stem.

    Args:
        paths: pictures and folders.
        output: a folder, or when there is one picture, a file name with a picture's suffix.
        task, seed, strength: as for ``degrade``.

    Yields:
        One ``Done`` per picture, failures included.

    Raises:
        UsageError: the call is wrong; nothing is written then.
        InputError: there is no picture.
        OSError: the output folder cannot be made.
    """
    task = get_task(task) if isinstance(task, str) else task
    check_seed(seed)
    checked = _checked(task, strength)
    output, folder = Path(output), means_folder(output)
    sources = pictures_of(paths)
    if not sources:
        raise InputError(
            f"no pictures in {', '.join(map(str, several(paths)))}: give pictures, or folders that hold some"
        )
    pictures = {*SUFFIXES, *Image.registered_extensions()}
    single = len(sources) == 1 and not folder and output.suffix.lower() in pictures
    if len(sources) > 1 and not folder and output.suffix.lower() in SUFFIXES:
        raise UsageError(f"{output}: one file for {len(sources)} pictures: give a folder")
    names = Counter(folded(source.stem) for source in sources)
    if len(names) < len(sources) and not single:
        name, count = names.most_common(1)[0]
        raise UsageError(f"{count} of the inputs are called '{name}', one file in {output}: degrade them apart")
    targets = [output if single else output / f"{source.stem}.png" for source in sources]
    for target in targets:
        if any(same_file(target, source) for source in sources):
            raise UsageError(f"{target}: the output would replace an input: choose another -o")
    for source, target in zip(sources, targets, strict=True):
        try:
            picture = read(source)
            spoilt = apply(task, picture.pixels, generator_for(seed, source.stem), checked)
            target.parent.mkdir(parents=True, exist_ok=True)
            save(picture.with_pixels(spoilt), target)
        except (OSError, UsageError):  # of the output folder, or of the call: no other picture would fare better
            raise
        except Exception as error:  # whatever is wrong with this file, the next one may be fine
            yield Done(source, target, _named(source, error), error)
        else:
            yield Done(source, target)


def contact_sheet(
    paths: Paths,
    task: Task | str,
    /,
    *,
    beside: Paths = (),
    columns: int = 4,
    side: int = 320,
    seed: int = 0,
    failed: Callable[[str], object] = warnings.warn,
    **strength: Any,
) -> Image.Image:
    """Rows of a clean picture and degraded versions of it; below them pictures to compare with.

    Args:
        paths: clean pictures and folders; shrunk to ``side`` first, so that every pixel shown is one of the model's.
        task: whose degradation, by name or alias.
        beside: real degraded pictures and folders, shown in rows at the end.
        columns: degraded versions in a row.
        side: of a tile in pixels.
        seed: of the first version; the others count up.
        failed: called with a line for each picture that cannot be read or degraded and so is left out.
        strength: as for ``degrade``.

    Raises:
        InputError: no picture there, or not one that can be degraded.
        UsageError: as ``degrade``.
    """
    task = get_task(task) if isinstance(task, str) else task
    check_seed(seed)
    checked = _checked(task, strength)
    if columns < 1:
        raise UsageError(f"columns={columns}: at least one degraded version must be shown")
    if side < 1:
        raise UsageError(f"side={side}: a picture needs at least one pixel, to be seen some hundred")
    files = pictures_of(paths)
    if (size := len(files) * (columns + 1) * (side + 4) ** 2) > LARGEST_SHEET:
        raise UsageError(
            f"columns={columns} for {len(files)} pictures: a sheet of {size / 1e6:.0f} megapixels, more than "
            f"{LARGEST_SHEET / 1e6:.0f}: take fewer"
        )

    def versions(path: Path) -> list[Tensor]:
        clean = _shrunk(path, side)
        spoilt = (apply(task, clean, generator_for(seed + number, path.stem), checked) for number in range(columns))
        return [clean, *(_enlarged(version, clean) for version in spoilt)]

    rows = list(_skipping_bad(files, versions, failed))
    if not rows:
        raise InputError("no picture to degrade")
    real = list(_skipping_bad(pictures_of(beside), lambda path: _shrunk(path, side), failed))
    rows += [real[start : start + columns + 1] for start in range(0, len(real), columns + 1)]
    sheet = torch.ones(3, len(rows) * (side + 4), (columns + 1) * (side + 4))
    for row, tiles in enumerate(rows):
        for column, tile in enumerate(tiles):
            top, left = row * (side + 4), column * (side + 4)
            sheet[:, top : top + tile.shape[-2], left : left + tile.shape[-1]] = tile.clamp(0, 1)
    return Image.fromarray((sheet * 255).round().byte().permute(1, 2, 0).numpy())


def pictures_of(paths: Paths) -> list[Path]:
    """The files among ``paths``, and the pictures of the folders among them, in the order given."""
    return [file for path in map(Path, several(paths)) for file in (list_pictures(path) if path.is_dir() else [path])]


def _named(path: Path, error: Exception) -> str:
    """The error's line, which not always tells whose it is."""
    line = str(error)
    if not isinstance(error, UndegradeError):
        line = f"internal error, {type(error).__name__}: {one_line(error)}"
    return line if str(path) in line else f"{path}: {line}"


def _skipping_bad(files: list[Path], make: Callable[[Path], _Made], failed: Callable[[str], object]) -> Iterator[_Made]:
    """What ``make`` makes of each file; a file that fails is told of, a wrong call stops everything."""
    for path in files:
        try:
            yield make(path)
        except UsageError:
            raise
        except UndegradeError as error:
            failed(_named(path, error))


def _shrunk(path: Path, side: int) -> Tensor:
    """(1 or 3, H, W) of a file, no side longer than ``side``."""
    pixels = read(path).pixels
    scale = side / max(pixels.shape[-2:])
    if scale >= 1:
        return pixels
    height, width = (max(1, round(length * scale)) for length in pixels.shape[-2:])
    return imresize(pixels, size=(height, width)).clamp(0, 1)


def _enlarged(version: Tensor, clean: Tensor) -> Tensor:
    """Smaller versions with pixels repeated, to the size of the clean one."""
    factor = clean.shape[-1] // version.shape[-1]
    return version.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)
