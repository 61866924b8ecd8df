"""Networks as graphs: the same results as the network, any size, and files that hold to their check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small
import torch
from torch import Tensor

import undegrade
from undegrade.core.errors import InputError, MissingExtraError, UnknownNameError, UsageError, WeightsError
from undegrade.graphs import _forms, catalog, openvino
from undegrade.graphs._graph import Graph
from undegrade.inference import export as exporting
from undegrade.inference.backend import TorchBackend
from undegrade.inference.restorer import Restorer
from undegrade.inference.run import Options, run
from undegrade.networks import catalog as networks
from undegrade.networks.layers.local_pool import spread, window_mean, window_mean_everywhere


def graph_of(restorer: Restorer, **settings: object) -> Graph:
    assert isinstance(restorer.backend, TorchBackend)
    return Graph(restorer.backend.module, restorer.spec, restorer.config, **settings)  # type: ignore[arg-type]


def by_torch(restorer: Restorer, x: Tensor) -> Tensor:
    parts = [run(restorer.backend, restorer.spec, restorer.config, one[None], Options(tile=None)) for one in x]
    return torch.cat(parts)


@pytest.mark.parametrize("name", networks.names())
def test_a_graph_gives_the_result_of_its_network(name):
    restorer = small.restorer(name)
    graph = graph_of(restorer)
    for height, width in ((graph.least, graph.least + 3), (graph.least + 9, graph.least + 6)):
        x = torch.rand(2, 3, height, width)
        expected = by_torch(restorer, x)
        assert (graph(x) - expected).abs().max() < 1e-5 * expected.abs().max().clamp_min(1)


@pytest.mark.parametrize("name", networks.names())
def test_every_unit_with_a_form_is_replaced_and_the_network_is_left_alone(name):
    module = small.restorer(name).backend.module
    kinds = [type(unit) for unit in module.modules()]
    copy = _forms.as_graph(module)
    assert [type(unit) for unit in module.modules()] == kinds
    assert not [unit for unit in copy.modules() if type(unit) in _forms.FORMS]
    ours, theirs = dict(module.named_parameters()), dict(copy.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(theirs[key].data_ptr() == ours[key].data_ptr() for key in ours)  # shared, not copied


@pytest.mark.parametrize("window", [(3, 4), (5, 40), (40, 6), (12, 17), (50, 60)])
def test_window_means_of_graphs_are_those_of_networks(window):
    x = torch.rand(2, 3, 12, 17) + 5
    expected = spread(window_mean(x, window), 12, 17).expand_as(x)
    assert (window_mean_everywhere(x, window) - expected).abs().max() < 1e-5


def test_the_local_form_is_recorded_for_every_size(tmp_path):
    pytest.importorskip("openvino")
    restorer = small.restorer("nafsr")
    local = restorer.spec.local
    assert local is not None
    module = local(restorer.backend.module, (24, 24))  # windows of 36: smaller and larger than the pictures below
    runs = openvino.compiled(openvino.converted(Graph(module, restorer.spec, restorer.config)))
    for shape in ((1, 3, 20, 30), (2, 3, 60, 50)):
        x = torch.rand(shape)
        assert (runs(x) - by_torch(restorer, x)).abs().max() < 1e-5


def test_a_task_is_exported_in_local_form(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "write", lambda restorer, *_, **__: restorer)
    x = torch.rand(1, 3, 40, 64)
    scaled = {"scale": 3, "local_train_size": 16}
    made = exporting.export("sr", tmp_path / "x.onnx", **scaled)
    assert made.card.id == "super_resolution_x3_fast"
    assert torch.equal(made(x), exporting.export("super_resolution_x3_fast", tmp_path / "x.onnx", **scaled)(x))
    assert not torch.equal(made(x), exporting.export("sr", tmp_path / "x.onnx", scale=3)(x))
    with pytest.raises(UsageError, match="one network at a time"):
        exporting.export("auto", tmp_path / "x.onnx", local_train_size=16)


def test_graphs_pad_with_zeros_where_the_weights_want_it():
    restorer = small.restorer("resunet")
    step = restorer.spec.multiple_of
    x = torch.rand(1, 3, 2 * step - 3, 3 * step - 2)
    expected = restorer.backend.run(torch.nn.functional.pad(x, (0, 2, 0, 3)))[..., : 2 * step - 3, : 3 * step - 2]
    assert (graph_of(restorer, padding="zeros")(x) - expected).abs().max() < 1e-6
    assert (graph_of(restorer)(x) - expected).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("kind", "name"), [*(("onnx", name) for name in networks.names() if name != "ccnet"), ("pt2", "resunet")]
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_file_holds_its_check(tmp_path, kind, name, dtype):  # CCNet takes half a minute; OpenVINO has its graph below
    if kind == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    if name != "resunet" and dtype == "float16":
        pytest.skip("one half-precision file per kind is enough")
    done = exporting.write(small.restorer(name), tmp_path / "network", kind, dtype=dtype)
    assert done.path.suffix == catalog.get(kind).suffix
    assert [file.exists() for file in done.files] == [True]
    assert {path.name for path in tmp_path.iterdir()} == {file.name for file in done.files}
    assert len({check.shape for check in done.checks}) == 4
    assert max(check.difference for check in done.checks) < (1e-5 if dtype == "float32" else 1e-2)
    assert min(check.psnr for check in done.checks) > 50


def test_an_export_replaces_neither_its_weights_nor_a_folder(tmp_path):
    pytest.importorskip("openvino")
    checkpoint = tmp_path / "model.bin"
    torch.save(undegrade.load_network("super_resolution_x2_fast").state_dict(), checkpoint)
    before = checkpoint.read_bytes()
    wish = {"network": "nafsr", "preset": "nafsr_x2", "task": "super_resolution"}
    with pytest.raises(UsageError, match=r"model\.bin: is what the export is made from"):
        exporting.export(checkpoint, tmp_path / "model.xml", **wish)
    assert checkpoint.read_bytes() == before
    (tmp_path / "other.bin").mkdir()
    with pytest.raises(UsageError, match=r"other\.bin: is a folder"):
        exporting.export(checkpoint, tmp_path / "other.xml", **wish)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "other.bin"]


def test_an_onnx_file_tells_its_channels_and_what_is_dynamic(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    exporting.write(small.restorer("resunet"), tmp_path / "network.onnx")
    graph = onnx.load(tmp_path / "network.onnx").graph
    for port, names in ((graph.input[0], ["height", "width"]), (graph.output[0], ["height_out", "width_out"])):
        batch, channels, *sides = port.type.tensor_type.shape.dim
        assert batch.dim_param == "batch"
        assert channels.dim_value == 3
        assert [side.dim_param for side in sides] == names


QUIET = """
import sys, numpy as np, onnx, undegrade
from pathlib import Path
x = np.zeros((24, 24, 3), np.uint8)
for backend in ("onnx", "openvino"):
    undegrade.load("denoising_fast", backend=backend)(x)
