"""What tests know of a running server."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass


@dataclass
class Served:
    """A running server: its address and process."""

    address: str
    process: subprocess.Popen[str]
