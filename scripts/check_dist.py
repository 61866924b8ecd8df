"""Builds wheel and sdist and tries them in an empty environment: `python scripts/check_dist.py` (`make dist`).

It gets the wheel, then its extras, then the sdist in its place, from the package index that pip is set up with (or only
what ``--find-links`` holds), within constraints.txt. Every command must start, every task must restore a made picture,
and `undegrade doctor` must tell of an extra how to install it, and once that is done, that it is there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIGHT = ("cv", "heif", "video", "report", "hub")
"""Extras that are small enough to be tried every time."""

TRY = """
from contextlib import redirect_stdout
from io import StringIO
import numpy as np
import undegrade
from undegrade import cli

assert "site-packages" in undegrade.__file__, undegrade.__file__
picture = np.random.default_rng(0).integers(0, 255, (40, 52, 3), np.uint8)
for task in filter(lambda name: undegrade.list_weights(task=name), undegrade.list_tasks()):
    wish = {"pattern": "RGGB"} if task == "demosaicing" else {}
    given = picture[..., 0] if task == "demosaicing" else picture
    restored = undegrade.restore(given, task=task, **wish)
    print(f"{task:<22}{given.shape} -> {restored.shape}")
for name in cli.commands.names():
    with redirect_stdout(StringIO()):
        assert cli.run([name, "--help"]) == 0, name
print(len(undegrade.list_weights()), "weights,", undegrade.__version__)
"""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> list[Path]:
    """The wheel, made from the sdist, and the sdist."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return [next(folder.glob("undegrade-*.whl")), next(folder.glob("undegrade-*.tar.gz"))]


def try_out(wheel: Path, sdist: Path, extras: tuple[str, ...], settings: list[str]) -> None:
    """Installs the wheel into an empty environment and uses it, then with its extras, then the sdist in its place."""
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        python = Path(place) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *settings]
        pip += ["--constraint", ROOT / "constraints.txt"]
        run(*pip, wheel)
        print(f"\n{wheel.name}\n{run(python, '-c', TRY, cwd=Path(place))}", end="", flush=True)
        for extra in extras:
            print(f"extra {extra}: before {_answer(python, extra)}", end="", flush=True)
            run(*pip, f"undegrade[{extra}] @ {wheel.as_uri()}")
            print(f", after {_answer(python, extra)}", flush=True)
            assert _answer(python, extra) == "installed", extra
        # Built with hatchling from here: an isolated build would fetch one of its own.
        run(*pip, "hatchling")
        run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "undegrade")
        run(*pip, "--no-build-isolation", "--no-deps", sdist)
        print(f"\n{sdist.name}\n{run(python, '-c', TRY, cwd=Path(place))}", end="", flush=True)


def _answer(python: Path, extra: str) -> str:
    """What the doctor there says of an extra: ``installed``, or the line that installs it."""
    said = json.loads(run(python, "-m", "undegrade", "doctor", "--json"))["extras"][extra]
    return "installed" if said["installed"] else str(said["install"])


def main() -> None:
    """Both files; fails loudly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", default=",".join(LIGHT), help="tried in the wheel's environment; may be empty")
    parser.add_argument("--find-links", help="folder with wheels, instead of an index")
    given = parser.parse_args()
    settings = ["--no-index", "--find-links", given.find_links] if given.find_links else []
    dist = ROOT / "dist"
    dist.mkdir(exist_ok=True)
    for old in [*dist.glob("undegrade-*.whl"), *dist.glob("undegrade-*.tar.gz")]:
        old.unlink()
    wheel, sdist = build(dist)
    try_out(wheel, sdist, tuple(filter(None, given.extras.split(","))), settings)


if __name__ == "__main__":
    main()
