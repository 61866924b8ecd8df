"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from undegrade.core.names import shortened

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path of a new file beside ``path`` that takes its name when the block ends well and vanishes otherwise.

    Raises:
        OSError: of the block; where it names the new file, which nobody knows, or none, as that of a full disk, it
            names ``path`` instead.
    """
    part = path.with_name(shortened(f".{path.name}.{secrets.token_hex(4)}.part"))
    try:
        yield part
        part.replace(path)
    except OSError as error:
        other = error.filename is not None and str(part) not in (str(error.filename), str(error.filename2))
        if other or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)
