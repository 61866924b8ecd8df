"""Faults while folders are restored: kills, full disks, vanished files, broken weights. Prints a table of losses.

    python scripts/faults.py [--pictures 500] [--kills 20] [--seed 0] [--only PART_OF_NAME]

Every case calls the program as a user does and looks at what lies on the disk afterwards. A loss is a picture that is
missing, half written, different from the result of an undisturbed run, or published twice, and a hidden file that
stays. Exit status 1 if there is any. Some cases need Linux; those that need root to make a small disk or to give up
root's rights say so when they cannot be tried.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from undegrade import list_weights
from undegrade.weights import store

MORTAL = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
"""In front of a command: root without the rights to read and write everything."""
PROGRAM = [sys.executable, "-m", "undegrade", "restore"]
TASK = ["-t", "denoise", "--device", "cpu"]


@dataclass(frozen=True)
class Result:
    """A row of the table: how often something was tried, the losses, and what was seen."""

    tried: int
    losses: int
    seen: str


class Bench:
    """The scratch folder of one case, and what is done in it."""

    def __init__(self, folder: Path, random: random.Random, pictures: int, kills: int) -> None:
        self.folder, self.random, self.pictures, self.kills = folder, random, pictures, kills
        self.inputs, self.output = folder / "in", folder / "out"

    def make(self, count: int, side: int = 40) -> None:
        """``count`` noisy pictures, each different, in folders of a hundred."""
        generator = np.random.default_rng(1)
        y, x = np.mgrid[:side, :side][..., None] / 9
        for number in range(count):
            clean = 128 + 70 * np.sin(x + y / 3 + number + np.arange(3))
            noisy = (clean + generator.normal(0, 20, clean.shape)).clip(0, 255).astype(np.uint8)
            path = self.inputs / f"{number // 100}" / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy).save(path)

    def words(self, *more: str, output: Path | None = None) -> list[str]:
        """The command line of a run over all pictures."""
        return [*PROGRAM, str(self.inputs), "-r", "-o", str(output or self.output), *TASK, *more]

    def run(self, words: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        """A run to its end."""
        return subprocess.run(words, capture_output=True, text=True, check=False, env=self.env(), **options)

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        """A run in a process group of its own."""
        return subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.env(), start_new_session=True
        )

    def env(self) -> dict[str, str]:
        """One thread: the pictures are small."""
        return os.environ | {"OMP_NUM_THREADS": "1", "UNDEGRADE_HOME": str(self.folder / "home")}

    def reference(self) -> dict[str, str]:
        """Name -> SHA-256 of what an undisturbed run writes."""
        place = self.folder / "reference"
        done = self.run(self.words(output=place))
        assert done.returncode == 0, done.stderr
        return hashes(place)

    def wait(self, process: subprocess.Popen[str], count: int) -> None:
        """Until there are so many results, or the process has ended."""
        while process.poll() is None and len(visible(self.output)) < count:
            time.sleep(0.02)


def visible(folder: Path) -> dict[str, Path]:
    """The results that a user sees."""
    return {
        str(path.relative_to(folder)): path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def hidden(folder: Path) -> int:
    """Unfinished files."""
    return sum(path.name.startswith(".") for path in folder.rglob("*"))


def hashes(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of every result."""
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in visible(folder).items()}


def wrong(found: dict[str, str], expected: dict[str, str]) -> int:
    """Results that are half written or of another content."""
    return sum(expected.get(name) != digest for name, digest in found.items())


