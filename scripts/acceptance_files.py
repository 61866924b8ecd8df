"""Restore awkward picture files with `undegrade restore`, and print what came out, how long it took, and the memory.

    python scripts/acceptance_files.py [--weights NAME_OR_FILE] [--megapixels 40] [--only PART_OF_NAME] [--keep FOLDER]

Makes the files itself: deep, grey, tiny, thin, large, turned, animated, damaged. Exit status 1 if anything is not as
expected: another kind of picture than went in, a crash instead of one line, or more than 4 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from undegrade.core import image, png16

LIMIT_MB = 4096
MORTAL = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
"""In front of a command: root without the rights to read everything, so that a folder can be unreadable."""


@dataclass
class Case:
    """One call of the program.

    Attributes:
        name: of the input.
        make: writes the input into a folder and returns its path.
        expect: (height, width, channels, bits) of the result, or the words that the error has to hold.
        options: further words on the command line.
        small_disk: the output lies on a file system of 16 KB.
        mortal: run without root's right to read everything.
    """

    name: str
    make: Callable[[Path], Path]
    expect: tuple[int, int, int, int] | str
    options: list[str] = field(default_factory=list)
    small_disk: bool = False
    mortal: bool = False


def scene(height: int, width: int, channels: int = 3, bits: int = 8) -> np.ndarray:
    """A smooth picture with edges and noise of sigma 20, made row by row to keep the memory low."""
    generator = np.random.default_rng(0)
    top = 2**bits - 1
    picture = np.empty((height, width, channels), np.uint8 if bits == 8 else np.uint16)
    x = np.arange(width)[:, None] / 40 + np.arange(channels)
    for y in range(height):
        clean = 0.5 + 0.25 * np.sin(x + y / 60) + 0.2 * ((x * 40 // 64 + y // 64) % 2 - 0.5)
        noisy = clean + generator.normal(0, 20 / 255, clean.shape)
        picture[y] = np.rint(noisy.clip(0, 1) * top)
    if channels in (2, 4):
        picture[..., -1] = np.linspace(0, top, width)
    return picture


def saved(name: str, array: np.ndarray) -> Callable[[Path], Path]:
    """A maker of a file that holds ``array``."""

    def make(folder: Path) -> Path:
        image.save(image.read(array), folder / name)
        return folder / name

    return make


def pil(name: str, mode: str, **options: object) -> Callable[[Path], Path]:
    """A maker of a file in a PIL mode."""

    def make(folder: Path) -> Path:
        Image.fromarray(scene(120, 160)).convert(mode).save(folder / name, **options)
        return folder / name

    return make


def phone(folder: Path) -> Path:
    """A photograph that is stored lying on its side, with a colour profile and a date."""
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Maker"
    exif[0x8769] = {36867: "2020:02:03 04:05:06"}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(scene(120, 160)).save(folder / "phone.jpg", exif=exif, icc_profile=profile, quality=90)
    return folder / "phone.jpg"


def large(pixels: float) -> Callable[[Path], Path]:
    """A maker of a large JPEG in the proportions 4:3."""

    def make(folder: Path) -> Path:
        Image.fromarray(scene(*large_size(pixels))).save(folder / "large.jpg", quality=90)
        return folder / "large.jpg"

    return make


def large_size(pixels: float) -> tuple[int, int]:
    """Height and width."""
    height = round((pixels * 0.75) ** 0.5)
    return height, round(pixels / height)


def animated(folder: Path) -> Path:
    """A GIF of three frames."""
    first, *rest = [Image.fromarray(np.roll(scene(60, 80), 9 * index, 1)) for index in range(3)]
    first.save(folder / "animated.gif", save_all=True, append_images=rest, duration=100)
    return folder / "animated.gif"


def pages(folder: Path) -> Path:
    """A 16-bit TIFF of two pages of different size."""
    image.save([image.read(scene(40, 50, bits=16)), image.read(scene(60, 30, bits=16))], folder / "pages.tif")
    return folder / "pages.tif"


def truncated(folder: Path) -> Path:
    """The first half of a JPEG."""
    path = pil("truncated.jpg", "RGB")(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def text(folder: Path) -> Path:
    """Words in a file that is named like a picture."""
    (folder / "text.png").write_text("This is no picture.\n")
    return folder / "text.png"


def bomb(folder: Path) -> Path:
    """A few bytes that claim to be 10 gigapixels."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(10_000_000))),
        (b"IEND", b""),
    ]
    packed = [struct.pack(">I", len(b)) + a + b + struct.pack(">I", zlib.crc32(a + b)) for a, b in chunks]
    (folder / "bomb.png").write_bytes(png16.SIGNATURE + b"".join(packed))
    return folder / "bomb.png"


def unreadable(folder: Path) -> Path:
    """A folder without rights."""
    (folder / "unreadable").mkdir(mode=0)
    return folder / "unreadable"


def mixture(folder: Path) -> Path:
    """A folder of good and bad files."""
    inside = folder / "mixture"
    inside.mkdir()
    for make in (text, truncated, bomb, phone, pil("grey.png", "L")):
        make(inside)
    return inside


