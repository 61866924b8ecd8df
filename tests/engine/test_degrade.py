"""Degrading images and files, contact sheets, calibration."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import undegrade
from undegrade import api, cli, tasks
from undegrade.core.errors import InputError, UsageError
from undegrade.core.image import Picture
from undegrade.engine import degrade as spoil
from undegrade.engine.calibrate import Calibration, Row, calibrate
from undegrade.engine.evaluate import samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "clean"
    place.mkdir()
    Image.fromarray(data.coffee()[100:164, 200:296]).save(place / "coffee.png")
    Image.fromarray(data.chelsea()[50:114, 100:196]).save(place / "cat.png")
    return place


def test_kind_and_depth_are_kept() -> None:
    array = np.full((40, 50, 3), 128, np.uint8)
    noisy = api.degrade(array, "denoising", sigma=25)
    assert (noisy.dtype, noisy.shape) == (np.uint8, array.shape)
    assert float(np.std(noisy.astype(float) - array)) == pytest.approx(25, rel=0.1)
    tensor = torch.rand(3, 20, 22)
    assert float(api.degrade(tensor, "denoise", sigma=50).min()) < 0, "floats stay unclipped"
    assert isinstance(api.degrade(Image.fromarray(array), "sr", scale=2), Image.Image)


@pytest.mark.parametrize("task", ["dehazing", "deraining", "motion_deblurring"])
def test_the_device_of_new_tensors_does_not_matter(task: str) -> None:
    clean = torch.rand(3, 64, 80, generator=torch.Generator().manual_seed(0))
    here = api.degrade(clean, task, seed=1)
    with torch.device("meta"):
        assert torch.equal(api.degrade(clean, task, seed=1), here)


@pytest.mark.parametrize("task", ["dehazing", "denoising", "deraining", "motion_deblurring"])
@pytest.mark.parametrize("chosen", [torch.float64, torch.bfloat16])
def test_the_type_of_new_tensors_does_not_matter(task: str, chosen: torch.dtype) -> None:
    clean = torch.rand(3, 64, 80, generator=torch.Generator().manual_seed(0))
    here = api.degrade(clean, task, seed=1)
    torch.set_default_dtype(chosen)
    try:
        there = api.degrade(clean, task, seed=1)
        assert torch.get_default_dtype() == chosen, "the program's choice stays"
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(there, here)


def test_a_seed_is_a_number(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seed='one': a whole number"):
        api.degrade(torch.rand(3, 64, 80), "denoising", seed="one")
    for call in (
        lambda: list(api.degrade_files([folder], tmp_path / "out", "denoise", seed=1.5)),
        lambda: api.contact_sheet([folder], "denoise", seed=1.5),
        lambda: api.evaluate("denoise", clean=folder, weights="none", seed=1.5),
        lambda: list(samples("denoise", clean=folder, seed=1.5)),
        lambda: calibrate(tmp_path, seed=1.5),
    ):
        with pytest.raises(UsageError, match=r"seed=1\.5: a whole number"):
            call()


def test_a_seed_without_a_name_has_64_bits(folder: Path) -> None:
    with pytest.raises(UsageError, match="seed=18446744073709551616: beyond 64 bits"):
        api.degrade(torch.rand(3, 64, 80), "denoising", seed=2**64)
    assert api.degrade(torch.rand(3, 64, 80), "denoising", seed=-1).shape == (3, 64, 80)
    assert api.degrade(folder / "cat.png", "denoising", seed=2**64).size == (96, 64)


def test_seed_and_name_decide(folder: Path) -> None:
    def one(seed: int) -> bytes:
        image: Image.Image = api.degrade(folder / "cat.png", "deraining", seed=seed)
        return image.tobytes()

    assert one(0) == one(0)
    assert one(0) != one(1)


def test_same_pictures_as_evaluation_makes(folder: Path) -> None:
    made = {sample.name: sample.input for sample in samples("desnowing", clean=folder, seed=3)}
    for name, expected in made.items():
        picture = np.asarray(api.degrade(folder / f"{name}.png", "desnowing", seed=3)).transpose(2, 0, 1)
        assert np.array_equal(picture, (expected * 255).round().byte().numpy())


def test_files_and_folders(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    done = list(api.degrade_files([folder], tmp_path / "out", "dejpeg", quality=10))
    assert [one.source.stem for one in done if one.error] == ["broken"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cat.png", "coffee.png"]


@pytest.mark.parametrize("error", [RuntimeError("no room\nat all"), MemoryError()])
def test_a_failure_of_our_own_leaves_the_others(
    error: Exception, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = spoil.save

    def failing(picture: Picture, target: Path) -> None:
        if target.stem == "cat":
            raise error
        write(picture, target)

    monkeypatch.setattr(spoil, "save", failing)
    bad, good = sorted(api.degrade_files(folder, tmp_path / "out", "denoise"), key=lambda done: done.source)
    assert (good.error, good.cause, bad.cause) == ("", None, error)
    assert bad.error.startswith(f"{folder / 'cat.png'}: internal error, {type(error).__name__}: ")
    words = ["degrade", str(folder), "-t", "denoise", "-o", str(tmp_path / "out")]
    assert cli.run(words) == 1
    assert capsys.readouterr().err == f"undegrade: {bad.error}\n"
    assert cli.run([*words, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_name_that_is_no_text(folder: Path, tmp_path: Path) -> None:
    (folder / "cat.png").rename(folder / os.fsdecode(b"\xff.png"))
    assert [one.error for one in api.degrade_files(folder, tmp_path / "out", "denoise", sigma=20)] == ["", ""]


def test_one_file_to_a_name_of_its_own(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "mosaic.png"
    assert [done.target for done in api.degrade_files([folder / "cat.png"], target, "demosaic")] == [target]
    with Image.open(target) as file:
        assert file.size == (96, 64)


def test_defaults_of_parameters_are_used() -> None:
    assert api.degrade(np.zeros((24, 24, 3), np.uint8), "sr").shape == (12, 12, 3)


@pytest.mark.parametrize(
    ("strength", "message"),
    [
        ({"sigma": 99}, "sigma"),
        ({"sigm": 5}, "sigm"),
        ({"generator": 5}, "generator: the degradation of denoising has no such"),
        ({"sigma": "much"}, "sigma"),
        ({"sigma": (5, 300)}, "sigma=300"),
    ],
)
def test_refused_strengths(strength: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        api.degrade(np.zeros((8, 8, 3), np.uint8), "denoising", **strength)


@pytest.mark.parametrize(
    ("task", "strength"),
    [
        ("desnow", {"density": -1}),
        ("deblur", {"length": -4}),
        ("deblur", {"gamma": "x"}),
        ("defocus", {"radius": -3}),
        ("dehaze", {"transmission": 2}),
        ("denoise", {"clipped": "maybe"}),
        ("derain", {"count": 5}),
        ("derain", {"layers": 5}),
        ("desnow", {"layers": ["masks"]}),
        ("deblur", {"kernels": 5}),
        ("dehaze", {"depth": "depth.png"}),
        ("sr", {"eight_bit": "maybe"}),
    ],
)
def test_strengths_that_mean_nothing_are_refused_by_name(task: str, strength: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"^{next(iter(strength))}="):
        api.degrade(np.full((32, 32, 3), 128, np.uint8), task, **strength)


def test_a_choice_is_no_range() -> None:
    with pytest.raises(UsageError, match=r"scale=\(2, 4\): choose one of 2, 3, 4"):
        api.degrade(np.zeros((24, 24, 3), np.uint8), "sr", scale=(2, 4))


def test_numbers_as_text_and_of_numpy_and_auto() -> None:
    flat = torch.full((3, 64, 64), 0.5)
    expected = api.degrade(flat, "denoising", sigma=25)
    for sigma in ("25", np.float32(25), np.int64(25)):
        assert torch.equal(api.degrade(flat, "denoising", sigma=sigma), expected)
    assert torch.equal(api.degrade(flat, "denoising", sigma="auto"), api.degrade(flat, "denoising"))
    assert api.degrade(flat, "sr", scale="4").shape == (3, 16, 16)


def test_a_folder_may_be_called_like_a_file(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "out.v1"
    place.mkdir()
    (done,) = api.degrade_files([folder / "cat.png"], place, "denoise", sigma=25)
    assert (done.target, done.error) == (place / "cat.png", "")
    assert done.target.is_file()


@pytest.mark.parametrize("name", ["noisy-0.5", "out.png/"])
def test_a_new_folder_may_be_called_like_a_file(folder: Path, tmp_path: Path, name: str) -> None:
    (done,) = api.degrade_files([folder / "cat.png"], f"{tmp_path}/{name}", "denoise", sigma=25)
    assert (done.target, done.error) == (tmp_path / name / "cat.png", "")
    assert done.target.is_file()


def test_strength_called_like_an_argument(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="paths: the degradation of denoising has no such"):
        list(api.degrade_files([folder], tmp_path / "out", "denoise", paths=1))
    with pytest.raises(UsageError, match="task: the degradation of denoising has no such"):
        api.contact_sheet([folder], "denoise", task=1)


@pytest.mark.parametrize("name", ["cat.png", "CAT.png"])
def test_two_inputs_of_one_name(folder: Path, tmp_path: Path, name: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / name).write_bytes((folder / "cat.png").read_bytes())
    with pytest.raises(UsageError, match="2 of the inputs are called"):
        list(api.degrade_files([folder, other], tmp_path / "out", "denoise"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("task", ["denoising", "super_resolution", "dehazing"])
def test_contact_sheet(folder: Path, task: str) -> None:
    sheet = api.contact_sheet([folder], task, columns=2, side=48, beside=[folder])
    assert sheet.size == (3 * 52, 3 * 52)
    tiles = np.asarray(sheet)
    clean, first, second = (tiles[:32, 52 * column : 52 * column + 48].astype(int) for column in range(3))
    assert np.abs(clean - first).mean() > 0.5
    assert task == "super_resolution" or np.abs(first - second).mean() > 0.2
    assert np.array_equal(tiles[104:136, :48], clean), "the picture beside is shown as it is"


def test_a_bad_picture_leaves_the_others_on_the_contact_sheet(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(folder / "dot.png")
    told: list[str] = []
    sheet = api.contact_sheet([folder], "sr", columns=1, side=48, beside=[folder / "broken.png"], failed=told.append)
    assert sheet.size == (2 * 52, 2 * 52)
    assert [Path(line.partition(":")[0]).name for line in told] == ["broken.png", "dot.png", "broken.png"]
    with pytest.warns(UserWarning, match="not a picture"):
        assert api.contact_sheet([folder], "denoise", columns=1, side=48).size == (2 * 52, 3 * 52)
    words = ["degrade", str(folder), "-t", "sr", "--contact-sheet", str(tmp_path / "sheet.png")]
    assert cli.run([*words, "-o", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [sum(name in line for line in told) for name in ("broken.png", "dot.png")] == [1, 1]
    with pytest.raises(InputError, match="no picture to degrade"):
        api.contact_sheet(folder / "dot.png", "sr", failed=told.append)


@pytest.mark.skipif(not hasattr(signal, "SIGTERM"), reason="no such signal here")
def test_a_signal_ends_the_batch_in_a_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    write = spoil.save

    def ended(picture: Picture, target: Path) -> None:
        write(picture, target)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(spoil, "save", ended)
    try:
        status = cli.run(["degrade", str(folder), "-o", str(tmp_path / "out"), "-t", "denoise"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert status == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "undegrade: stopped\n"
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_contact_sheet_of_nothing_to_see(folder: Path) -> None:
    with pytest.raises(UsageError, match="side=-9"):
        api.contact_sheet([folder], "denoise", side=-9)


def test_contact_sheet_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture"):
        spoil.contact_sheet([tmp_path / "empty"], "denoising")


def test_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["degrade", str(folder), "-t", "derain", "--set", "heavy=1", "--set", "gain=[0.5, 1]", "-o", str(out)]
    assert cli.run([*arguments, "--contact-sheet", str(tmp_path / "sheet.png")]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["cat.png", "coffee.png"]
    assert (tmp_path / "sheet.png").exists()
    assert cli.run([*arguments, "--set", "gain"]) == 2
    assert cli.run(["degrade", str(folder), "-t", "derain"]) == 2
    assert "nowhere to write" in capsys.readouterr().err
    (folder / "broken.png").write_bytes(b"no picture")
    assert cli.run(arguments) == 1
    assert capsys.readouterr().err.count("broken.png") == 1


def test_calibration_measures_what_is_there(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("CBSD68", "Set5"):
        (root / "test" / name).mkdir(parents=True)
        (root / "test" / name / "cat.png").write_bytes((folder / "cat.png").read_bytes())
    for side in ("input", "target"):
        (root / "test" / "CSD" / side).mkdir(parents=True)
        (root / "test" / "CSD" / side / "cat.png").write_bytes((folder / "cat.png").read_bytes())
    calibration = calibrate(root, tasks=["denoise", "sr", "desnow"])
    rows = {(row.task, row.set, row.condition): row for row in calibration.rows}
    noise = rows["denoising", "test/CBSD68", "sigma 25, unclipped"]
    assert noise.psnr == pytest.approx(20.17, abs=0.15)
    assert noise.met
    assert rows["desnowing", "test/CSD", "the pair itself"].psnr > 90
    assert calibration.missing == ("test/Set14",)
    assert {row.task for row in calibration.rows} == {"denoising", "super_resolution", "desnowing"}
    plain = calibration.to_dict()
    assert json.loads(json.dumps(plain))["rows"][0]["target"] == 28.13
    assert calibration.to_markdown().count("\n| ") == len(calibration.rows) + 2
    assert Calibration.from_dict(plain) == calibration


def test_calibration_marks_what_is_off() -> None:
    row = Row("denoising", "s", "c", "rgb", 1, 30.0, 30.0, 30.0, 28.5, "why")
    assert not row.met


def test_calibration_without_data(tmp_path: Path) -> None:
    with pytest.raises(undegrade.InputError, match="none of the sets"):
        calibrate(tmp_path)
    with pytest.raises(UsageError, match="auto: nothing to compare its degradation with; there are: defocus"):
        calibrate(tmp_path, tasks=["auto"])


def test_calibration_page_is_made_from_its_figures() -> None:
    docs = Path(__file__).parents[2] / "docs"
    stored = json.loads((docs / "scores" / "calibration.json").read_text(encoding="utf-8"))
    assert Calibration.from_dict(stored).to_markdown() == (docs / "calibration.md").read_text(encoding="utf-8")


def test_the_clean_pictures_are_not_overwritten(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="would replace an input"):
        list(api.degrade_files([folder], folder, "denoise"))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("task", [name for name in undegrade.list_tasks() if tasks.get(name).degrade])
def test_tiny_pictures_are_degraded_or_refused(task: str) -> None:
    for size in ((1, 1), (1, 7), (7, 1), (2, 40)):
        with contextlib.suppress(InputError):
            assert api.degrade(np.full((*size, 3), 90, np.uint8), task).size


def test_a_pixel_has_no_noise_of_a_camera() -> None:
    for channels in (1, 3):
        with pytest.raises(InputError, match="1 x 1 pixels are too few for the noise of a camera"):
            api.degrade(np.full((1, 1, channels), 0.5, np.float32), "denoise", camera=1.0)
        assert np.isfinite(api.degrade(np.full((1, 2, channels), 0.5, np.float32), "denoise", camera=1.0)).all()


def test_pictures_without_room_are_refused() -> None:
    with pytest.raises(InputError, match="1 x 1 pixels are too few for scale="):
        api.degrade(np.full((1, 1, 3), 90, np.uint8), "super_resolution")


def test_wrong_places_and_values(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    before = (folder / "cat.png").read_bytes()
    out, words = str(tmp_path / "out"), ["degrade", str(folder), "-t", "denoise"]
    for arguments, status, message in (
        (["degrade", str(tmp_path / "empty"), "-t", "denoise", "-o", out], 1, "no pictures in"),
        ([*words, "-o", str(tmp_path / "out.png")], 2, "one file for 2 pictures"),
        ([*words, "-o", out, "--set", "clipped=[1"], 2, "--set clipped=[1: the value is neither"),
        ([*words, "-o", out, "--set", "seed=3"], 2, "--set seed=3: write --seed 3"),
        ([*words, "--contact-sheet", str(tmp_path / "sheet.doc")], 2, "end in a picture's suffix"),
        ([*words, "--contact-sheet", str(folder / "cat.png")], 2, "would replace one of the pictures"),
        ([*words, "--contact-sheet", str(tmp_path / "sheet.png"), "--columns", "0"], 2, "columns=0"),
        ([*words, "-o", str(folder / "cat.png" / "x")], 1, "x: cannot be read or written (Not a directory)"),
        ([*words, "-o", out, "--contact-sheet", f"{out}/cat.png"], 2, "a degraded picture is written there"),
    ):
        assert cli.run(arguments) == status
        assert message in capsys.readouterr().err
    assert (folder / "cat.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path != folder) == ["empty"]


def test_calibration_without_pictures_and_to_two_places(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    (root / "test/CBSD68").mkdir(parents=True)
    with pytest.raises(InputError, match="none of the sets"):
        calibrate(root, tasks=["denoise"])
    (root / "test/CBSD68/cat.png").write_bytes((folder / "cat.png").read_bytes())
    page = tmp_path / "page.md"
    assert cli.run(["calibrate", str(root), "-t", "denoise", "--json", "-", "--markdown", str(page)]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]
    assert "CBSD68" in page.read_text()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_not_waited_for(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    done = list(api.degrade_files([tmp_path / "pipe.png", folder], tmp_path / "out", "denoise"))
    assert [one.error for one in done] == [f"{tmp_path / 'pipe.png'}: not a regular file", "", ""]
