"""Folders of pictures, alone or in pairs: what lies where, and which input belongs to which target.

Pictures are matched by *key*, a text made from the path below the folder without its suffix, so `rain/001.webp`
meets `norain/001.png`. Data sets with other habits bring a rule of their own (`RULES`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.core.formats import SUFFIXES
from undegrade.core.names import below, is_folder

__all__ = [
    "RULES",
    "Key",
    "Matching",
    "Pair",
    "count_deeper",
    "is_picture",
    "list_pictures",
    "listed",
    "match",
    "match_folders",
    "named",
    "natural",
    "pair_folders",
    "rule",
    "uneven",
]

Key = Callable[[str], str]


@dataclass(frozen=True)
class Pair:
    """A degraded picture and what it should look like.

    Attributes:
        name: path of the input below its folder, without suffix; unique within a set.
        input, target: the two files. Several pairs may share one target (RESIDE: ten hazes of one room).
    """

    name: str
    input: Path
    target: Path


@dataclass(frozen=True)
class Matching:
    """The outcome of putting two folders side by side.

    Attributes:
        pairs: in natural order of their names.
        lonely_inputs, lonely_targets: files without a partner.
        ambiguous: key -> the several files on one side (``b.png`` and ``b.jpg``) that claim it.
        uneven: whether files were paired by their order and one side has more: any of the pairs may be wrong.
    """

    pairs: tuple[Pair, ...]
    lonely_inputs: tuple[Path, ...] = ()
    lonely_targets: tuple[Path, ...] = ()
    ambiguous: Mapping[str, tuple[Path, ...]] | None = None
    uneven: bool = False


def natural(text: str) -> tuple[list[tuple[int, int | str]], str]:
    """Sorting key by which ``img2`` comes before ``img10``; no two texts share one (``img02``, ``IMG2``)."""
    parts = re.split(r"(\d+)", text.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], text


def is_picture(file: Path, folder: Path) -> bool:
    """Whether ``file`` is a picture by its suffix, and neither it nor a folder between it and ``folder`` is hidden."""
    return (
        file.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )


def listed(files: Sequence[object]) -> str:
    """``a.png and b.png`` for messages; of many, the first three and how many more."""
    return " and ".join([*map(str, files[:3]), *([f"{len(files) - 3} more"] if len(files) > 3 else [])])


def list_pictures(folder: Path | str, recursive: bool = False) -> list[Path]:
    """The picture files in ``folder``, in natural order of their paths; hidden files and folders are skipped.

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise InputError(f"no folder '{folder}': give the folder that holds the pictures")
    entries = below(folder) if recursive else folder.iterdir()
    found = [entry for entry in entries if is_picture(entry, folder)]
    return sorted(found, key=lambda path: natural(path.relative_to(folder).as_posix()))


def named(files: Iterable[Path], folder: Path | str) -> list[tuple[str, Path]]:
    """Each file with its name: the path below ``folder``, with forward slashes and without its suffix."""
    return [(file.relative_to(folder).with_suffix("").as_posix(), file) for file in files]


def count_deeper(folder: Path | str) -> int:
    """How many pictures lie in subfolders of ``folder``.

    Raises:
        InputError: there is no such folder.
    """
    return len(list_pictures(folder, recursive=True)) - len(list_pictures(folder))


def _before_underscore(name: str) -> str:
    """``1400_1`` and ``part1/1400_0.8_0.2`` -> ``1400`` (RESIDE: one clear picture, many hazes in several folders)."""
    return name.rpartition("/")[2].split("_", 1)[0]


def _before_last_underscore(name: str) -> str:
    """``901_14`` -> ``901`` (Rain1400: fourteen rains of one picture)."""
    folder, slash, stem = name.rpartition("/")
    return folder + slash + stem.rpartition("_")[0] if "_" in stem else name


def _without_scale(name: str) -> str:
    """``baboonx4`` -> ``baboon`` (DIV2K and the super-resolution benchmarks)."""
    return re.sub(r"x[2348]$", "", name)


def _without_side(name: str) -> str:
    """Drops words that tell the sides apart: ``scene1/blur/blur_7`` and ``scene1/gt/gt_7`` -> ``scene1//7``."""
    words = r"blur_gamma|blur|sharp|norain|rain|hazy|snow|input|target|gt|clear|clean"
    return re.sub(rf"(?<![a-z])(?:{words})(?![a-z])[-_]?", "", name, flags=re.IGNORECASE)


RULES: Mapping[str, Key | None] = {
    "stem": lambda name: name,
    "file-name": lambda name: name.rpartition("/")[2],
    "before-underscore": _before_underscore,
    "before-last-underscore": _before_last_underscore,
    "without-scale": _without_scale,
    "without-side": _without_side,
    "order": None,
}
"""Pairing rules by name. ``order`` has no key: the n-th input belongs to the n-th target."""


