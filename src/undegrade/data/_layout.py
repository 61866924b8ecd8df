"""What a layout is: where the splits of a data set lie, how inputs find their targets, and what of it is on a disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.data.folders import Matching, is_picture, match, named, natural, rule

__all__ = ["Layout", "Part"]

LARGEST_FACTOR = 8
"""Of super-resolution; larger numbers of folders are noise levels (10-70) and JPEG qualities (10-40)."""


@dataclass(frozen=True)
class Part:
    """Where one split of a data set lies.

    Attributes:
        targets: pattern of the clean pictures; ``**`` for any depth. ``{scale}`` and the like are filled in.
        inputs: pattern of the degraded ones, empty for clean sets.
        rule: pairing rule of `undegrade.data.folders`.
        count: usual number of inputs (of pictures in clean sets); 0 if not known.
        border: pixels to cut from every side of a target, where it is larger than its input.
    """

    targets: str
    inputs: str = ""
    rule: str = "stem"
    count: int = 0
    border: int = 0


@dataclass(frozen=True)
class Layout:
    """A data set as its authors, or the systems' loaders, lay it out.

    Attributes:
        name: lower case, the folder's usual name.
        title: as papers write it.
        tasks: what it is used for.
        parts: split name -> `Part`; several spellings of one split may exist (``test``, ``test-official``).
        aliases: other spellings of the name.
        origin: who made it, in words to search for.
        note: traps.
        checked: whether the layout was read from a loader or seen in a copy, rather than remembered.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    parts: Mapping[str, Part]
    aliases: tuple[str, ...] = ()
    origin: str = ""
    note: str = ""
    checked: bool = True
    kind: Literal["pairs", "clean"] = field(init=False)

    @property
    def tested(self) -> int:
        """Usual number of test pictures: of ``test``, else of another split that is no training set; 0 if unknown."""
        counts = [part.count for name, part in self.parts.items() if not name.startswith("train")]
        return (self.parts["test"].count if "test" in self.parts else 0) or next(filter(None, counts), 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", "pairs" if any(part.inputs for part in self.parts.values()) else "clean")

    def part(self, split: str) -> Part:
        """The split called ``split``.

        Raises:
            UnknownNameError: the set has no such split.
        """
        if split not in self.parts:
            raise UnknownNameError(f"split of {self.name}", split, self.parts)
        return self.parts[split]

    def factor(self, split: str, scale: int) -> int:
        """How many times larger the targets of ``split`` are than its inputs, in folders for this ``scale``.

        The pyramid-attention system lays out noisy and JPEG pictures like those of super-resolution, and names their
        folders by noise level and quality (``X50``): there both sides are equal.
        """
        part = self.part(split)
        enlarged = "super_resolution" in self.tasks and scale <= LARGEST_FACTOR
        return scale if part.inputs and (enlarged or "{scale}" not in part.inputs) else 1

    def locate(self, root: Path | str, split: str = "test", **values: object) -> Matching:
        """The pictures of one split below ``root``, paired. In a clean set every picture is its own pair.

        Args:
            root: folder that holds what the patterns describe.
            split: name of the split.
            values: what stands in braces in the patterns (``scale=4``).

        Raises:
            InputError: nothing is there; the message says where it was looked for.
        """
        root, part = Path(root), self.part(split)
        try:
            patterns = [pattern.format(**values) for pattern in (part.inputs or part.targets, part.targets)]
        except KeyError as error:
            raise UsageError(f"{self.name}: give {error.args[0]}, its folders are named by it") from None
        sides = [_find(root, pattern) for pattern in patterns]
        for side, pattern in zip(sides, patterns, strict=True):
            if not side:
                raise InputError(
                    f"no pictures of {self.title} at {root / pattern}: undegrade data layouts shows its forms"
                )
        return match(sides[0], sides[1], rule(part.rule))


def _find(root: Path, pattern: str) -> list[tuple[str, Path]]:
    """(name, file) of all pictures that fit and are not hidden; the name starts where the pattern's wildcards do."""
    parts = pattern.split("/")
    first = next(index for index, part in enumerate(parts) if "*" in part)
    start = root.joinpath(*parts[:first])
    files = (file for file in root.glob(pattern) if is_picture(file, start))
    return sorted(named(files, start), key=lambda entry: natural(entry[0]))
