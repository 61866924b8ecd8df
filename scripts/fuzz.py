"""Hostile files: thousands of damaged pictures, weights, recipes and cards through every reader. Prints a table.

    python scripts/fuzz.py [--count 12000] [--seed 0] [--only KIND] [--keep FOLDER]

Whole files of every kind are made here, then damaged: bits flipped, lengths set to extremes, parts cut out, doubled,
moved or taken from another file; checksums are put right again half of the time, so that the damage gets past the
front door. A child process reads them under a memory limit, with a clock (of processor time, since the machine may be
busy), and with Python's audit events watched.

A file may be read or refused with one of undegrade's errors. A loss is: any other exception, a crash, more than 10
seconds, more memory than the cap, a command, a connection, or a file written. Exit status 1 if there is any.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import pickle
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources, util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from undegrade.core.errors import UndegradeError

SECONDS = 10
MAX_PIXELS = 20_000_000
CAP = 1 << 30
"""Bytes that one file may take: 20 megapixels of 16-bit RGBA are 160 MB, and are held a few times over on the way."""
SPAN = 200
"""Files that a child reads before the next one takes over."""


class Payload:
    """Unpickled, it runs a command that makes the file ``it-ran``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch it-ran",)


def scene(channels: int = 3, bits: int = 8, side: int = 48) -> np.ndarray:
    """A small picture of shades and noise."""
    generator = np.random.default_rng(channels * bits)
    ramp = np.linspace(0, 1, side)
    clean = ramp[:, None, None] * ramp[None, :, None] * np.linspace(0.5, 1, channels)
    noisy = (clean + generator.normal(0, 0.05, clean.shape)).clip(0, 1) * (2**bits - 1)
    return noisy.astype(np.uint8 if bits == 8 else np.uint16)


def by_pillow(kind: str, mode: str = "RGB", count: int = 1, **options: Any) -> bytes:
    """A file written by Pillow, of ``count`` frames."""
    first, *rest = [Image.fromarray(np.roll(scene(), 5 * number, 1)).convert(mode) for number in range(count)]
    file = io.BytesIO()
    more = {"save_all": True, "append_images": rest} if rest else {}
    first.save(file, kind, **options, **more)
    return file.getvalue()


def by_us(kind: str, *arrays: np.ndarray) -> bytes:
    """A file written by undegrade."""
    from undegrade.core import encode, image

    return encode.encode([image.to_frame(image.read(array)) for array in arrays], kind)


def told() -> dict[str, Any]:
    """EXIF with an orientation, a place and a sub-directory; a profile; a resolution."""
    from PIL import ImageCms

    exif = Image.Exif()
    exif[274], exif[271], exif[282] = 6, "Maker", 72.0
    exif[0x8769] = {36867: "2020:02:03 04:05:06", 0xA002: 48}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {"exif": exif, "icc_profile": profile}


def torch_files() -> list[bytes]:
    """State dicts in both formats of torch.save, wrapped and bare, and pickles that would run a command."""
    import undegrade

    state = undegrade.create_network("m3snet", "m3snet_w16_d8", width=4).state_dict()
    small = {"a.weight": torch.ones(3, 3), "b": torch.arange(9)}
    found = []
    for content in ({"state_dict": small, "epoch": 3}, {"params": state}, small, {"model": small, "run": Payload()}):
        for new in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=new)
            found.append(file.getvalue())
    return [*found, pickle.dumps({"model": Payload()}), pickle.dumps(Payload(), protocol=0)]


def safetensors_files() -> list[bytes]:
    """Shipped weights with their card inside, and a tiny file."""
    from safetensors.torch import save

    import undegrade
    from undegrade.weights import store

    smallest = min((store.find(name).path for name in undegrade.list_weights()), key=lambda path: path.stat().st_size)
    tiny = {"a.weight": torch.ones(3, 3), "b": torch.arange(9)}
    return [smallest.read_bytes(), save(tiny, {"format": "pt", "undegrade.card": 'id = "x"\nnetwork = "chair"\n'})]


def onnx_files() -> list[bytes]:
    """A small network as the ONNX backend writes it, in both precisions; graphs of a few bytes, one naming a file."""
    from onnx import TensorProto, helper

    from undegrade.graphs import catalog
    from undegrade.graphs._graph import Graph
    from undegrade.networks import catalog as networks

    spec = networks.get("resunet")
    config = spec.configure(None, widths=(4, 4), blocks=(1, 1))
    graph, found = Graph(spec.build(config), spec, config), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        for half in (False, True):
            catalog.get("onnx").write(graph, path, half)
            found.append(path.read_bytes())
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, None, None]) for name in "xy")
    outside = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../../../../etc/passwd")
    nodes = helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Add", ["x", "outside"], ["y"])
    for node, tensors in zip(nodes, ([], [outside]), strict=True):
        found.append(helper.make_model(helper.make_graph([node], "g", [x], [y], tensors)).SerializeToString())
    return found


