from __future__ import annotations

import pytest
import torch

from undegrade import cli, convert, create_network, load_network, weights_card
from undegrade.core.errors import UsageError
from undegrade.weights.card import WeightsCard


def test_convert(tmp_path, capsys):
    net = create_network("chair", "chair_small")
    torch.save({"model": net.state_dict()}, tmp_path / "model_its.pkl")
    out = tmp_path / "its.safetensors"
    assert (
        cli.run(["convert", str(tmp_path / "model_its.pkl"), "-o", str(out), "-t", "dehaze", "--licence", "MIT"]) == 0
    )
    assert capsys.readouterr().out.split() == [str(out), "and", str(tmp_path / "its.toml")]
    assert 'licence = "MIT"' in (tmp_path / "its.toml").read_text("utf-8")
    assert 'task = "dehazing"' in (tmp_path / "its.toml").read_text("utf-8")
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(load_network(out)(x), net.eval()(x))


def test_errors_are_one_line(tmp_path, capsys):
    (tmp_path / "x.pth").write_bytes(b"nonsense")
    assert cli.run(["convert", str(tmp_path / "x.pth"), "-o", str(tmp_path / "y.safetensors")]) == 1
    error = capsys.readouterr().err
    assert "not a checkpoint" in error
    assert error.count("\n") == 1
    assert cli.run(["convert", str(tmp_path / "x.pth"), "-o", str(tmp_path / "y.pth")]) == 2
    assert not list(tmp_path.glob("y*"))


def test_what_a_card_says_is_taken_over(tmp_path):
    before = weights_card("denoising_fast")
    convert("denoising_fast", tmp_path / "copy.safetensors", licence="MIT")
    after = WeightsCard.from_toml((tmp_path / "copy.toml").read_text("utf-8"))
    assert (after.id, after.file, after.licence) == ("copy", "copy.safetensors", "MIT")
    for name in ("task", "title", "origin", "padding", "parameters", "limits", "training", "scores", "preset"):
        assert getattr(after, name) == getattr(before, name)
    convert("denoising_fast", tmp_path / "half.safetensors", dtype=torch.float16)
    assert WeightsCard.from_toml((tmp_path / "half.toml").read_text("utf-8")).scores == ()


def test_a_card_does_not_stand_in_for_its_file(tmp_path):
    convert("denoising_fast", tmp_path / "copy.safetensors")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for source in ("copy.toml", "copy.safetensors"):
        with pytest.raises(UsageError, match="give another name"):
            convert(tmp_path / source, tmp_path / "copy.safetensors")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_only_looks_like_the_card_is_kept(tmp_path):
    other = tmp_path / "pyproject.toml"
    other.write_text("[project]\nname = 'mine'\n")
    with pytest.raises(UsageError, match="is no card"):
        convert("denoising_fast", tmp_path / "pyproject.safetensors")
    assert [other.read_text()] == [file.read_text() for file in tmp_path.iterdir()]
    convert("denoising_fast", tmp_path / "copy.safetensors")
    convert("denoising_fast", tmp_path / "copy.safetensors", title="again")
    assert "again" in (tmp_path / "copy.toml").read_text("utf-8")


def test_the_checkpoint_of_a_run_says_its_task(tmp_path):
    """By whatever name its recipe says it; what is asked for goes before."""
    net = create_network("chair", "chair_small")
    recipe = {"task": "dehaze", "network": "chair", "preset": "chair_small"}
    torch.save({"model": net.state_dict(), "recipe": recipe}, tmp_path / "last.pt")
    for asked, task in ((), "dehazing"), (("-t", "derain"), "deraining"):
        out = tmp_path / f"{task}.safetensors"
        assert cli.run(["convert", str(tmp_path / "last.pt"), "-o", str(out), *asked]) == 0
        assert WeightsCard.from_toml(out.with_suffix(".toml").read_text("utf-8")).task == task
    torch.save({"model": net.state_dict(), "recipe": recipe | {"task": 5}}, tmp_path / "last.pt")
    assert cli.run(["convert", str(tmp_path / "last.pt"), "-o", str(tmp_path / "odd.safetensors")]) == 0
