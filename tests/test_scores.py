"""The scoreboard's rows can be run, and the pages made from figures are those that the scripts would write."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from undegrade import tasks
from undegrade.data import layouts
from undegrade.metrics import protocol

ROOT = Path(__file__).parents[1]


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


scoreboard, which_psnr = script("scoreboard"), script("which_psnr")


def test_every_row_can_be_run():
    rows = list(scoreboard.rows())
    assert len({row.id for row in rows}) == len(rows)
    assert {row.task for row in rows} == set(tasks.catalog.names()) - {"auto"}  # scored by its confusions
    for row in rows:
        assert row.protocol in protocol.names()
        tasks.get(row.task).check(dict(row.strength))
        assert row.set == "CSD" or layouts.find(row.set), row.set
        assert row.command(None).startswith(f"undegrade evaluate -t {row.task} ")
        assert "/input" in row.command(None) or row.kind != "pairs"


@pytest.mark.parametrize(
    ("row", "psnr", "words"),
    [
        ({"floor": 31.0, "goal": 31.6}, 31.7, "goal"),
        ({"floor": 31.0, "goal": 31.6}, 31.1, "-0.50 to goal"),
        ({"floor": 31.0, "goal": 31.6}, 30.0, "-1.00 to floor"),
        ({"floor": 38.0}, 40.0, "held"),
        ({}, 40.0, ""),
        ({"floor": 6, "goal": 10, "gain": True}, 31.0, "goal"),
        ({"floor": 6, "goal": 10, "gain": True}, 25.0, "-1.00 to floor"),
    ],
)
def test_verdict(row, psnr, words):
    line = scoreboard.Row("x", "denoising", "Kodak24", "rgb", **row)
    assert scoreboard.verdict(line, {"psnr": psnr, "input_psnr": 20.0}) == words


def test_scoreboard_is_the_one_that_the_figures_give():
    page = ROOT / "docs" / "scoreboard.md"
    assert page.read_text(encoding="utf-8") == scoreboard.render()
    assert scoreboard.headlines() in (ROOT / "README.md").read_text(encoding="utf-8"), "run scripts/scoreboard.py"


def test_protocol_page_is_the_one_that_the_code_and_figures_give():
    text = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    assert which_psnr.rulers() in text
    figures = json.loads(which_psnr.FIGURES.read_text(encoding="utf-8"))["figures"]
    assert which_psnr.table(figures) in text


def test_scoring_writes_row_history_and_card(tmp_path, monkeypatch):
    from undegrade.weights.card import WeightsCard

    monkeypatch.setattr(scoreboard, "SCORES", tmp_path / "scores")
    monkeypatch.setattr(scoreboard, "CARDS", tmp_path)
    card = tmp_path / "mine.toml"
    card.write_text(WeightsCard("mine", "Mine", "m3snet", "mine.safetensors", task="denoising").to_toml())
    row = next(row for row in scoreboard.rows() if row.id == "denoising-cbsd68-sigma25")
    for psnr in (30.0, 31.0):
        mean = {"psnr": psnr, "ssim": 0.88, "input_psnr": 20.17, "seconds": 0.5}
        images = [{"name": "a"}]
        scoreboard.keep(row, {"weights": "mine", "mean": mean, "images": images, "commit": "abc", "date": "2026-01-01"})
    scores = WeightsCard.from_toml(card.read_text()).scores
    assert [(score.set, score.strength, score.psnr) for score in scores] == [("CBSD68", "sigma 25", 31.0)]
    page = scoreboard.render()
    assert "| [CBSD68, sigma 25](scores/denoising-cbsd68-sigma25.json) | rgb | 1 | 20.17 | 31.00 |" in page
    assert "| mine | denoising-cbsd68-sigma25 | 30.00 (abc), 31.00 (abc) |" in page