def texts(package: str, ending: str) -> list[bytes]:
    """The text files of this kind inside the package."""
    folder = resources.files(package)
    return [entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(ending)][:6]


def pictures(content: bytes, path: Path) -> None:
    """Every frame of a picture, restored by nothing, and written again."""
    from undegrade.core import encode, image

    for count, picture in enumerate(image.frames(content, max_pixels=MAX_PIXELS)):
        frame = image.to_frame(picture)
        if count < 2:
            encode.encode([frame], "TIFF")  # the metadata of the file, in another one
            encode.encode([frame], "PNG")


def weights(content: bytes, path: Path) -> None:
    """A network from a file of weights, or from a card whose weights are not there."""
    from undegrade import load_network

    path.write_bytes(content)
    load_network(path)


def graphs(content: bytes, path: Path) -> None:
    """A graph, opened and run as the ONNX backend does with its own."""
    from undegrade.graphs import catalog

    path.write_bytes(content)
    catalog.get("onnx").open(path)(torch.rand(1, 3, 24, 24))


def recipes(content: bytes, path: Path) -> None:
    """A recipe, checked and written out."""
    from undegrade.engine.recipe import Recipe

    path.write_bytes(content)
    Recipe.load(path).to_dict()


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes:
        make: whole files.
        read: what reads them.
        suffix: of their names.
        repair: puts checksums right after damage.
        share: of all the files that are tried.
        needs: packages without which it cannot be tried.
    """

    make: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], None]
    suffix: str
    repair: Callable[[bytes], bytes] | None = None
    share: float = 1.0
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [package for package in self.needs if util.find_spec(package) is None]


def repaired_png(content: bytes) -> bytes:
    """PNG with the checksum of every chunk made right."""
    out, position = bytearray(content[:8]), 8
    while position + 12 <= len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        if position + 12 + length > len(content):
            break
        body = content[position + 4 : position + 8 + length]
        out += content[position : position + 8 + length] + struct.pack(">I", zlib.crc32(body))
        position += 12 + length
    return bytes(out) + content[position:]


def repaired_zip(content: bytes) -> bytes:
    """A zip file of torch whose pickle is damaged inside, with a checksum that fits."""
    try:
        source = zipfile.ZipFile(io.BytesIO(content))
        parts = {entry.filename: source.read(entry) for entry in source.infolist()}
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, EOFError):
        return content
    chance = random.Random(zlib.crc32(content))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name, part in parts.items():
            target.writestr(name, damaged(part, part, chance) if name.endswith("data.pkl") else part)
    return file.getvalue()


KINDS = {
    "PNG": Kind(
        lambda: [
            by_pillow("PNG", **told()),
            by_pillow("PNG", "P"),
            by_pillow("PNG", "LA"),
            by_pillow("PNG", "1"),
            by_pillow("PNG", count=3, duration=50),
            *(by_us("PNG", scene(channels, 16, 24)) for channels in (1, 2, 3, 4)),
        ],
        pictures,
        ".png",
        repaired_png,
        1.5,
    ),
    "JPEG": Kind(
        lambda: [
            by_pillow("JPEG", **told()),
            by_pillow("JPEG", "L", progressive=True),
            by_pillow("JPEG", "CMYK"),
            by_pillow("MPO", count=2),
        ],
        pictures,
        ".jpg",
    ),
    "WebP": Kind(
        lambda: [
            by_pillow("WEBP", **told()),
            by_pillow("WEBP", "RGBA", lossless=True),
            by_pillow("WEBP", count=3, duration=50),
        ],
        pictures,
        ".webp",
    ),
    "TIFF": Kind(
        lambda: [
            by_pillow("TIFF", compression="tiff_lzw"),
            by_pillow("TIFF", "L", count=2),
            by_pillow("TIFF", "CMYK", compression="tiff_adobe_deflate"),
            by_pillow("TIFF", "I;16"),
            by_us("TIFF", scene(3, 16), scene(1, 16, 20)),
            by_us("TIFF", scene(4, 16, 20)),
        ],
        pictures,
        ".tif",
        share=1.5,
    ),
    "AVIF": Kind(lambda: [by_pillow("AVIF", **told()), by_pillow("AVIF", "RGBA", 2)], pictures, ".avif"),
    "GIF": Kind(lambda: [by_pillow("GIF", "P"), by_pillow("GIF", "P", 3, duration=50)], pictures, ".gif"),
    "BMP": Kind(lambda: [by_pillow("BMP"), by_pillow("BMP", "P"), by_pillow("BMP", "1")], pictures, ".bmp"),
    # Whole weights take a second, in which every network is asked whether they are its own.
    "pickle": Kind(torch_files, weights, ".pth", repaired_zip, 0.4),
    "safetensors": Kind(safetensors_files, weights, ".safetensors", share=0.4),
    "recipe": Kind(lambda: texts("undegrade.recipes", ".yaml"), recipes, ".yaml"),
    "card": Kind(lambda: texts("undegrade.weights.cards", ".toml"), weights, ".toml"),
    "ONNX": Kind(onnx_files, graphs, ".onnx", needs=("onnx", "onnxruntime")),
    "ONNX for weights": Kind(onnx_files, weights, ".onnx", share=0.2, needs=("onnx",)),
}


def damaged(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """``content`` after one to six mishaps; ``other`` is a whole file to take parts from."""
    file = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        if not file:
            break
        # Most of what decides stands at the front.
        place = min(int(len(file) * chance.random() ** chance.choice((1, 4))), len(file) - 1)
        length = chance.choice((1, 2, 4, 8, 64, 1024))
        match chance.randrange(9):
            case 0:
                file[place] ^= 1 << chance.randrange(8)
            case 1:
                file[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            case 2:
                number = chance.choice((0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 20))
                file[place : place + 4] = struct.pack(chance.choice("<>") + "I", number)
            case 3:
                del file[place:]
            case 4:
                del file[place : place + length]
            case 5:
                file[place:place] = file[place : place + length]
            case 6:
                file[place:place] = chance.randbytes(length)
            case 7:
                start = chance.randrange(len(other))
                file[place : place + length] = other[start : start + length]
            case 8:
                start = chance.randrange(len(file))
                file[place : place + length], file[start : start + length] = (
                    file[start : start + length],
                    file[place : place + length],
                )
    return bytes(file)


def files(kind: Kind, count: int, seed: int) -> Iterator[bytes]:
    """``count`` damaged files, the same for the same seed."""
    whole, chance = kind.make(), random.Random(seed)
    for number in range(count):
        content = damaged(whole[number % len(whole)], chance.choice(whole), chance)
        yield kind.repair(content) if kind.repair and number % 2 else content


@dataclass
class Tally:
    """What became of the files of one kind.

    Attributes:
        counts: ``read``, ``refused``, and the losses by name.
        losses: one line for each loss.
        slowest: seconds.
        largest: bytes of memory.
    """

    counts: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0

    def add(self, number: int, verdict: str, seconds: float, memory: int, words: str) -> None:
        """One file."""
        if verdict in ("read", "refused") and memory > CAP:
            verdict, words = "memory", f"{memory >> 20} MB"
        self.counts[verdict] += 1
        self.slowest, self.largest = max(self.slowest, seconds), max(self.largest, memory)
        if verdict not in ("read", "refused"):
            self.losses.append(f"{number}: {verdict}: {words}")

    def row(self, name: str) -> str:
        """As a row of the table."""
        tried = sum(self.counts.values())
        read, refused = self.counts["read"], self.counts["refused"]
        return (
            f"| {name} | {tried} | {read} | {refused} | {len(self.losses)} | {self.slowest:.1f} s "
            f"| {self.largest >> 20} MB |"
        )


def fuzz(name: str, count: int, seed: int, folder: Path, keep: Path | None = None) -> Tally:
    """Reads ``count`` damaged files of a kind in children of this process."""
    kind, tally, batch = KINDS[name], Tally(), list[tuple[int, bytes]]()
    torch.set_num_threads(1)
    with suppress(Exception):  # what the reader imports: children begin with it, and no file is charged for it
        kind.read(kind.make()[0], folder / f"first{kind.suffix}")
    for entry in enumerate(files(kind, count, seed)):
        batch.append(entry)
        if len(batch) == SPAN:
            _read(kind, batch, folder, tally, keep)
            batch = []
    _read(kind, batch, folder, tally, keep)
    return tally


def _read(kind: Kind, batch: list[tuple[int, bytes]], folder: Path, tally: Tally, keep: Path | None) -> None:
    context = multiprocessing.get_context("fork")
    while batch:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(kind, batch, folder, theirs))
        child.start()
        theirs.close()
        done, before = 0, len(tally.losses)
        with suppress(EOFError):
            while done < len(batch) and _answers(ours, child.pid or 0):
                tally.add(*ours.recv())
                done += 1
        if done < len(batch):
            child.join(0.1)
            hangs = child.is_alive()
            child.kill()
            words = f"longer than {SECONDS} s" if hangs else f"the process ended with {child.exitcode}"
            tally.add(batch[done][0], "hang" if hangs else "crash", 0.0, 0, words)
            done += 1
        child.join()
        for line in tally.losses[before:]:
            number = int(line.split(":")[0])
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{number}{kind.suffix}").write_bytes(dict(batch)[number])
        batch = batch[done:]


def _answers(pipe: Any, child: int) -> bool:
    """Whether the child says something before it has computed, or slept, for too long."""
    before, start = _cpu(child), time.monotonic()
    while not pipe.poll(0.5):
        # The machine may be busy with other things: what counts is the time that the child itself got.
        if _cpu(child) - before > SECONDS or time.monotonic() - start > 30 * SECONDS:
            return False
    return True


def _cpu(child: int) -> float:
    """Seconds of processor time of a process."""
    try:
        words = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _child(kind: Kind, batch: list[tuple[int, bytes]], folder: Path, pipe: Any) -> None:
    torch.set_num_threads(1)  # threads that the parent has started do not survive a fork: waiting for them never ends
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries talk about damaged files
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2 * CAP,) * 2)
    seen: list[str] = []
    own = folder / f"{os.getpid()}{kind.suffix}"
    reading: list[bool] = []
    sys.addaudithook(lambda event, arguments: reading and _watch(event, arguments, own, seen))
    warnings.simplefilter("ignore")
    for number, content in batch:
        before, start = _high_water(reset=True), time.process_time()
        reading.append(True)
        try:
            kind.read(content, own)
            verdict, words = "read", ""
        except UndegradeError as error:
            verdict, words = "refused", str(error)
            if "\n" in words:
                verdict = "two lines"
        except BaseException as error:  # that is what is looked for
            verdict, words = "exception", f"{type(error).__name__}: {error}"
        reading.clear()
        if seen or Path("it-ran").exists():
            verdict, words = "action", "; ".join(seen) or "a command was run"
            seen.clear()
            Path("it-ran").unlink(missing_ok=True)
        pipe.send((number, verdict, time.process_time() - start, _high_water() - before, words[:200]))
    own.unlink(missing_ok=True)
    os._exit(0)


FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect", "pty.spawn")


def _watch(event: str, arguments: tuple[Any, ...], own: Path, seen: list[str]) -> None:
    if event == "os.mkdir" and "torchinductor" in str(arguments[0]):
        return  # torch's own cache, made when a part of it is first imported, whatever the file
    if event in FORBIDDEN or event in ("os.mkdir", "os.remove", "os.rename", "os.symlink", "os.link"):
        seen.append(f"{event} {arguments}"[:100])
    elif event == "open" and isinstance(arguments[0], str | bytes | Path):
        path, mode, flags = arguments
        writes = any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        if writes and Path(os.fsdecode(path)) not in (own, Path("/dev/null")):
            seen.append(f"writes {path}")


def _high_water(*, reset: bool = False) -> int:
    """The most memory that this process has held since the last reset, in bytes."""
    if reset:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def main() -> int:
    """Reads everything and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=12000, help="files in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS))
    parser.add_argument("--keep", type=Path, help="folder for the files that were losses")
    wish = parser.parse_args()
    chosen = {name: kind for name, kind in KINDS.items() if wish.only in (None, name)}
    for name, missing in [(name, kind.missing()) for name, kind in chosen.items()]:
        if missing:
            print(f"{name}: not tried, for want of {' and '.join(missing)}", file=sys.stderr)
            del chosen[name]
    unit = wish.count / sum(kind.share for kind in chosen.values())
    total, lost, tries = Counter[str](), list[str](), 0
    print("| kind | tried | read | refused | losses | slowest | most memory |\n" + "| --- " * 7 + "|")
    for name, kind in chosen.items():
        with tempfile.TemporaryDirectory() as scratch:
            keep = wish.keep / name if wish.keep else None
            tally = fuzz(name, round(kind.share * unit), wish.seed, Path(scratch), keep)
        print(tally.row(name), flush=True)
        lost += [f"{name} {line}" for line in tally.losses]
        total += tally.counts
        tries += sum(tally.counts.values())
    print(f"| all | {tries} | {total['read']} | {total['refused']} | {len(lost)} | | |")
    print(*lost[:40], sep="\n", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