def rule(name: str) -> Key | None:
    """The pairing rule called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in RULES:
        raise UnknownNameError("pairing rule", name, RULES)
    return RULES[name]


def match(
    inputs: Sequence[tuple[str, Path]], targets: Sequence[tuple[str, Path]], key: Key | None = RULES["stem"]
) -> Matching:
    """Which input belongs to which target.

    Args:
        inputs, targets: (path below the folder without suffix, file) of either side.
        key: turns the names of both sides into keys. An input takes the target of its own name first, then the one
            whose name or key is its key: ``1400_1`` finds a target called ``1400_1`` before one called ``1400``. A
            target that has the name of one input is not given to another by key alone: ``img_1`` is not what
            ``img_2`` should look like. None pairs by position.
    """
    if key is None:
        both = min(len(inputs), len(targets))
        pairs = tuple(Pair(name, file, target) for (name, file), (_, target) in zip(inputs, targets, strict=False))
        lonely, childless = (tuple(file for _, file in side[both:]) for side in (inputs, targets))
        return Matching(pairs, lonely, childless, uneven=len(inputs) != len(targets))
    plain = _by_key(targets, lambda name: name)
    names = {name for name, _ in inputs}
    namesakes = {file for name, file in targets if name in names}
    keyed = {name: files for name, files in _by_key(targets, key).items() if not namesakes.issuperset(files)}
    found: list[Pair] = []
    lonely_inputs: list[Path] = []
    # By identity: under a rule that does not fit, thousands of inputs meet the same thousands of files.
    answered: dict[int, tuple[Path, ...]] = {}
    ambiguous = {name: files for name, files in _by_key(inputs, lambda name: name).items() if len(files) > 1}
    for name, file in inputs:
        files = plain.get(name) or plain.get(key(name)) or keyed.get(key(name))
        if not files:
            lonely_inputs.append(file)
            continue
        if len(files) > 1:
            ambiguous[name] = files
        answered[id(files)] = files
        found.append(Pair(name, file, files[0]))
    used = {file for files in answered.values() for file in files}
    lonely_targets = tuple(file for _, file in targets if file not in used)
    return Matching(tuple(found), tuple(lonely_inputs), lonely_targets, ambiguous)


def uneven(matching: Matching) -> str:
    """What is wrong with an uneven matching, for messages."""
    both = len(matching.pairs)
    inputs, targets = both + len(matching.lonely_inputs), both + len(matching.lonely_targets)
    return (
        f"{inputs} inputs and {targets} targets: with one file missing, all pairs after it are wrong; "
        "put in what is missing, or pair by a rule that looks at the names"
    )


def _by_key(side: Sequence[tuple[str, Path]], key: Key) -> dict[str, tuple[Path, ...]]:
    found: dict[str, list[Path]] = {}
    for name, file in side:
        found.setdefault(key(name), []).append(file)
    return {name: tuple(files) for name, files in found.items()}


def match_folders(
    inputs: Path | str, targets: Path | str, key: Key | str | None = "stem", recursive: bool = False
) -> Matching:
    """`match` over the pictures of two folders; ``key`` may be the name of a rule."""
    found = rule(key) if isinstance(key, str) else key
    low, high = (named(list_pictures(folder, recursive), folder) for folder in (inputs, targets))
    return match(low, high, found)


def pair_folders(
    inputs: Path | str, targets: Path | str, key: Key | str | None = "stem", recursive: bool = False
) -> list[Pair]:
    """The pairs of two folders, in natural order of the input names. Targets without an input are left out.

    Args:
        inputs, targets: folders; suffixes may differ.
        key: name of a rule of `RULES`, or a function from the path below the folder (no suffix) to a key.
        recursive: look into subfolders too, which then are part of the name.

    Raises:
        InputError: a folder is missing or holds no picture.
        UsageError: an input has no target, or several claim it; by order, one side has more.
    """
    matching = match_folders(inputs, targets, key, recursive)
    if not matching.pairs and not matching.lonely_inputs:
        raise InputError(f"no pictures in '{inputs}': known suffixes are {' '.join(sorted(SUFFIXES))}")
    if matching.uneven:
        raise UsageError(uneven(matching))
    by = f"the pairing rule {key}" if isinstance(key, str) else "this pairing rule"
    if matching.lonely_inputs:
        first, count = matching.lonely_inputs[0], len(matching.lonely_inputs)
        raise UsageError(
            f"{count} of the inputs have no target, first '{first.name}' (nothing of that name in '{targets}' "
            f"by {by}): undegrade data check lists them; another pairing rule may fit"
        )
    if matching.ambiguous:
        name, files = next(iter(matching.ambiguous.items()))
        raise UsageError(
            f"'{name}' is claimed by {listed([file.name for file in files])} under {by}: keep one file for each name, "
            "or choose a rule that tells them apart"
        )
    return list(matching.pairs)