"""


def test_the_runtimes_tell_nobody_anything(tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    # They keep a number for the user where they report; the processes need Python's own folders alone.
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "UNDEGRADE_HOME": str(tmp_path / "own")}
    environment = {name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", QUIET], env={**environment, **home}, check=True, timeout=300)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"fastest.json"}


def test_files_say_whose_weights_they_hold(tmp_path):
    onnx, openvino = pytest.importorskip("onnx"), pytest.importorskip("openvino")
    exporting.export("demosaicing", tmp_path / "a.onnx")
    done = exporting.export("demosaicing", tmp_path / "a.xml")
    assert done.preparation.startswith("A mosaic of one channel")
    told = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert told["weights"] == "demosaicing_fast"
    assert told["least side"] == str(done.least)
    assert told["x"] == "(batch, 3, height, width): red, green, blue in 0..1"
    assert told["before the network"] == done.preparation
    model = openvino.Core().read_model(tmp_path / "a.xml")
    assert model.get_rt_info(["undegrade", "task"]).value == "demosaicing"


def test_recording_leaves_random_numbers_as_they_are(tmp_path):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    exporting.export("super_resolution_x2_fast", tmp_path / "a.pt2")
    assert torch.equal(torch.get_rng_state(), state)
    told = {"undegrade.json": ""}  # here, because writing such a file takes long
    torch.export.load(tmp_path / "a.pt2", extra_files=told)
    assert json.loads(told["undegrade.json"])["weights"] == "super_resolution_x2_fast"


def test_a_place_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        exporting.export("denoising", tmp_path / "file/a.pt2")


@pytest.mark.parametrize("name", ["ccnet", "chair", "mhnet"])
def test_an_openvino_file_holds_its_check(tmp_path, name):
    pytest.importorskip("openvino")
    done = exporting.write(small.restorer(name), tmp_path / "network.xml")
    assert [file.suffix for file in done.files] == [".bin", ".xml"]
    assert max(check.difference for check in done.checks) < 1e-5


def test_a_file_that_differs_is_not_left_behind(tmp_path, monkeypatch):
    restorer = small.restorer("resunet")
    honest = Graph.forward
    monkeypatch.setattr(Graph, "forward", lambda graph, x: honest(graph, x) + 1e-4)
    with pytest.raises(WeightsError, match="differs from torch by"):
        exporting.write(restorer, tmp_path / "network.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_a_format_cannot_hold_is_told_in_a_line(tmp_path, monkeypatch):
    def broken(graph: Graph, x: Tensor) -> Tensor:
        raise RuntimeError("no way\nto record it")

    monkeypatch.setattr(Graph, "forward", broken)
    with pytest.raises(WeightsError, match=r"pt2 cannot hold this network \(.*no way to record it"):
        exporting.write(small.restorer("resunet"), tmp_path / "network.pt2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "settings", "message"),
    [
        ("network.tar", {}, "name the format: onnx, openvino, pt2"),
        ("network.tar", {"format": "onnx"}, "files of onnx end in .onnx"),
        ("network.onnx", {"dtype": "int4"}, "float32 or float16"),
    ],
)
def test_what_cannot_be_written_is_said_before_work(tmp_path, output, settings, message):
    with pytest.raises(UsageError, match=message):
        exporting.write(small.restorer("resunet"), tmp_path / output, **settings)


def test_a_folder_is_no_file(tmp_path):
    for folder in (tmp_path, f"{tmp_path}/new/"):
        with pytest.raises(UsageError, match="is a folder; name the file in it"):
            exporting.write(small.restorer("resunet"), folder, "onnx")
    assert not list(tmp_path.iterdir())


def test_unknown_format(tmp_path):
    with pytest.raises(UnknownNameError, match="openvino"):
        exporting.write(small.restorer("resunet"), tmp_path / "network", "openvin")


@pytest.mark.parametrize(("package", "kind"), [("onnx", "onnx"), ("openvino", "openvino")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, kind):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"undegrade\[{kind}\]"):
        exporting.write(small.restorer("resunet"), Path(tmp_path) / "network", kind)


def test_openvino_takes_any_batch_and_size(tmp_path):
    pytest.importorskip("openvino")
    restorer = small.restorer("resunet")
    runs = openvino.compiled(openvino.converted(graph_of(restorer)))
    for shape in ((1, 3, 19, 40), (3, 3, 32, 17)):
        x = torch.rand(shape)
        assert (runs(x) - by_torch(restorer, x)).abs().max() < 1e-5
