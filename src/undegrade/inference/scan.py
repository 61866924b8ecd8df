"""Which file is written for which input, found folder by folder, so that a million files start at once.

Names are decided within one folder at a time, from its content alone: they do not depend on how far a run has come,
nor on which of several machines looks. One folder may hold a hundred thousand files, so what is done for all of them
before the first job is done with strings; paths are made, and files looked at, job by job.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from undegrade.core.encode import format_of
from undegrade.core.errors import UsageError
from undegrade.core.formats import FORMATS, SUFFIXES
from undegrade.core.names import SLASHES, Paths, exists, folded, is_folder, several, shortened
from undegrade.core.urls import Location, Url, is_url
from undegrade.core.whole_number import whole_number
from undegrade.inference.video import SUFFIXES as VIDEOS

__all__ = ["Job", "parse_shard", "plan", "scan"]

MARK = ".restored"
"""Stands between name and suffix of what is written among inputs."""
PAGED = (".tif", ".tiff")
WRITTEN = frozenset(suffix for held in FORMATS.values() for suffix in held.suffixes)


@dataclass(frozen=True)
class Job:
    """One file to restore.

    Attributes:
        source: the input.
        target: the output; its suffix is the format.
        problem: why it cannot be done, known before anything is read; empty otherwise.
        named: the user chose the target's name, suffix included.
        paged: the output if the input turns out to be a TIFF file of several pages; None if that is no other file,
            or would replace an input.
        root: the output folder, which nothing may be written outside of; None when the user named the place.
    """

    source: Location
    target: Location
    problem: str = ""
    named: bool = False
    paged: Location | None = None
    root: Location | None = None


def scan(
    inputs: Paths,
    output: str | Path | None = None,
    *,
    recursive: bool = False,
    keep_format: bool = False,
    shard: tuple[int, int] | None = None,
) -> Iterator[Job]:
    """The jobs of a call, found while they are done: memory is needed for the names of one folder only.

    Without ``output``, ``photo.restored.png`` is written beside ``photo.jpg``; so it is where ``output`` is one of the
    input folders, lest the next call take results for inputs. With one input file, ``output`` may be
    a file name; otherwise it is a folder, in which the folders among the inputs are mirrored. Inputs that would be
    written to one place (``a.jpg`` and ``a.png``, or ``a.png`` and ``A.png``) are told apart by their full names.

    Args:
        inputs: files and folders, or one of them. Links to folders are not followed, links to files are.
        output: file or folder.
        recursive: folders within folders as well.
        keep_format: the suffix of the input instead of ``.png``.
        shard: (i, n): of n equal shares the i-th, counted from 1. Which share a file belongs to depends on its name
            only, so that n machines that see the same files do each of them once.

    Raises:
        UsageError: an output would replace an input, or one file name is given for several inputs. Found out about the
            first folder at once; later such inputs come as jobs with a problem.
    """
    found = _Scan(several(inputs), output, recursive, keep_format).jobs(shard)
    first = next(found, None)
    if first is None:
        return iter(())
    _refuse([first])
    return (job for job, _ in chain([first], found))


def plan(
    inputs: Paths,
    output: str | Path | None = None,
    *,
    recursive: bool = False,
    keep_format: bool = False,
    shard: tuple[int, int] | None = None,
) -> list[Job]:
    """All jobs of a call at once; see ``scan``.

    Raises:
        UsageError: an output would replace an input, or one file name is given for several inputs.
    """
    found = list(_Scan(several(inputs), output, recursive, keep_format).jobs(shard))
    _refuse(found)
    return [job for job, _ in found]


def parse_shard(text: str) -> tuple[int, int]:
    """``"2/8"`` as (2, 8).

    Raises:
        UsageError: not two numbers, or the first is not within 1 and the second.
    """
    first, _, count = text.partition("/")
    index, shares = whole_number(first), whole_number(count)
    if index is not None and shares is not None and 1 <= index <= shares:
        return index, shares
    raise UsageError(f"shard={text[:40]}: write i/n with i in 1..n, for example 1/8")


_Found = tuple[Job, bool]
"""A job, and whether it would replace an input."""


def _refuse(found: Iterable[_Found]) -> None:
    for job, replaces in found:
        if replaces:
            raise UsageError(f"{job.target}: the output would replace an input: choose another -o")


@dataclass(slots=True)
class _Entry:
    """A picture that an input stands for: where it lies, how far below the input, and what is wrong with it."""

    folder: Location
    name: str
    below: Path = Path()
    problem: str = ""

    @property
    def source(self) -> Location:
        return self.folder / self.name

    @property
    def suffix(self) -> str:
        return _suffix(self.name)


class _Result(NamedTuple):
    """Where a result goes."""

    folder: Location
    name: str

    @property
    def key(self) -> tuple[Location, str]:
        """The same for all results that a file system may take for one, if they are found in one folder."""
        return self.folder, folded(self.name)

    @property
    def whole(self) -> str:
        """The same, whatever the folder."""
        return folded(f"{self.folder}/{self.name}")


_Lookup = Callable[[], set[object]]
"""All that is read of a folder, looked up when first needed: most results are not there yet, and so no input."""


@dataclass
class _Scan:
    """One walk through the inputs."""

    inputs: Sequence[str | Path]
    output: str | Path | None
    recursive: bool
    keep_format: bool
    place: Location | None = None
    to_file: bool = False
    marked: bool = True
    named: set[object] = field(default_factory=set)
    roots: list[Path] = field(default_factory=list)
    taken: set[int] | None = None
    spellings: dict[str, Path] = field(default_factory=dict)

    def jobs(self, shard: tuple[int, int] | None) -> Iterator[_Found]:
        for group in self._groups():
            sources = cache(partial(self._sources, group))
            for entry, target in self._apart(group):
                if shard is None or _share(entry.below / entry.name, shard[1]) == shard[0]:
                    yield self._job(entry, target, sources)

    def _groups(self) -> Iterator[list[_Entry]]:
        """The inputs that are files, then the pictures of one folder after the other."""
        for name in (*self.inputs, *([] if self.output is None else [self.output])):
            _check_named(name)
        place = self.place = _at(self.output) if self.output is not None else None
        paths = list(dict.fromkeys(_at(name) for name in self.inputs))  # what is named twice is done once
        files = [path for path in paths if not _is_folder(path)]
        self.named = {_place(path) for path in files}
        folders = [path for path in paths if _is_folder(path)]
        self.roots = [path.resolve() for path in folders if isinstance(path, Path)]
        self.marked = place is None or _place(place) in map(_place, folders)
        if place is not None and not _is_folder(place) and not str(self.output).endswith(SLASHES):
            self.to_file = place.suffix.lower() in WRITTEN
            if self.to_file and (len(paths) != 1 or not files):
                raise UsageError(f"{place}: one file name for several inputs: give a folder")
            if paths and place.suffix.lower() in VIDEOS:
                raise UsageError(f"{place}: a video's name for what is none: give a folder, or end in .png")
            if not self.to_file and place.suffix.lower() in Image.registered_extensions():
                format_of(str(place))  # a picture of a kind that is not written: raises
        # Outputs of different folders can only meet where several inputs go to one place.
        self.taken = set() if len(paths) > 1 else None
        if files:
            yield [_Entry(path.parent, path.name, problem=_missing(path)) for path in files]
        for path in folders:
            yield from self._folders(path)

    def _folders(self, root: Location) -> Iterator[list[_Entry]]:
        """The pictures of every folder below ``root``, folder by folder."""
        problems: list[OSError] = []
        found = failed = 0
        for folder, folders, names in _walk(root, problems):
            # What is written is no input, whether it was there before or has come to be while we walk.
            own = None if self.place is None else _place(self.place)
            folders[:] = sorted(sub for sub in folders if _place(folder / sub) != own) if self.recursive else []
            below = _below(folder, root)
            group = [_Entry(folder, name, below) for name in sorted(names) if self._is_read(name)]
            found += len(group)
            if group:
                yield group
            if problems:
                failed += len(problems)
                yield [_unreadable(Path(str(problem.filename)), problem) for problem in problems]
                problems.clear()
        failed += len(problems)
        if problems:
            yield [_unreadable(Path(str(problem.filename)), problem) for problem in problems]
        if not found and not failed:
            hint = "" if self.recursive else " (--recursive looks into the folders within)"
            yield [_Entry(root.parent, root.name, problem=f"{root}: the folder holds no pictures{hint}")]

    def _is_read(self, name: str) -> bool:
        """Whether a file of that name is taken from a folder: pictures, but not what is hidden or was written by us."""
        written = self.marked and _split(name)[0].endswith(MARK)
        return _suffix(name) in SUFFIXES and not name.startswith(".") and not written

    def _apart(self, group: list[_Entry]) -> Iterator[tuple[_Entry, Location]]:
        """A target of its own for each: full input names where stems are shared, numbers where those are too."""
        if self.to_file:
            assert self.place is not None
            yield group[0], self.place
            return
        if self.keep_format:
            for entry in group:
                if entry.suffix == ".gif":
                    rule = "GIF holds 256 colours and is not written: let it become PNG, without keep-format"
                    entry.problem = entry.problem or f"{entry.source}: {rule}"
        common = None if self.place is None else self.place / self._spelling(group[0].below)
        results = [_Result(common or entry.folder, self._name(entry)) for entry in group]
        shared = Counter(result.key for entry, result in zip(group, results, strict=True) if not entry.problem)
        here = {key for key, count in shared.items() if count == 1}
        for entry, wanted in zip(group, results, strict=True):
            result = wanted
            if not entry.problem:
                if shared[wanted.key] > 1 or self._met(wanted):
                    result = self._free(wanted, entry.name, here)
                here.add(result.key)
                if self.taken is not None:
                    self.taken.add(hash(result.whole))
            yield entry, result.folder / result.name

    def _name(self, entry: _Entry) -> str:
        stem, suffix = _split(entry.name)
        suffix = suffix if self.keep_format and entry.suffix in WRITTEN else ".png"
        return shortened(f"{stem}{MARK if self.marked else ''}{suffix}")

    def _met(self, result: _Result) -> bool:
        return self.taken is not None and hash(result.whole) in self.taken

    def _free(self, result: _Result, source: str, here: set[tuple[Location, str]]) -> _Result:
        """A name that no other output has."""
        stem, suffix = _split(result.name)
        mark, number = MARK if stem.endswith(MARK) else "", 1
        free = _Result(result.folder, shortened(f"{source}{mark}{suffix}"))
        while free.key in here or self._met(free):
            number += 1
            free = _Result(result.folder, shortened(f"{source}.{number}{mark}{suffix}"))
        return free

    def _job(self, entry: _Entry, target: Location, sources: _Lookup) -> _Found:
        named = self.to_file
        job = Job(entry.source, target, entry.problem, named=named, root=None if named else self.place)
        if job.problem:
            return job, False
        if self._is_input(target, sources):
            return replace(job, problem=f"{job.source}: its output {target} would replace an input"), True
        if named or entry.suffix not in PAGED:
            return job, False
        paged = target.with_suffix(".tif")
        return replace(job, paged=None if self._is_input(paged, sources) else paged), False

    def _sources(self, group: list[_Entry]) -> set[object]:
        """All that is read of a folder."""
        return {_place(entry.source) for entry in group} | self.named

    def _spelling(self, folder: Path) -> Path:
        """``folder``, but another name for one that differs from an earlier one in case only."""
        if folder == Path():
            return folder
        wanted = self._spelling(folder.parent) / folder.name
        number, name = 1, wanted
        while self.spellings.setdefault(folded(str(name)), folder) != folder and len(self.roots) < 2:
            number += 1
            name = wanted.with_name(f"{wanted.name}.{number}")
        return name

    def _is_input(self, path: Location, sources: _Lookup) -> bool:
        """Whether ``path`` is a file that this call reads."""
        if isinstance(path, Url):
            return path.text in sources()
        try:
            found = path.stat()
        except (OSError, ValueError):
            return False
        if (found.st_dev, found.st_ino) in sources():
            return True
        if not self._is_read(path.name):
            return False
        folder = path.parent.resolve()
        below = [root for root in self.roots if folder == root or (self.recursive and folder.is_relative_to(root))]
        own = self.place.resolve() if isinstance(self.place, Path) else None
        # The output folder within an input folder is not read.
        return any(own is None or own == root or not own.is_relative_to(root) for root in below)


def _share(below: Path, count: int) -> int:
    """1..count, from the file's name alone."""
    digest = hashlib.blake2b(os.fsencode(below.as_posix()), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count + 1


def _split(name: str) -> tuple[str, str]:
    """Stem and suffix as pathlib has them."""
    stem, _, ending = name.rpartition(".")
    return (stem, f".{ending}") if stem and ending else (name, "")


def _suffix(name: str) -> str:
    return _split(name)[1].lower()


def _check_named(name: str | Path) -> None:
    """Refuses words that say no file: ``""`` would be taken for the current folder, and all of it restored."""
    if str(name) == "":
        raise UsageError("'': an empty name: give a file or a folder, '.' for the current one")
    if str(name) == "-":
        raise UsageError(
            "-: pictures are not read from stdin nor written to stdout: give a file, ./- if it is called so"
        )


def _at(name: str | Path) -> Location:
    return Url(str(name)) if is_url(name) else Path(name)


def _walk(root: Location, problems: list[OSError]) -> Iterator[tuple[Location, list[str], list[str]]]:
    if isinstance(root, Url):
        yield from root.walk()
        return
    for folder, folders, names in os.walk(root, onerror=problems.append):
        yield Path(folder), folders, names


def _below(folder: Location, root: Location) -> Path:
    if isinstance(folder, Path):
        return folder.relative_to(str(root))
    return Path(folder.text.removeprefix(str(root)).lstrip("/"))


def _is_folder(path: Location) -> bool:
    if isinstance(path, Url):
        return path.is_dir()
    return is_folder(path)


def _missing(path: Location) -> str:
    if isinstance(path, Url):
        return "" if path.exists() else f"{path}: there is no such file"
    if exists(path):
        return ""
    try:
        os.stat(path)  # noqa: PTH116
    except PermissionError:
        return f"{path}: a folder above it may not be read"
    except (OSError, ValueError):
        pass
    return f"{path}: there is no such file"


def _unreadable(place: Path, problem: OSError) -> _Entry:
    return _Entry(place.parent, place.name, problem=f"{place}: the folder cannot be read ({problem.strerror})")


def _place(path: Location) -> object:
    """The same for all names of one file, links included."""
    if isinstance(path, Url):
        return path.text
    try:
        found = path.stat()
    except (OSError, ValueError):
        return path.absolute()
    return found.st_dev, found.st_ino
