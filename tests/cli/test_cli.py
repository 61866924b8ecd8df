"""The frame of the command line, list and doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import undegrade
from undegrade import cli
from undegrade.cli.doctor import OPTIONAL
from undegrade.inference.runtimes import installed


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list", "tasks"], ["list", "networks", "--json"]])
def test_quick_calls_never_import_torch(words: list[str]) -> None:
    code = (
        f"from undegrade import cli; import sys; s = cli.run({words!r}); sys.exit(10 if 'torch' in sys.modules else s)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("undegrade res", ["restore"]),
        ("undegrade restore --ta", ["--task"]),
        ("undegrade degrade -t der", ["deraining"]),
        ("undegrade restore -t derain,desn", ["derain,desnowing"]),
        ("undegrade evaluate -w dera", ["deraining_fast"]),
        ("undegrade nothing x", []),
    ],
)
def test_the_shell_is_told_how_a_line_goes_on(line: str, offered: list[str]) -> None:
    code = "import sys; from undegrade.cli import run\ntry: run([])\nfinally: assert 'torch' not in sys.modules"
    place = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    environment = os.environ | {"_UNDEGRADE_COMPLETE": "complete_bash"} | place
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout.split(), done.stderr) == (offered, "")


def test_the_program(tmp_path: Path) -> None:
    """The installed program's exit status is the command's."""
    code = "from undegrade.cli import main; import sys; sys.argv = ['undegrade', 'list', 'nothing']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("undegrade: unknown list 'nothing'")


@pytest.mark.parametrize("command", ["restore", "degrade"])
def test_names_that_the_encoding_lacks(command: str, tmp_path: Path) -> None:
    for name in ("a\N{HIRAGANA LETTER A}", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    words = [sys.executable, "-m", "undegrade", command, str(tmp_path), "-t", "denoise", "-o", str(tmp_path / "out")]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert r"a\u3042.png" in done.stdout
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_file_that_looks_like_an_option_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("-scan.jpg")
    assert cli.run(["restore", "-scan.jpg"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the file -scan.jpg is called ./-scan.jpg here" in line
    assert cli.run(["restore", "-other.jpg"]) == 2
    assert "see undegrade restore --help" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    told = capsys.readouterr().out
    for name in cli.commands.names():
        assert name in told
    assert cli.run([]) == 0
    assert "restore" in capsys.readouterr().out


@pytest.mark.parametrize("name", cli.commands.names())
def test_every_command_has_a_summary_and_help(name: str) -> None:
    assert cli.commands.summary(name)
    result = CliRunner().invoke(cli.application(name), [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"undegrade {undegrade.__version__}\n"


@pytest.mark.parametrize("kind", ["tasks", "networks", "presets", "weights", "recipes", "protocols"])
def test_list(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list", kind, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["schema"] == 1
    rows = content[kind]
    assert all(row["name"] and row["title"] for row in rows)
    assert len({(row["name"], row.get("network")) for row in rows}) == len(rows)
    assert cli.run(["list", kind]) == 0
    table = capsys.readouterr().out
    assert all(row["name"][:12] in table for row in rows)


def test_list_shows_titles_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNDEGRADE_HOME", str(tmp_path))
    (tmp_path / "weights").mkdir()
    title = "for [bold] skies [/x] :100:"
    card = f'id = "mine"\ntitle = "{title}"\nnetwork = "chair"\nfile = "mine.safetensors"\n'
    (tmp_path / "weights" / "mine.toml").write_text(card, encoding="utf-8")
    assert cli.run(["list", "weights", "mine"]) == 0
    assert title in capsys.readouterr().out


def test_list_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list", "tasks", "de*ing", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["tasks"]]
    assert "denoising" in names
    assert "super_resolution" not in names


def test_tasks_tell_their_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list", "tasks", "denoising", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["tasks"]
    (sigma,) = row["parameters"]
    assert (sigma["name"], sigma["low"], sigma["high"]) == ("sigma", 0, 75)


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == 1
    assert report["undegrade"] == undegrade.__version__
    assert report["packages"]["torch"]
    assert report["threads"] >= 1
    assert report["free_memory_mb"] > 0
    assert report["devices"][-1]["name"] == "cpu"
    assert report["backends"]["torch"] == report["backends"]["compile"] == report["packages"]["torch"]
    assert set(report["backends"]) == set(installed())
    assert set(OPTIONAL) >= set(metadata("undegrade").get_all("Provides-Extra"))
    assert {"PNG", "JPEG", "WEBP", "TIFF", "AVIF", "BMP"} <= set(report["formats"])
    assert report["extras"]["heif"]["install"] == "pip install 'undegrade[heif]'"
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    assert cli.run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("free" in line for line in lines)
    for extra in report["extras"].values():
        assert any(line.endswith(f"missing: {extra['install']}") for line in lines)


@pytest.mark.parametrize("option", ["--max-pixels", "--max-upload"])
@pytest.mark.parametrize("value", ["nan", "-1", "inf"])
def test_a_server_without_limits_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["serve", option, value]) == 2
    assert f"{option} {value}: a positive number" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["https://box.local", "box.local:7860", "", "a b", "box.local/"])
def test_a_name_that_no_browser_sends_as_host_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["serve", "--allow-host", name]) == 2
    assert f"--allow-host {name!r}: give the name alone" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--host", "--token"])
def test_an_empty_host_or_token_lets_nobody_in(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["serve", option, ""]) == 2
    assert f"{option} '': is empty" in capsys.readouterr().err
