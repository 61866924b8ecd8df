"""The documentation holds: the site builds without a warning, and every command and example in it works.

Commands run in page order on small made pictures, which are put where a command looks for them. What takes minutes or
never ends (training, servers, benchmarks) is parsed, with all its options, but not run.
"""

from __future__ import annotations

import doctest
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.main import get_command

import undegrade
from undegrade import cli
from undegrade.networks import catalog
from undegrade.weights import store

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PAGES = [page for page in PAGES if "_build" not in page.parts]
SHELL = {"", "bash", "console", "sh"}
PARSED = {"train", "serve", "bench", "export", "calibrate", "cluster", "prepare"}
"""Commands that are not run here; each has tests of its own."""
ELSEWHERE = {"--backend", "--engine", "--device", "community.pth"}
"""Words of commands that need what is not here: another runtime, a cluster, a GPU, spandrel."""
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".heic"}
INPUTS = ("paths", "inputs", "targets", "clean", "root", "beside", "pictures", "sources", "checkpoint")
"""Parameters that name what a command reads."""

CHECKPOINTS = {
    "model_its.pkl": "chair_small",
    "ccnet_csd.pkl": "ccnet_small",
    "m3snet_gopro.pth": "m3snet_w16_d8",
    "model_x4.pt": "pa_edsr_small_x4",
    "model_N10.pt": "panet_small",
}
"""Official checkpoints that pages speak of -> the preset that stands for each."""


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, content) of every fenced block."""
    yield from re.findall(r"^```([^\n`]*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def commands(page: Path) -> list[str]:
    """Command lines, comments removed."""
    text = "".join(content for language, content in blocks(page) if language in SHELL)
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.join(words) for line in lines if (words := shlex.split(line.removeprefix("$ "), comments=True))]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


WITH_COMMANDS = [page for page in PAGES if commands(page)]
WITH_PYTHON = [page for page in PAGES if any(language == "python" for language, _ in blocks(page))]
RUN = [
    page
    for page in WITH_PYTHON
    if page.stem in ("README", "start", "video", "interoperability")
    or (page.parent.name in ("tasks", "networks") and page.stem != "auto")  # what it finds depends on the picture
]
"""Pages whose Python runs; in others it must at least be Python."""


def test_there_is_something_to_test() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 40
    assert len(WITH_PYTHON) > 10


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(60, 200, (48, 48, 3), np.uint8)
    Image.fromarray(pixels[..., 0] if path.stem == "mosaic" else pixels).save(path)


def clip(path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width = video.height = 48
        video.pix_fmt = "yuv420p"
        for _ in range(2):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((48, 48, 3), 99, np.uint8), format="rgb24")))
        out.mux(video.encode(None))


def put(path: Path) -> None:
    """What a command is going to read: a picture, a video, an official checkpoint, or a folder with a picture."""
    if path.exists():
        return
    if path.parent.name == "runs":
        path.mkdir(parents=True)
        (path / "recipe.yaml").write_text("task: denoising\n", encoding="utf-8")
        event = {"event": "train", "step": 50, "loss": 1.0, "lr": 0.1, "mpx_per_s": 1.0}
        (path / "log.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
        (path / "x.safetensors").write_bytes(store.fetch(store.find("denoising_fast")).read_bytes())
    elif path.name.endswith("scores"):
        mean = {"psnr": 30.0, "input_psnr": 20.0, "seconds": 0.1}
        path.mkdir(parents=True)
        (path / "one.json").write_text(
            json.dumps({"task": "denoising", "weights": "x", "mean": mean}), encoding="utf-8"
        )
    elif path.name in CHECKPOINTS:
        preset = CHECKPOINTS[path.name]
        spec = next(catalog.get(name) for name in catalog.names() if preset in catalog.get(name).presets)
        config = spec.presets[preset]
        ours = spec.build(config).state_dict()
        unused = torch.zeros(1)  # entries that the authors' files hold for nothing
        torch.save({name: unused if own is None else ours[own] for name, own in spec.official(config).items()}, path)
    elif path.suffix.lower() in PICTURES:
        picture(path)
    elif path.suffix.lower() == ".mp4":
        clip(path)
    elif not path.suffix:
        picture(path / "one.png")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    for name in CHECKPOINTS:
        put(tmp_path / name)
    return tmp_path


def run_undegrade(words: list[str]) -> None:
    """Runs `undegrade ...`, or only parses it."""
    name = words[0]
    assert name in cli.commands.names(), f"there is no command {name}"
    if name.startswith("-"):
        return
    group: Any = get_command(cli.application(name))
    command, rest = group.commands[name], words[1:]
    if hasattr(command, "commands"):
        name, *rest = rest
        command = command.commands[name]
    if name in PARSED or any(word in ELSEWHERE for word in words):
        command.make_context(name, [*rest])
        if name == "train":
            check_recipe(rest)
        return
    if not hasattr(command, "commands"):
        given = command.make_context(name, [*rest]).params
        for key in INPUTS:
            value = given.get(key) or ()
            for path in value if isinstance(value, list | tuple) else [value]:
                put(Path(path))
        if str(given.get("weights")) == "my-denoiser":
            undegrade.load("denoising").save_pretrained("my-denoiser")
    assert cli.run(words) == 0


def check_recipe(words: list[str]) -> None:
    """A shipped recipe with its changes, or a file of the reader's own."""
    recipe, *changes = [word for word in words if not word.startswith("-")]
    if not recipe.endswith(".yaml"):
        undegrade.Recipe.load(recipe, [change for change in changes if "=" in change])


