"""Clean pictures of other hands for the classifier of `auto`: `python scripts/auto_pictures.py ARCHIVES -o FOLDER`

The training pack comes from few cameras. Packages of themes and wallpapers hold pictures of many more: edited by
photographers, taken with shallow focus, painted, rendered, or of a screen. `auto_pictures.txt` names the packages, by
file name and SHA-256, and the pictures in them that look fine. ARCHIVES is a folder with what `npm pack NAME@VERSION`
(.tgz), `pip download --no-deps --no-binary :all: NAME==VERSION` (.tar.gz) and Debian (.deb) give. The pictures keep
their own licences, and are shrunk until nothing is left of how they were stored. The result is for
`train_auto.py --more FOLDER`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

from PIL import Image

LIST = Path(__file__).with_name("auto_pictures.txt")
SIDE, LARGEST_SHARE = 1200, 0.6
"""The longer side is shrunk to this many pixels, and at least to this share: what JPEG and cameras left goes away."""


def main() -> None:
    """Take the listed pictures out of their archives and store them small."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("archives", type=Path)
    words.add_argument("-o", "--out", type=Path, required=True)
    told = words.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    wanted = listed()
    missing = sorted(name for name, _ in wanted if not (told.archives / name).is_file())
    if missing:
        words.error(f"{told.archives} lacks {', '.join(missing)}: get these packages first")
    for (name, digest), members in wanted.items():
        stored = (told.archives / name).read_bytes()
        if hashlib.sha256(stored).hexdigest() != digest:
            words.error(f"{name} is another file than the one that was listed (SHA-256)")
        with opened(told.archives / name, stored) as archive:
            for member in members:
                file = archive.extractfile(member)
                assert file is not None
                picture = file.read()
                small(picture).save(told.out / f"{hashlib.sha256(picture).hexdigest()[:16]}.png")
    print(f"{sum(map(len, wanted.values()))} pictures in {told.out}")


def listed() -> dict[tuple[str, str], list[str]]:
    """Members by archive, which is a file name and a digest."""
    wanted: dict[tuple[str, str], list[str]] = {}
    members: list[str] = []
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            members.append(line.strip())
        else:
            name, digest = line.split()
            wanted[name, digest] = members = []
    return wanted


def opened(path: Path, stored: bytes) -> tarfile.TarFile:
    """The files of a package."""
    if path.suffix == ".deb":
        stored = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], check=True, capture_output=True).stdout
    return tarfile.open(fileobj=io.BytesIO(stored))


def small(stored: bytes) -> Image.Image:
    """A picture as it is to be learnt from; what it does not cover is white."""
    picture = Image.open(io.BytesIO(stored)).convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    factor = min(LARGEST_SHARE, SIDE / max(picture.size))
    width, height = (round(side * factor) for side in picture.size)
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