def cases(megapixels: float) -> list[Case]:
    """All of them, the large one last."""
    return [
        Case("16-bit RGBA TIFF", saved("rgba16.tif", scene(120, 160, 4, 16)), (120, 160, 4, 16), ["--keep-format"]),
        Case("16-bit RGBA TIFF to PNG", saved("rgba16.tif", scene(120, 160, 4, 16)), (120, 160, 4, 16)),
        Case("16-bit grey PNG", saved("grey16.png", scene(120, 160, 1, 16)), (120, 160, 1, 16)),
        Case("1-bit PNG", pil("one_bit.png", "1"), (120, 160, 1, 8)),
        Case("palette PNG", pil("palette.png", "P"), (120, 160, 3, 8)),
        Case("grey and alpha PNG", saved("grey_alpha.png", scene(120, 160, 2)), (120, 160, 2, 8)),
        Case("CMYK JPEG", pil("cmyk.jpg", "CMYK"), (120, 160, 3, 8)),
        Case("turned phone JPEG with ICC", phone, (160, 120, 3, 8), ["--keep-format"]),
        Case("1x1", saved("one.png", scene(1, 1)), (1, 1, 3, 8)),
        Case("3x5000", saved("thin.png", scene(5000, 3)), (5000, 3, 3, 8)),
        Case("animated GIF", animated, (60, 80, 3, 8)),
        Case("16-bit TIFF of two pages", pages, (40, 50, 3, 16)),
        Case("truncated JPEG", truncated, "truncated"),
        Case("text named .png", text, "not a picture"),
        Case("decompression bomb", bomb, "megapixels"),
        Case("unreadable folder", unreadable, "cannot be read", mortal=True),
        Case("full disk", saved("full.png", scene(400, 600)), "cannot be written", small_disk=True),
        Case("good and bad in one folder", mixture, "not a picture"),
        Case(f"{megapixels:g} megapixels", large(megapixels * 1e6), (*large_size(megapixels * 1e6), 3, 8)),
    ]


def run(case: Case, folder: Path, weights: list[str]) -> tuple[bool, list[str]]:
    """Whether all is as expected, and a row of the table."""
    source, output = case.make(folder), folder / "out"
    output.mkdir()
    mounted = case.small_disk and _mount(output)
    words = MORTAL if case.mortal and os.geteuid() == 0 else []
    words = [*words, sys.executable, "-m", "undegrade", "restore", str(source), "-o", str(output), "--json", "-"]
    start = time.perf_counter()
    with (
        ThreadPoolExecutor(1) as reader,
        subprocess.Popen(
            [*words, *case.options, *weights],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"HOME": str(folder)},
        ) as process,
    ):
        if case.small_disk and not mounted:  # then at least no file can grow beyond 16 KB
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (16384, 16384))
        assert process.stdout is not None
        assert process.stderr is not None
        # Both at once, or a full pipe stops the program; communicate() would, but asks nobody for the memory.
        beside = reader.submit(process.stderr.read)
        told, errors = process.stdout.read(), beside.result()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds, peak = time.perf_counter() - start, used.ru_maxrss / 1024
    fine, result = _judged(case, process.returncode, told, errors)
    if mounted:
        subprocess.run(["umount", str(output)], check=True)
    if source.is_dir():
        source.chmod(0o755)
    fine = fine and peak < LIMIT_MB
    return fine, [
        case.name,
        str(process.returncode),
        result,
        f"{seconds:.1f} s",
        f"{peak:.0f} MB",
        "" if fine else "!!",
    ]


def _judged(case: Case, status: int, told: str, errors: str) -> tuple[bool, str]:
    lines = errors.splitlines()
    if isinstance(case.expect, str):
        failed = [line for line in lines if case.expect in line]
        done = json.loads(told)["done"] if told else -1
        fine = status == 1 and len(failed) == 1 and "Traceback" not in errors
        return fine, f"{done} done; {failed[0] if failed else errors}"
    if status != 0:
        return False, errors
    path = json.loads(told)["results"][0]["output"]
    first = next(image.frames(path))
    channels = first.pixels.shape[0] + (first.alpha is not None)
    found = (*first.size, channels, 16 if first.dtype == "uint16" else 8)
    upright = b"Orientation" not in first.metadata.xmp
    text = (
        f"{Path(path).name}: {found[1]}x{found[0]}, {channels} channels, {found[3]} bits, {first.metadata.frames} fr."
    )
    return found == case.expect and upright, text


def _mount(place: Path) -> bool:
    """A file system of 16 KB there, if we may."""
    words = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Runs all cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="a name or a file; default: those of denoising")
    parser.add_argument("--megapixels", type=float, default=40, help="of the large picture")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--keep", type=Path, help="folder for inputs and results")
    wanted = parser.parse_args()
    weights = ["--weights", wanted.weights] if wanted.weights else []
    good = True
    with tempfile.TemporaryDirectory() as scratch:
        for number, case in enumerate(cases(wanted.megapixels)):
            if wanted.only in case.name:
                folder = (wanted.keep or Path(scratch)) / f"{number:02}"
                folder.mkdir(parents=True)
                fine, row = run(case, folder, weights)
                good = good and fine
                print("| " + " | ".join(row) + " |", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