def run_other(words: list[str]) -> None:
    """Anything else that a page tells to type: what it names must exist."""
    match words:
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        case ["pip", "install", what]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            asked = re.fullmatch(r"(?:\./?)?(?:undegrade)?(?:\[([\w,-]+)\])?", what)
            assert asked is not None, what
            assert set(filter(None, (asked[1] or "").split(","))) <= set(extras["optional-dependencies"])
        case ["torchrun", *rest]:
            assert "undegrade" in rest
            run_undegrade(rest[rest.index("undegrade") + 1 :])
        case ["python" | "pytest", file, *_] if not file.startswith("-"):
            assert (ROOT / file).exists(), file
        case ["python3", "-m", "venv", "env"] | [".", "env/bin/activate"] | ["cd", "undegrade"]:
            pass
        case ["git", "clone", *_] | ["curl", *_] | ["docker" | "ray" | "export", *_]:
            pass
        case _:
            pytest.fail(f"a command of an unknown kind: {words}")


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=named)
def test_commands(page: Path, place: Path) -> None:
    for line in dict.fromkeys(commands(page)):
        words = shlex.split(line)
        try:
            if words[0] == "undegrade":
                run_undegrade(words[1:])
            else:
                run_other(words)
        except Exception as error:
            raise AssertionError(f"{named(page)}: {line}: {error}") from error


@pytest.mark.parametrize("page", WITH_PYTHON, ids=named)
def test_python(page: Path, place: Path) -> None:
    names: dict[str, Any] = {
        "undegrade": undegrade,
        "noisy": np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8),
        "pictures": [np.zeros((48, 48), np.float32)],
        "mosaic": np.zeros((48, 48), np.uint16),
        "batch": torch.rand(2, 3, 48, 48),
    }
    for language, content in blocks(page):
        if language != "python":
            continue
        code = compile(content, named(page), "exec")
        if page not in RUN:
            continue
        for name in re.findall(r'"([\w./-]+)"', content):
            if Path(name).suffix in PICTURES | {".mp4"} and not name.startswith("clean."):
                put(place / name)
        exec(code, names)


def test_doctests_of_the_pages() -> None:
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for page in PAGES:
        names: dict[str, Any] = {}
        for number, content in enumerate(content for language, content in blocks(page) if language == "pycon"):
            test = parser.get_doctest(content, names, f"{named(page)}:{number}", named(page), 0)
            runner.run(test, clear_globs=False)
            names = test.globs
    assert runner.tries > 10
    assert runner.failures == 0


@pytest.mark.parametrize("module", ["undegrade", "undegrade.data.prepare"])
def test_doctests_of_the_code(module: str) -> None:
    __import__(module)
    result = doctest.testmod(sys.modules[module])
    assert result.failed == 0
    assert result.attempted > 0


TASKS = sorted(name for name in undegrade.list_tasks() if name != "auto")


@pytest.mark.parametrize("task", TASKS)
def test_a_task_page_shows_what_works_and_what_does_not(task: str) -> None:
    text = (ROOT / "docs" / "tasks" / f"{task}.md").read_text(encoding="utf-8")
    works, fails = text.split("### Where it fails")
    for part in (works, fails):
        strips = re.findall(r"\]\(\.\./images/tasks/(.+?\.webp)\)", part)
        assert strips
        for strip in strips:
            with Image.open(ROOT / "docs" / "images" / "tasks" / strip) as picture:
                assert picture.size == (728, 200)
    for weights in undegrade.list_weights(task=task):
        assert f"| `{weights}` |" in fails, "run `make gallery`"
        assert (undegrade.weights_card(weights).limits or "") in fails, f"limits of {weights}: run `make gallery`"


def test_the_page_of_commands_is_what_help_shows() -> None:
    script = ROOT / "scripts/make_commands.py"  # run, it writes the page anew
    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == run_path(str(script))["page"]()


def test_the_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("furo")
    pytest.importorskip("myst_parser")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [*command, str(ROOT / "docs"), str(tmp_path / "html")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?:https?:)?//[^"]*\.(?:js|css|woff2?)', page), "the site must work offline"
