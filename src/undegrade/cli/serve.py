"""Serve the web page and the HTTP API."""

from __future__ import annotations

from math import inf
from typing import Annotated
from urllib.parse import quote

import typer

from undegrade.core.errors import UsageError
from undegrade.core.hosts import LOOPBACK


def command(
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 7860,
    *,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    workers: Annotated[int, typer.Option(help="Pictures restored at the same time.")] = 1,
    queue: Annotated[int, typer.Option(help="Pictures that may wait; one more is answered 503.")] = 64,
    max_upload: Annotated[float, typer.Option(help="MB of one picture's file.")] = 64,
    max_pixels: Annotated[float, typer.Option(help="Refuse pictures of more megapixels.")] = 50,
    timeout: Annotated[float, typer.Option(help="Seconds after which a restoration is given up.")] = 600,
    token: Annotated[
        str | None, typer.Option(envvar="UNDEGRADE_TOKEN", help="Asked of every request.", show_envvar=True)
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Name under which this machine may be called; may be repeated.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve the web page and the HTTP API, on this machine only unless --host says otherwise. Ctrl-C ends it."""
    from undegrade import api

    for option, text in {"--host": host, "--token": token}.items():
        if text == "":  # often that of a variable that is not set: every network, and everybody in it, would be let in
            raise UsageError(f"{option} '': is empty; give one, or leave the option out")
    for name in allow_host or ():
        if not name or set(name) & set("/:@ "):
            raise UsageError(
                f"--allow-host {name!r}: give the name alone, such as box.local, without https:// and port"
            )
    least = {"--max-upload": (max_upload, 1 / (1 << 20)), "--max-pixels": (max_pixels, 1e-6)}
    least |= {"--timeout": (timeout, 0.001), "--queue": (queue, 1), "--workers": (workers, 1)}
    for option, (value, smallest) in least.items():
        if not smallest <= value < inf:
            raise UsageError(f"{option} {value:g}: a positive number, at least {smallest:.2g}")
    caps = {"queue": queue, "workers": workers, "seconds": timeout}
    caps |= {"upload": int(max_upload * (1 << 20)), "pixels": int(max_pixels * 1e6)}

    def ready(address: str) -> None:
        typer.echo(f"undegrade is at {address} (API: {address}/api/docs); Ctrl-C ends it")
        if host not in LOOPBACK and not token:
            typer.echo(
                "undegrade: everybody who reaches this machine can use it: --token SECRET asks for one", err=True
            )
        if open_browser:
            import webbrowser

            webbrowser.open(address + (f"/?token={quote(token)}" if token else ""))

    api.serve(host, port, device=device, token=token, hosts=tuple(allow_host or ()), ready=ready, **caps)
