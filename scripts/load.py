"""Puts a real server under load, faults and malice, and counts what was lost: `make load`.

python scripts/load.py [--clients 200]

Every client has a picture of its own; what it must get back is what `undegrade restore` wrote for this picture.
Exit status 1 when an answer was lost, mixed up or missing a reason.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

TASK = "dejpeg"
TRIES = 400
"""How often a client that is told to come back does so."""


@dataclass
class Row:
    """A line of the table."""

    name: str
    sent: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        """Requests without a right answer and without a refusal that gives its reason."""
        return self.sent - self.counts["right"] - self.counts["refused"] - self.counts["hung up"]


def pictures(folder: Path, count: int) -> list[Path]:
    """Small JPEG files, all different."""
    folder.mkdir()
    paths = []
    for number in range(count):
        samples = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        paths.append(folder / f"{number:03d}.jpg")
        Image.fromarray(samples).save(paths[-1], quality=40)
    return paths


def by_command(folder: Path, out: Path) -> dict[str, bytes]:
    """What the command line makes of them."""
    command = [sys.executable, "-m", "undegrade", "restore", str(folder), "-o", str(out), "-t", TASK]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {path.stem: path.read_bytes() for path in out.iterdir()}


def started() -> tuple[subprocess.Popen[str], str]:
    """A server with its usual limits, and its address."""
    command = [sys.executable, "-m", "undegrade", "serve", "--port", "0", "--max-pixels", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"at (http://\S+)", line):
            return process, found[1]
    raise SystemExit("the server did not start")


async def ask(client: httpx.AsyncClient, row: Row, name: str, content: bytes, expected: bytes | None) -> None:
    """One client; ``expected`` is its right answer, None when a refusal is right."""
    row.sent += 1
    for _ in range(TRIES):
        try:
            answer = await client.post("/api/restore", files={"picture": (name, content)}, data={"task": TASK})
        except httpx.HTTPError as error:
            row.counts[type(error).__name__] += 1
            return
        if answer.status_code != 503:
            break
        row.counts["told to come back"] += 1
        await asyncio.sleep(float(answer.headers["retry-after"]) * np.random.default_rng().uniform(0.3, 1))
    if answer.status_code == 200:
        right = expected is not None and answer.content == expected
        row.counts["right" if right else "mixed up"] += 1
    elif 400 <= answer.status_code < 500 and expected is None and answer.json()["error"]:
        row.counts["refused"] += 1
    else:
        row.counts[f"status {answer.status_code}"] += 1


async def at_once(client: httpx.AsyncClient, row: Row, files: list[Path], expected: dict[str, bytes]) -> None:
    """All clients in the same moment."""
    await asyncio.gather(*(ask(client, row, path.name, path.read_bytes(), expected[path.stem]) for path in files))


async def hostile(client: httpx.AsyncClient, row: Row, files: list[Path]) -> None:
    """Cut files, files that are no pictures, and a small file that claims to be huge."""
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    bodies = [bomb.getvalue(), b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<svg/>", b"PK\x03\x04" * 100]
    bodies += [path.read_bytes()[: 20 + 5 * number] for number, path in enumerate(files[:44])]
    await asyncio.gather(*(ask(client, row, f"{number}.png", body, None) for number, body in enumerate(bodies)))


async def held(address: str, row: Row, head: bytes, drip: bytes = b"", every: float = 1.0) -> None:
    """A connection that sends its head, then next to nothing, until the server hangs up or answers."""
    row.sent += 1
    where = urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(head)

    async def dripping() -> None:
        while drip:
            writer.write(drip)
            await asyncio.sleep(every)

    task = asyncio.create_task(dripping())
    try:
        answer = await asyncio.wait_for(reader.read(), 90)
        row.counts["refused" if b"408" in answer[:20] or b"503" in answer[:20] else "hung up"] += 1
    except ConnectionError:
        row.counts["hung up"] += 1
    except TimeoutError:
        row.counts["still open"] += 1
    finally:
        task.cancel()
        writer.close()


async def cut(address: str, row: Row, content: bytes, number: int) -> None:
    """A client that goes away: in the head, in the body, or while it waits."""
    row.sent += 1
    where = urlsplit(address)
    _, writer = await asyncio.open_connection(where.hostname, where.port)
    whole = head(len(content) + 120) + form(content)
    writer.write(whole[: (10, len(whole) // 2, len(whole))[number % 3]])
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()
    row.counts["hung up"] += 1


def head(length: int) -> bytes:
    """The head of a request."""
    return (
        "POST /api/restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def form(content: bytes) -> bytes:
    """Its body."""
    return (
        b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a.jpg"\r\n\r\n' + content + b"\r\n--b--\r\n"
    )


async def timed(rows: list[Row], name: str, run: Callable[[Row], Awaitable[object]]) -> None:
    """Runs a part and says how it went."""
    row = Row(name)
    rows.append(row)
    start = time.perf_counter()
    await run(row)
    row.seconds = time.perf_counter() - start
    others = ", ".join(f"{count} {what}" for what, count in row.counts.items() if what not in ("right", "refused"))
    figures = f"{row.sent:>6}{row.counts['right']:>8}{row.counts['refused']:>9}{row.lost:>6}{row.seconds:>8.1f} s"
    print(f"{name:<44}{figures}  {others}", flush=True)


async def attack(address: str, files: list[Path], expected: dict[str, bytes]) -> list[Row]:
    """All parts, one after the other."""
    rows: list[Row] = []
    limits = httpx.Limits(max_connections=None)
    print(f"{'':<44}{'sent':>6}{'right':>8}{'refused':>9}{'lost':>6}{'time':>10}")
    async with httpx.AsyncClient(base_url=address, timeout=300, limits=limits, trust_env=False) as client:
        some, content = files[:20], files[0].read_bytes()
        await ask(client, Row("warm"), "a.jpg", content, expected[files[0].stem])
        await timed(rows, f"{len(files)} clients at once", lambda row: at_once(client, row, files, expected))
        await timed(rows, "hostile files", lambda row: hostile(client, row, files))

        async def cuts(row: Row) -> None:
            await asyncio.gather(*(cut(address, row, content, number) for number in range(120)))

        await timed(rows, "cut connections", cuts)
        await timed(rows, "20 clients after that", lambda row: at_once(client, row, some, expected))
        row = Row("100 silent and 100 trickling connections")
        begun = time.perf_counter()
        lines = [held(address, row, b"") for _ in range(50)]
        lines += [held(address, row, b"POST /api/restore HTTP/1.1\r\nHost: localh") for _ in range(50)]
        lines += [held(address, row, head(100_000) + form(b"")[:-9], b"-", 1.0) for _ in range(100)]
        waiting = asyncio.gather(*lines)
        await asyncio.sleep(1)
        await timed(rows, "20 clients while 200 connections hang", lambda row: at_once(client, row, some, expected))
        await waiting

        async def there(shown: Row) -> None:
            shown.sent, shown.counts = row.sent, row.counts

        await timed(rows, row.name, there)
        print(f"{'':<44}the last of them was gone after {time.perf_counter() - begun:.0f} s")
        health = (await client.get("/api/health")).json()
        print(f"pictures that still wait: {health['waiting']}")
    return rows


def memory(process: subprocess.Popen[str]) -> str:
    """The most memory that the server itself has held."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return "not known here"
    most = re.search(r"VmHWM:\s+(\d+)", status)
    return f"{int(most[1]) / 1024:.0f} MB" if most else "not known here"


def main() -> None:
    """Server, attack, table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    count = parser.parse_args().clients
    with tempfile.TemporaryDirectory() as place:
        files = pictures(Path(place) / "in", count)
        expected = by_command(Path(place) / "in", Path(place) / "out")
        process, address = started()
        try:
            rows = asyncio.run(attack(address, files, expected))
            print(f"most memory of the server process: {memory(process)}")
        finally:
            process.terminate()
            process.wait(30)
    lost = sum(row.lost for row in rows)
    mixed = sum(row.counts["mixed up"] for row in rows)
    print(f"lost: {lost}, mixed up: {mixed}")
    sys.exit(1 if lost or mixed else 0)


if __name__ == "__main__":
    main()
