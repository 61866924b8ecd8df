"""The benchmark: counts of work, the report's shape, and what becomes of failures."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from torch import nn

from undegrade import cli
from undegrade.core.errors import UsageError
from undegrade.engine import bench as benches
from undegrade.networks import catalog

ROW = {
    "network": "resunet",
    "preset": "resunet_w64",
    "weights": "deraining_fast",
    "backend": "torch",
    "device": "cpu",
    "dtype": "float32",
    "size": [500, 1000],
    "seconds": 9.0,
    "cpu_seconds": 1.0,
    "peak_mb": 300.0,
    "gmacs": 10.0,
}


@pytest.fixture
def processes(monkeypatch):
    """Stands for the fresh processes: a peak of 40 GFLOP/s, ``ROW`` with torch, twice as fast with openvino."""

    def found(job):
        if job.get("peak"):
            return {"device": "cpu", "threads": 1, "peak_gflops": 40.0}
        if job["backend"] == "onnx":
            return {"error": "no such operator"}
        return {**ROW, "backend": job["backend"], "cpu_seconds": 1.0 if job["backend"] == "torch" else 0.5}

    monkeypatch.setattr(benches, "_in_process", found)


def test_multiply_adds_are_counted():
    conv = nn.Conv2d(3, 8, 3, padding=1)
    assert benches.gmacs(conv, 3, 20, 10) == pytest.approx(27 * 8 * 200 / 1e9)
    strided = nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 4, 1))
    assert benches.gmacs(strided, 3, 20, 10) == pytest.approx((12 * 8 + 8 * 4) * 50 / 1e9)


def test_pyramid_attention_counts_its_matrix_products():
    spec = catalog.get("panet")
    net = spec.build(spec.configure(None, blocks=2, features=8))
    small, large = (benches.gmacs(net, 3, side, side) for side in (16, 32))
    assert large > 6 * small  # its work grows with the square of the pixels, that of convolutions only by 4


def test_report(processes):
    told = []
    report = benches.bench(weights=["deraining_fast"], backends=["torch", "onnx", "openvino"], told=told.append)
    assert [row["share_of_peak"] for row in report["results"]] == [0.5, 1.0]
    assert report["failed"] == [{"weights": "deraining_fast", "backend": "onnx", "error": "no such operator"}]
    assert len(told) == 3
    assert report["machine"]["peak_gflops"] == 40
    assert report["fastest"] == [
        {"weights": "deraining_fast", "backend": "openvino", "seconds_per_megapixel": 0.5, "holds": True}
    ]
    assert json.loads(json.dumps(report)) == report


def test_the_aim_counts_float32_on_the_processor_only():
    half = {**ROW, "dtype": "bfloat16", "cpu_seconds": 0.1}
    slow = {**ROW, "cpu_seconds": 3.0}
    (found,) = benches.megapixel_aim([half, slow])
    assert (found["seconds_per_megapixel"], found["holds"]) == (3.0, False)


def test_one_network_is_measured():
    job = {"network": "nafsr", "preset": "nafsr_x2", "backend": "torch", "size": [40, 48], "repeats": 1}
    row = benches._child({**job, "device": "cpu", "dtype": "auto"})
    assert set(ROW) <= set(row)
    assert row["size"] == [40, 48]
    assert row["dtype"] == "float32"
    assert min(row["seconds"], row["cpu_seconds"], row["gmacs"]) > 0
    assert row["peak_mb"] >= row["working_mb"] >= 0


def test_without_the_module_resource_memory_is_not_told(monkeypatch):
    assert benches._memory(torch.device("cpu")) > 1 << 20
    monkeypatch.setitem(sys.modules, "resource", None)
    assert benches._memory(torch.device("cpu")) == 0


def test_a_failure_in_the_process_is_told():
    row = benches._in_process({"network": "resunetx", "preset": None, "backend": "torch", "device": "cpu"})
    assert "resunet" in row["error"]


def test_without_wishes_every_shipped_architecture_is_measured_once():
    weights = [subject["weights"] for subject in benches._shipped()]
    assert weights
    assert len(weights) == len(set(weights))


def test_a_preset_needs_its_network():
    with pytest.raises(UsageError, match="name the one network"):
        benches.bench(preset="resunet_w64")
    with pytest.raises(UsageError, match="unknown dtype 'int8'"):
        benches.bench(networks=["resunet"], dtype="int8")
    with pytest.raises(UsageError, match="unknown backend 'onx': did you mean 'onnx'"):
        benches.bench(networks=["resunet"], backends=["onx"])
    with pytest.raises(UsageError, match="unknown network 'resunetx': did you mean"):
        benches.bench(networks=["resunetx"])
    with pytest.raises(UsageError, match="unknown preset of resunet"):
        benches.bench(networks=["resunet"], preset="w1")
    with pytest.raises(UsageError, match="unknown weights 'derainingfast': did you mean"):
        benches.bench(weights=["derainingfast"])


def test_command(processes, tmp_path, capsys):
    file = tmp_path / "bench.json"
    arguments = ["bench", "-w", "deraining_fast", "--backend", "torch", "--backend", "onnx", "--size", "500x1000"]
    assert cli.run([*arguments, "--json", str(file)]) == 1  # onnx failed
    out = capsys.readouterr().out
    assert "deraining_fast: 1.00 s per megapixel on two cores with torch, holds the aim of 2" in out
    assert "no such operator" in out
    assert json.loads(file.read_text())["schema"] == 1
    assert cli.run(["bench", "--size", "12x"]) == 2
    assert cli.run(["bench", "--size", "5²"]) == 2
    assert cli.run(["bench", "--size", "9" * 5000]) == 2
    assert torch.is_grad_enabled()


def test_the_classifier_is_no_network():
    row = benches._in_process({"weights": "auto_fast", "backend": "torch", "device": "cpu"})
    assert row == {"error": "auto_fast: tells what is wrong with a picture and restores nothing"}


def test_the_folder_of_the_figures_is_made(processes, tmp_path):
    file = tmp_path / "new/bench.json"
    assert cli.run(["bench", "-w", "deraining_fast", "--backend", "torch", "--json", str(file)]) == 0
    assert json.loads(file.read_text())["results"]