def kills(bench: Bench) -> Result:
    """SIGKILL at random moments; every other time the child dies with its parent, else it is left behind."""
    bench.make(bench.pictures)
    expected, losses, published = bench.reference(), 0, dict[str, tuple[int, int]]()
    words = bench.words("--manifest", str(bench.folder / "m.db"))
    amid = killed = 0
    while killed < bench.kills:
        process = bench.start(words)
        before, share = len(visible(bench.output)), bench.pictures // (bench.kills + 2)
        if bench.random.random() < 0.8:  # while it works; otherwise while it starts
            bench.wait(process, before + bench.random.randint(1, max(1, share)))
        time.sleep(bench.random.random() * (0.3 if len(visible(bench.output)) > before else 3))
        if process.poll() is not None:  # done, or something is wrong: the last run will tell
            process.communicate()
            break
        (os.killpg if killed % 2 else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
        killed += 1
        amid += len(visible(bench.output)) > before
        losses += wrong(hashes(bench.output), expected)
        for name, path in visible(bench.output).items():
            now = (path.stat().st_ino, path.stat().st_mtime_ns)
            losses += published.setdefault(name, now) != now  # written again: published twice
    last = bench.run(words)
    found = hashes(bench.output)
    losses += wrong(found, expected) + len(set(expected) - set(found)) + hidden(bench.output)
    losses += last.returncode != 0
    for name, (inode, changed) in published.items():
        stat = (bench.output / name).stat()
        losses += (stat.st_ino, stat.st_mtime_ns) != (inode, changed)
    seen = f"{len(found)} of {len(expected)} pictures, each once; {amid} kills amid the work"
    return Result(killed, losses, seen if last.returncode == 0 else last.stderr[-300:])


def dead_children(bench: Bench) -> Result:
    """The restoring child is killed, as the kernel does when memory runs out; the parent lives."""
    bench.make(60)
    expected, tried = bench.reference(), 0
    process = bench.start(bench.words("--manifest", str(bench.folder / "m.db")))
    for _ in range(5):
        bench.wait(process, len(visible(bench.output)) + 5)
        time.sleep(bench.random.random() * 0.2)
        for child in workers(process.pid):
            os.kill(child, signal.SIGKILL)
            tried += 1
            break
    errors = process.communicate()[1]
    found = hashes(bench.output)
    losses = wrong(found, expected) + len(set(expected) - set(found)) + hidden(bench.output) + (process.returncode != 0)
    told = sum("memory ran out" in line for line in errors.splitlines())
    return Result(tried, losses, f"{len(found)} of {len(expected)} pictures; {told} times told")


def workers(parent: int) -> list[int]:
    """The processes that restore: those below ``parent`` that would be taken first when memory runs out."""
    found, below = [], [parent]
    while below:
        one = below.pop()
        try:
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
            if one != parent and Path(f"/proc/{one}/oom_score_adj").read_text().strip() == "500":
                found.append(one)
        except OSError:
            continue
        below += [int(child) for child in children]
    return found


def memory_cap(bench: Bench) -> Result:
    """The child is killed as soon as it holds more than three quarters of what the pictures take whole."""
    bench.make(2, side=900)
    whole = watched(bench.start(bench.words("--engine", "isolated", output=bench.folder / "reference")))[0]
    cap = whole * 3 // 4
    process = bench.start(bench.words("--engine", "isolated"))
    return smaller(bench, process, watched(process, cap)[1], f"{whole >> 20} MB whole, {cap >> 20} allowed")


def kernel_kill(bench: Bench) -> Result:
    """The kernel's own kill: parent and child in a control group that may hold less than the pictures take whole."""
    bench.make(2, side=900)
    words, group = bench.words("--engine", "isolated", output=bench.folder / "reference"), MemoryGroup(bench.folder)
    if not group.made:
        return Result(0, 0, "not tried: no control group of memory can be made here")
    with group:
        process = bench.start([*group.words, *words])
        process.communicate()
        whole = group.most()
        group.limit(cap := whole * 3 // 4)
        process = bench.start([*group.words, *bench.words("--engine", "isolated")])
        process.wait()
        tried = group.kills()
    return smaller(bench, process, tried, f"{whole >> 20} MB whole, {cap >> 20} allowed")


def smaller(bench: Bench, process: subprocess.Popen[str], tried: int, figures: str) -> Result:
    """What two pictures became whose process was killed ``tried`` times: they are done with smaller tiles."""
    told = sum("done again with smaller tiles" in line for line in process.communicate()[1].splitlines())
    apart = [difference(path, bench.folder / "reference" / name) for name, path in visible(bench.output).items()]
    losses = abs(2 - len(apart)) + sum(levels > 2 for levels in apart) + hidden(bench.output)
    losses += (process.returncode != 0) + (tried == 0) + (told == 0)
    return Result(tried, losses, f"{len(apart)} of 2 pictures, {max(apart, default=0)} levels apart at most; {figures}")


class MemoryGroup:
    """A control group (Linux, version 1 or 2) that bounds the memory of the processes started by ``words``."""

    def __init__(self, scratch: Path) -> None:
        self._old = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists()
        self._place = Path("/sys/fs/cgroup", "memory" if self._old else "", scratch.name)
        with suppress(OSError):
            self._place.mkdir()
        self.made = (self._place / ("memory.limit_in_bytes" if self._old else "memory.max")).exists()
        self.words = ["sh", "-c", f'echo $$ > {self._place}/cgroup.procs; exec "$@"', "sh"]

    def __enter__(self) -> MemoryGroup:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._place.rmdir()

    def limit(self, size: int) -> None:
        """No more than ``size`` bytes from now on."""
        (self._place / ("memory.limit_in_bytes" if self._old else "memory.max")).write_text(str(size))

    def most(self) -> int:
        """The most bytes that were held at once."""
        return int((self._place / ("memory.max_usage_in_bytes" if self._old else "memory.peak")).read_text())

    def kills(self) -> int:
        """How many processes the kernel has killed."""
        lines = (self._place / ("memory.oom_control" if self._old else "memory.events")).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def watched(process: subprocess.Popen[str], cap: int = 1 << 50) -> tuple[int, int]:
    """Kills the children that hold more bytes than ``cap``: (the most that one held, how many were killed)."""
    most = killed = 0
    while process.poll() is None:
        for child in workers(process.pid):
            with suppress(OSError, IndexError):
                held = int(Path(f"/proc/{child}/statm").read_text().split()[1]) * resource.getpagesize()
                if held > cap:
                    os.kill(child, signal.SIGKILL)
                    killed += 1
                most = max(most, held)
        time.sleep(0.01)
    return most, killed


def difference(one: Path, other: Path) -> int:
    """The largest between two pictures, in levels of 255."""
    a, b = (np.asarray(Image.open(path)).astype(int) for path in (one, other))
    return int(abs(a - b).max())


def ctrl_c(bench: Bench) -> Result:
    """Ctrl-C: status 130, what is left is counted right, nothing is half written; with and without a manifest."""
    bench.make(60)
    expected, losses, told = bench.reference(), 0, ""
    for number in range(6):
        shutil.rmtree(bench.output, ignore_errors=True)
        more = ["--manifest", str(bench.folder / f"{number}.db")] if number % 2 else []
        process = bench.start(bench.words(*more))
        bench.wait(process, bench.random.randint(1, 20))
        os.killpg(process.pid, signal.SIGINT)
        errors = process.communicate()[1]
        found = hashes(bench.output)
        lines = [line for line in errors.splitlines() if "not restored" in line]
        losses += wrong(found, expected) + hidden(bench.output) + (process.returncode != 130)
        losses += len(lines) != 1 or f"and {60 - len(found) - 3} more" not in lines[0] or "Traceback" in errors
        told = lines[0] if lines else errors
    return Result(6, losses, told)


def full_disk(bench: Bench) -> Result:
    """A disk of 40 KB: the files that fit are whole, the others are told, and done once there is room."""
    bench.make(30)
    expected = bench.reference()
    bench.output.mkdir()
    if not mounted(bench.output, "size=40k"):
        return Result(0, 0, "not tried: mounting is not allowed here")
    manifest = ["--manifest", str(bench.folder / "m.db")]
    try:
        first = bench.run(bench.words(*manifest))
        found = hashes(bench.output)
        losses = wrong(found, expected) + hidden(bench.output) + (first.returncode != 1)
        told = sum("No space left" in line for line in first.stderr.splitlines())
        losses += told + len(found) != 30
        subprocess.run(["mount", "-o", "remount,size=4m", str(bench.output)], check=True)
        second = bench.run(bench.words(*manifest, "--retry-failed"))
        found = hashes(bench.output)
        losses += wrong(found, expected) + len(set(expected) - set(found)) + (second.returncode != 0)
    finally:
        subprocess.run(["umount", str(bench.output)], check=True)
    return Result(30, losses, f"{told} told as not written; all there after --retry-failed")


def read_only(bench: Bench) -> Result:
    """An output folder that cannot be written."""
    bench.make(5)
    bench.output.mkdir(mode=0o555)
    if not mortal():
        return Result(0, 0, "not tried: the rights of root cannot be given up here")
    done = bench.run([*mortal_words(), *bench.words()])
    told = sum("Permission denied" in line for line in done.stderr.splitlines())
    return Result(5, 5 - told + (done.returncode != 1) + ("Traceback" in done.stderr), f"{told} of 5 told")


def unreadable(bench: Bench) -> Result:
    """Inputs and a folder that may not be read."""
    bench.make(5)
    for name in ("0001", "0003"):
        (bench.inputs / f"0/{name}.png").chmod(0)
    (bench.inputs / "shut").mkdir(mode=0)
    if not mortal():
        return Result(0, 0, "not tried: the rights of root cannot be given up here")
    done = bench.run([*mortal_words(), *bench.words()])
    told = sum("Permission denied" in line for line in done.stderr.splitlines())
    (bench.inputs / "shut").chmod(0o755)
    losses = abs(3 - told) + (len(visible(bench.output)) != 3) + (done.returncode != 1)
    return Result(3, losses, f"{told} of 3 told; {len(visible(bench.output))} of 3 readable pictures done")


def vanished(bench: Bench) -> Result:
    """Inputs that go away while the run is on its way."""
    bench.make(60)
    expected = bench.reference()
    process = bench.start(bench.words())
    bench.wait(process, 3)
    gone = [bench.inputs / f"0/{number:04}.png" for number in range(40, 60)]
    for path in gone:
        path.unlink()
    errors = process.communicate()[1]
    found = hashes(bench.output)
    told = sum("there is no such file" in line for line in errors.splitlines())
    losses = wrong(found, expected) + hidden(bench.output) + abs(60 - told - len(found)) + (process.returncode != 1)
    return Result(len(gone), losses, f"{told} told, {len(found)} done")


def weights(bench: Bench) -> Result:
    """Weights with a flipped bit at 20 places, and cut off: refused before any picture is written."""
    bench.make(1)
    name = next(name for name in list_weights() if store.find(name).card.task == "denoising")
    known = store.find(name)
    home = bench.folder / "home/weights"
    home.mkdir(parents=True)
    (home / f"{name}.toml").write_text(known.card.to_toml())
    content, losses = known.path.read_bytes(), 0
    for number in range(21):
        broken = bytearray(content)
        if number:
            broken[bench.random.randrange(len(broken))] ^= 1 << bench.random.randrange(8)
        else:
            broken = broken[: len(broken) // 2]
        (home / known.card.file).write_bytes(broken)
        done = bench.run([*bench.words("-w", name)])
        losses += done.returncode != 1 or "SHA-256" not in done.stderr or bool(visible(bench.output))
    return Result(21, losses, done.stderr.strip().replace(str(bench.folder), "...")[:90])


def records(bench: Bench) -> Result:
    """A manifest that is overwritten with nonsense, cut off, or in use: told in one line, nothing is restored twice."""
    bench.make(3)
    path, losses = bench.folder / "m.db", 0
    bench.run(bench.words("--manifest", str(path)))
    before = {name: found.stat().st_mtime_ns for name, found in visible(bench.output).items()}
    content = path.read_bytes()
    for broken in (b"nonsense" * 4096, content[:512], content[: len(content) // 2]):
        path.write_bytes(broken)
        done = bench.run(bench.words("--manifest", str(path)))
        losses += done.returncode not in (1, 2) or len(done.stderr.splitlines()) != 1
        losses += before != {name: found.stat().st_mtime_ns for name, found in visible(bench.output).items()}
    return Result(3, losses, done.stderr.strip().replace(str(bench.folder), "...")[:90])


def mounted(place: Path, options: str) -> bool:
    """A file system in memory there, if we may."""
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def mortal() -> bool:
    """Whether a process here can be bound by the rights of files."""
    return not mortal_words() or subprocess.run([*MORTAL, "true"], capture_output=True, check=False).returncode == 0


def mortal_words() -> list[str]:
    """What goes in front of a command so that it is bound by them."""
    return MORTAL if os.geteuid() == 0 else []


CASES: dict[str, Callable[[Bench], Result]] = {
    "killed at random moments": kills,
    "child killed as for memory": dead_children,
    "child killed at a cap of memory": memory_cap,
    "child killed by the kernel": kernel_kill,
    "Ctrl-C": ctrl_c,
    "full disk": full_disk,
    "read-only output": read_only,
    "unreadable inputs": unreadable,
    "vanished inputs": vanished,
    "corrupted weights": weights,
    "corrupted manifest": records,
}


def main() -> int:
    """Tries all cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    wish = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # started with `&`, Ctrl-C would be ignored below us
    print("| fault | tried | losses | seen |\n| --- | --- | --- | --- |", flush=True)
    losses = 0
    for name, case in CASES.items():
        if wish.only in name:
            with tempfile.TemporaryDirectory() as scratch:
                result = case(Bench(Path(scratch), random.Random(wish.seed), wish.pictures, wish.kills))
            losses += result.losses
            print(f"| {name} | {result.tried} | {result.losses} | {result.seen} |", flush=True)
    return 1 if losses else 0


if __name__ == "__main__":
    sys.exit(main())
