"""A writer for the small TOML subset of our cards; Python itself only reads TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["dumps"]


def dumps(table: Mapping[str, Any]) -> str:
    """TOML text of ``table``: plain values first, then tables, then lists of tables. None is left out.

    Raises:
        TypeError: a value of a kind that TOML does not have.
    """
    return "\n".join(_lines(table, ())) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines, nested = [], []
    for key, value in table.items():
        if value is None:
            continue
        if isinstance(value, Mapping) or _is_table_list(value):
            nested.append((key, value))
        else:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in nested:
        here = (*path, _key(key))
        for entry in [value] if isinstance(value, Mapping) else value:
            header = ".".join(here)
            lines += ["", f"[{header}]" if isinstance(value, Mapping) else f"[[{header}]]", *_lines(entry, here)]
    return lines


def _is_table_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping) for v in value)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON strings are TOML basic strings, but for the delete character, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(float(value))  # numpy's own has its name in it
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    raise TypeError(f"cannot write {type(value).__name__} as TOML")
