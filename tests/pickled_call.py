"""A file that runs code when it is unpickled, for the tests of those who must not unpickle it."""

from __future__ import annotations

import os
from pathlib import Path


class Bomb:
    """Pickled, it is a call that makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)
