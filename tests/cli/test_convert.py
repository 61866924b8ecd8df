from __future__ import annotations

import torch

from undegrade import cli, create_network, load_network


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
