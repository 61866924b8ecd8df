"""Writes docs/commands.md, all commands and options as `--help` shows them: `python scripts/make_commands.py`"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from undegrade.cli import application, commands

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
HEAD = """# Commands

Every command and option, as `undegrade COMMAND --help` shows them. `--debug` may stand anywhere and shows the traceback
of an error. Exit status 0: all done; 1: some inputs failed; 2: the call is wrong.

Written by `python scripts/make_commands.py`."""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for name in commands.names():
        group: Any = get_command(application(name))
        lines += _told(f"undegrade {name}", group.commands[name])
    return "\n".join(lines) + "\n"


def _told(words: str, command: Any) -> Iterator[str]:
    """A command, and those within it."""
    about = " ".join((command.help or "").split("\f")[0].split())
    yield from ("", f"## `{words}`", "", about)
    rows = [_row(entry) for entry in command.params if entry.name != "help"]
    if rows:
        yield from ("", "| word | what it does | default |", "| --- | --- | --- |", *rows)
    for name, below in getattr(command, "commands", {}).items():
        yield from _told(f"{words} {name}", below)


def _row(entry: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*entry.opts, *entry.secondary_opts)) if entry.opts else entry.name
    names = names if entry.param_type_name == "option" else f"`{entry.name.upper()}`"
    silent = entry.default is None or entry.default is False or callable(entry.default)
    default = "" if silent else f"`{entry.default}`"
    default = "needed" if entry.required else default
    return f"| {names} | {(entry.help or '').replace('|', '/')} | {default} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
