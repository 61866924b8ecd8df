"""A real server in a process of its own, and pictures for it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from served import Served

STARTS = re.compile(r"undegrade is at (http://\S+)")


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., Served]]:
    """Starts ``undegrade serve`` with options on a free port."""
    pytest.importorskip("gradio", reason="pip install 'undegrade[web]'")
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Served:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "undegrade",
            "serve",
            "--port",
            "0",
            "--device",
            "cpu",
            *options,
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        started.append(process)
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := STARTS.search(line):
                return Served(found[1], process)
        raise AssertionError("the server did not start: " + "".join(said))

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="session")
def server(serve: Callable[..., Served]) -> Served:
    """One server for all tests; its queue is short, its caps are low."""
    return serve("--queue", "4", "--max-upload", "2", "--max-pixels", "0.5")


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small noisy photograph with metadata."""
    import numpy as np
    import skimage.data

    clean = skimage.data.astronaut()[40:168, 160:320].astype(float)
    noisy = (clean + np.random.default_rng(0).normal(0, 25, clean.shape)).clip(0, 255).astype("uint8")
    exif = Image.Exif()
    exif[0x010F] = "Camera maker"
    path = tmp_path_factory.mktemp("photo") / "my phöto.jpg"
    Image.fromarray(noisy).save(path, quality=97, exif=exif, dpi=(300, 300))
    return path


@pytest.fixture(scope="session")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """What ``undegrade restore`` writes for a picture."""

    def restored(source: Path, *options: str) -> bytes:
        from undegrade.cli import run

        folder = tmp_path_factory.mktemp("command")
        assert run(["restore", str(source), "-o", str(folder), "--device", "cpu", *options]) == 0
        (result,) = folder.iterdir()
        return result.read_bytes()

    return restored
