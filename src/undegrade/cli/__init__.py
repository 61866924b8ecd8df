"""The command line: one file per command, found by file name, imported when it is called.

A file ``cli/<name>.py`` defines ``command``: a function with typer annotations, or a ``typer.Typer`` for a group of
commands. The first line of the file's docstring is what ``undegrade --help`` shows. Command files import torch and
``undegrade.api`` inside functions only.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from undegrade._version import __version__
from undegrade.cli import _complete
from undegrade.core.catalog import Catalog
from undegrade.core.errors import UndegradeError, UnknownNameError, UsageError, one_line
from undegrade.core.names import printable

__all__ = ["application", "commands", "main", "run"]

commands: Catalog[Callable[..., Any] | typer.Typer] = Catalog("command", "undegrade.cli", "command")


def main() -> None:
    """Entry point of the ``undegrade`` program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As stderr is by itself: a name that the encoding lacks (Windows' pipes have 256 letters) must not end a batch.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit status.

    0: all done; 1: some inputs failed, or the command could not do its work; 2: the call itself is wrong.
    Every error is one line on stderr; the traceback comes before it with ``--debug``, which may stand anywhere.
    """
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"] or ["--help"]
    named = next((word for word in words if not word.startswith("-")), None)
    if (asked := _complete.asked()) is not None:
        named = asked if asked in commands.names() else None
    try:
        if named is not None and named not in commands.names():
            raise UnknownNameError("command", named, commands.names())
        status = application(named)(words, prog_name="undegrade", standalone_mode=False, obj=debug)
    except Exception as error:
        if debug:
            traceback.print_exc()
        line, status = _explain(error, words)
        print(f"undegrade: {line}", file=sys.stderr)
    return status if isinstance(status, int) else 0


def application(named: str | None = None) -> typer.Typer:
    """The typer application in which the command ``named`` is real and the others are known by name and summary.

    Only the module of that command is imported, which keeps ``--help`` and every command quick to start.
    """
    app = typer.Typer(name="undegrade", callback=_options, pretty_exceptions_enable=False)
    for name in commands.names():
        entry = commands.get(name) if name == named else None
        if isinstance(entry, typer.Typer):
            app.add_typer(entry, name=name, help=commands.summary(name))
        elif entry is not None:
            app.command(name)(entry)
        else:
            app.command(name, help=commands.summary(name))(_not_called)
    return app


def _not_called() -> None:
    """Stands for the commands that this call does not name."""


def _version(wanted: bool) -> None:
    if wanted:
        print(f"undegrade {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Image restoration: denoise, derain, dehaze, desnow, deblur, demosaic, remove JPEG artefacts, upscale."""


def _explain(error: Exception, words: Sequence[str]) -> tuple[str, int]:
    """An error of a call with these words as (one line, exit status)."""
    if isinstance(error, UndegradeError):
        return one_line(error), 2 if isinstance(error, UsageError) else 1
    if isinstance(error, typer.Abort):
        return "stopped", 1
    message = getattr(error, "format_message", None)
    if message is not None:  # the command line parser's own errors: unknown option, missing argument
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "undegrade"
        reason = message().rstrip(".") or "what is to be done is missing"
        # The shell makes such words of `*.jpg`.
        file = next((word for word in words if word.startswith("-") and os.path.isfile(word)), None)  # noqa: PTH113
        hint = f"see {path} --help" if file is None else printable(f"the file {file} is called ./{file} here")
        return f"{reason} ({hint})".replace("\n", " "), 2
    if isinstance(error, OSError):
        if error.filename is None or error.strerror is None:
            return one_line(error), 1
        return f"{printable(str(error.filename))}: cannot be read or written ({error.strerror})", 1
    return f"internal error, {type(error).__name__}: {one_line(error)} (--debug shows where)", 1
