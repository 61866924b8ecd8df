"""Files in object stores and on other machines (``s3://``, ``gs://``, ``memory://`` ...) through fsspec."""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undegrade.core.errors import InputError, MissingExtraError
from undegrade.core.names import shortened

__all__ = ["Location", "Url", "is_url"]

SIGN = "://"


def is_url(text: object) -> bool:
    """Whether ``text`` names a file by scheme and not by path."""
    return isinstance(text, Url) or (isinstance(text, str) and SIGN in text)


@dataclass(frozen=True)
class Url:
    """A file or folder that fsspec reaches; has the parts of ``pathlib.Path`` that a batch of files needs.

    Attributes:
        text: as the user wrote it, without a slash at the end; roots (``s3://``, ``file:///``) keep theirs.
    """

    text: str

    def __post_init__(self) -> None:
        text = self.text.rstrip("/")
        object.__setattr__(self, "text", self.text[: len(text) + 3] if text.endswith(":") else text)

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: object) -> Url:
        between = "" if self.text.endswith("/") else "/"
        return self if str(name) == "." else Url(f"{self.text}{between}{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return posixpath.basename(self.text)

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return posixpath.splitext(self.name)[0]

    @property
    def suffix(self) -> str:
        """The ending of the last part, with its dot."""
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> Url:
        """The folder."""
        return Url(self.text.removesuffix(self.name))

    def with_name(self, name: str) -> Url:
        """Beside it."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> Url:
        """With another ending."""
        return self.with_name(self.stem + suffix)

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self._is("isdir")

    def exists(self) -> bool:
        """Whether anything is there."""
        return self._is("exists")

    def size(self) -> int:
        """Bytes.

        Raises:
            InputError: it cannot be reached.
        """
        files, path = self._files()
        with _told(self):
            return int(files.size(path) or 0)

    def read_bytes(self) -> bytes:
        """The content.

        Raises:
            InputError: it cannot be read.
        """
        files, path = self._files()
        with _told(self):
            return bytes(files.cat_file(path))

    def write_bytes(self, content: bytes) -> None:
        """Puts the content there, whole or not at all: stores do so by themselves, for others a file is renamed.

        Raises:
            InputError: it cannot be written.
        """
        files, path = self._files()
        with _told(self):
            if not _has_folders(files):
                files.pipe_file(path, content)
                return
            files.makedirs(posixpath.dirname(path), exist_ok=True)
            name = shortened(f".{posixpath.basename(path)}.{secrets.token_hex(4)}.part")
            part = posixpath.join(posixpath.dirname(path), name)
            try:
                files.pipe_file(part, content)
                files.mv(part, path)
            except BaseException:
                with suppress(Exception):  # where nothing can be written, nothing can be removed either
                    files.rm_file(part)
                raise

    def walk(self) -> Iterator[tuple[Url, list[str], list[str]]]:
        """Folder by folder, as ``os.walk``: (folder, folders in it, files in it); folders may be taken out.

        Raises:
            InputError: it cannot be listed.
        """
        files, path = self._files()
        with _told(self):
            for folder, folders, names in files.walk(path, detail=True):
                below = posixpath.relpath(folder, path)
                inside = sorted(folders)
                yield self / below, inside, sorted(names)
                for name in set(folders) - set(inside):
                    folders.pop(name)

    def _is(self, question: str) -> bool:
        files, path = self._files()
        with _told(self):
            return bool(getattr(files, question)(path))

    def _files(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingExtraError(f"reading {self.text}", "ray") from error
        try:
            files, path = url_to_fs(self.text)
        except (ImportError, ValueError) as error:  # a scheme that needs a package of its own, or that there is not
            raise InputError(f"{self.text}: {' '.join(str(error).split())}") from error
        return files, str(path)


Location = Path | Url


def _has_folders(files: Any) -> bool:
    """Whether a half-written file could be seen: disks and file servers, but not object stores."""
    protocols = files.protocol if isinstance(files.protocol, list | tuple) else (files.protocol,)
    return bool({"file", "local", "sftp", "ssh", "ftp", "smb", "hdfs", "arrow_hdfs"} & set(protocols))


@contextmanager
def _told(url: Url) -> Iterator[None]:
    """Errors of any store become one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{url}: there is no such file") from error
    except (InputError, GeneratorExit):
        raise
    except Exception as error:  # stores raise errors of their own, of packages that are not known here
        raise InputError(f"{url}: {' '.join(str(error).split()) or type(error).__name__}") from error
