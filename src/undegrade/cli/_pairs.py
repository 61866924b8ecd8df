"""What ``--set`` takes: any number of ``name=value``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from undegrade.core.errors import UsageError

__all__ = ["pairs"]


def pairs(texts: Iterable[str] | None, own: Iterable[str] = ()) -> dict[str, Any]:
    """``gain=[0.4, 1.5]`` as name and value, the values read as YAML.

    Args:
        texts: what was given.
        own: names that have an option of their own.

    Raises:
        UsageError: no such pair, no such value, or one of ``own``.
    """
    import yaml

    read: dict[str, Any] = {}
    for text in texts or ():
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise UsageError(f"--set {text}: write it as name=value, for example gain=0.75 or gain=[0.4, 1.5]")
        if name in own:
            raise UsageError(f"--set {text}: write --{name.replace('_', '-')} {value}")
        try:
            # 4:2:0 is what YAML takes for a number of base 60.
            read[name] = value if re.fullmatch(r"\d(:\d)+", value) else yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {text}: the value is neither a number nor a list such as [0.4, 1.5]") from None
    return read
