from __future__ import annotations

import json

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

import undegrade
from undegrade.core.device import pick
from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.core.image import Picture, read, save
from undegrade.engine.evaluate import evaluate, samples
from undegrade.metrics import protocol
from undegrade.ops.resize import imresize

HEIC = b"\0\0\0\x18ftypheic" + bytes(40)
"""The head of a picture that needs an extra; it tells of itself, whatever its name says."""


def read_picture(path) -> torch.Tensor:
    return read(path).pixels


def write_picture(path, pixels: torch.Tensor) -> None:
    path.parent.mkdir(exist_ok=True)
    save(Picture(pixels), path)


class Halved:
    """Stands for a Restorer: moves half way towards a known constant."""

    def tensor(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.5 + 0.25


class Perfect:
    def __init__(self, truth: dict[tuple[int, ...], torch.Tensor]) -> None:
        self.truth = truth

    def tensor(self, x: torch.Tensor) -> torch.Tensor:
        return self.truth[tuple(x.shape[-2:])][None]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two clean pictures, the same darkened, and pairs of them with other suffixes."""
    root = tmp_path_factory.mktemp("sets")
    picture = skimage.data.astronaut()
    parts = {"face": picture[40:140, 170:270], "badge": picture[300:372, 200:310]}
    for name, part in parts.items():
        for folder, array, suffix in (
            ("clean", part, ".png"),
            ("Demo/input", part // 2, ".webp"),
            ("Demo/target", part, ".png"),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / folder / f"{name}{suffix}", lossless=True)
    return root


def pairs(root):
    return {"inputs": root / "Demo/input", "targets": root / "Demo/target"}


def test_untouched_inputs_score_as_the_protocol_says(sets):
    report = evaluate("deraining", **pairs(sets), weights="none")
    assert [image.name for image in report.images] == ["badge", "face"]
    for image in report.images:
        low, high = (
            read_picture(sets / f"Demo/{side}") for side in (f"input/{image.name}.webp", f"target/{image.name}.png")
        )
        assert image.input == image.output == protocol.get("derain-y").score(low, high)
    assert (report.weights, report.set, report.inputs) == ("none", "Demo", "files")
    assert report.mean["psnr"] == pytest.approx(np.mean([image.output["psnr"] for image in report.images]), abs=1e-5)


def test_the_restorer_is_scored_beside_its_input(sets):
    seen = []
    report = evaluate("dehazing", **pairs(sets), restorer=Halved(), protocol="rgb", progress=seen.append, limit=1)
    low, high = read_picture(sets / "Demo/input/badge.webp"), read_picture(sets / "Demo/target/badge.png")
    assert seen == list(report.images)
    assert report.images[0].output == protocol.get("rgb").score(low * 0.5 + 0.25, high)
    assert report.images[0].input == protocol.get("rgb").score(low, high)
    assert report.images[0].seconds > 0


def test_json_has_the_agreed_shape(sets):
    report = evaluate("denoising", clean=sets / "clean", restorer=Halved(), sigma=25)
    data = json.loads(json.dumps(report.to_dict()))
    assert set(data) >= {"schema", "task", "weights", "protocol", "mean", "images", "versions"}
    assert data["schema"] == 1
    assert set(data["mean"]) >= {"psnr", "ssim", "input_psnr", "input_ssim"}
    assert set(data["images"][0]) >= {"name", "psnr", "ssim", "input_psnr", "seconds"}
    assert {"colour", "border", "rounding", "ssim_window", "resize"} <= set(data["protocol"])
    assert data["strength"] == {"sigma": 25}
    assert data["versions"]["torch"] == torch.__version__


def test_noise_depends_on_seed_and_name_only(sets, tmp_path):
    first = {sample.name: sample.input for sample in samples("denoising", clean=sets / "clean", sigma=50)}
    write_picture(tmp_path / "face.png", read_picture(sets / "clean/face.png"))
    alone = next(samples("denoising", clean=tmp_path, sigma=50))
    assert torch.equal(alone.input, first["face"])
    other = next(samples("denoising", clean=tmp_path, sigma=50, seed=1))
    assert not torch.equal(other.input, first["face"])


def test_unclipped_noise_counts_in_full_and_8bit_noise_is_clipped(sets):
    sigma = 50
    raw = evaluate("denoising", clean=sets / "clean", weights="none", sigma=sigma)
    assert raw.mean["input_psnr"] == pytest.approx(20 * np.log10(255 / sigma), abs=0.1)
    saved = evaluate("denoising", clean=sets / "clean", weights="none", sigma=sigma, protocol="rgb-8bit")
    assert saved.mean["input_psnr"] > raw.mean["input_psnr"] + 0.3
    inputs = [sample.input for sample in samples("denoising", clean=sets / "clean", sigma=sigma, protocol="rgb-8bit")]
    for noisy in inputs:
        assert float((noisy * 255 - (noisy * 255).round()).abs().max()) < 1e-4
        assert 0 <= float(noisy.min()) <= float(noisy.max()) <= 1


def test_super_resolution_is_scored_against_bicubic(sets):
    report = evaluate("super_resolution", clean=sets / "clean", weights="none", scale=3)
    sample = next(samples("super_resolution", clean=sets / "clean", scale=3))
    assert sample.target.shape[-2:] == (72, 108)  # 110 columns cut to a multiple of 3
    expected = protocol.get("y-matlab").score(imresize(sample.input, 3.0), sample.target, scale=3)
    assert report.images[0].input == pytest.approx(expected)


def test_super_resolution_of_a_perfect_restorer(sets):
    truth = {}
    for sample in samples("super_resolution", clean=sets / "clean", scale=2):
        truth[tuple(sample.input.shape[-2:])] = sample.target
    report = evaluate("super_resolution", clean=sets / "clean", restorer=Perfect(truth), scale=2)
    assert report.mean["psnr"] == protocol.IDENTICAL
    assert report.mean["input_psnr"] < 40


def test_strength_left_out(sets):
    default = evaluate("super_resolution", clean=sets / "clean", weights="none")
    assert default.strength == {"scale": 2}
    assert "MATLAB" in default.protocol["resize"]
    drawn = evaluate("denoising", clean=sets / "clean", weights="none", sigma="auto")
    assert "sigma drawn for each picture" in drawn.inputs
    assert len({round(image.input["psnr"], 2) for image in drawn.images}) == 2


def test_jpeg_is_made_of_luma(sets):
    made = list(samples("jpeg_artifacts", clean=sets / "clean", quality=10))
    assert [sample.input.shape[0] for sample in made] == [1, 1]
    report = evaluate("jpeg_artifacts", clean=sets / "clean", weights="none", quality=10)
    assert report.mean["input_psnr_b"] < report.mean["input_psnr"]
    in_colour = next(samples("jpeg_artifacts", clean=sets / "clean", quality=10, protocol="rgb"))
    assert in_colour.input.shape[0] == 3


def test_grey_meets_colour(tmp_path):
    grey = skimage.data.camera()[:40, :50]
    for folder, array in (("in", grey), ("gt", np.stack([grey] * 3, -1))):
        (tmp_path / folder).mkdir()
        Image.fromarray(array).save(tmp_path / folder / "a.png")
    report = evaluate("deraining", inputs=tmp_path / "in", targets=tmp_path / "gt", weights="none", protocol="rgb")
    assert report.mean["psnr"] == protocol.IDENTICAL
    assert read_picture(tmp_path / "in/a.png").shape[0] == 1


def test_failures_are_named_and_the_others_scored(sets, tmp_path):
    for folder in ("in", "gt"):
        for name in ("badge", "face"):
            write_picture(tmp_path / folder / f"{name}.png", read_picture(sets / f"clean/{name}.png"))
    write_picture(tmp_path / "in/small.png", torch.rand(3, 40, 40))
    write_picture(tmp_path / "gt/small.png", torch.rand(3, 41, 40))
    (tmp_path / "in/face.png").write_bytes(b"broken")
    for folder in ("in", "gt"):
        (tmp_path / folder / "phone.png").write_bytes(HEIC)
    report = evaluate("deraining", inputs=tmp_path / "in", targets=tmp_path / "gt", weights="none")
    assert [image.name for image in report.images] == ["badge"]
    assert "face.png" in report.failed["face"]
    assert report.failed["phone"]
    assert "40x40 and the target 40x41" in report.failed["small"]
    (tmp_path / "in/badge.png").unlink()
    with pytest.raises(InputError, match="no picture could be scored"):
        evaluate("deraining", inputs=tmp_path / "in", targets=tmp_path / "gt", weights="none")


def test_weights_of_another_scale_and_folders_without_pictures_are_told(sets, tmp_path):
    for folder, side in (("in", 20), ("gt", 40)):
        write_picture(tmp_path / folder / "a.png", torch.rand(3, side, side))
    with pytest.raises(
        InputError, match="a: the result is 20x20 and the target 40x40: the weights are of another scale"
    ):
        evaluate("super_resolution", inputs=tmp_path / "in", targets=tmp_path / "gt", restorer=Halved())
    with pytest.raises(InputError, match="no pictures in"):
        evaluate("denoising", clean=sets / "Demo", weights="none")


def test_pairs_tell_their_scale(tmp_path):
    for name, small, large in (("a", 20, 80), ("b", 24, 96), ("c", 20, 40)):
        write_picture(tmp_path / "lr" / f"{name}.png", torch.rand(3, small, small))
        write_picture(tmp_path / "hr" / f"{name}.png", torch.rand(3, large, large))
    folders = {"inputs": tmp_path / "lr", "targets": tmp_path / "hr"}
    report = evaluate("super_resolution", **folders, weights="none")
    assert report.strength == {"scale": 4}
    assert [image.name for image in report.images] == ["a", "b"]
    assert report.failed == {"c": "the target is 2 times as large as the input; expected: 4"}
    with pytest.raises(UsageError, match="scale=2: the targets are 4 times as large as the inputs"):
        evaluate("super_resolution", **folders, weights="none", scale=2)
    assert evaluate("super_resolution", **folders, limit=1).weights == "super_resolution_x4_fast"


def test_pictures_in_subfolders_are_taken_on_request_and_otherwise_told(sets, tmp_path):
    for name in ("a", "deep/a", "deep/b"):
        for side in ("in", "gt"):
            (tmp_path / side / "deep").mkdir(parents=True, exist_ok=True)
            write_picture(tmp_path / side / f"{name}.png", torch.rand(3, 32, 32))
    folders = {"inputs": tmp_path / "in", "targets": tmp_path / "gt"}
    assert evaluate("deraining", **folders, weights="none").inputs == "files; 2 in subfolders left out"
    report = evaluate("deraining", **folders, weights="none", recursive=True)
    assert report.inputs == "files"
    assert [image.name for image in report.images] == ["a", "deep/a", "deep/b"]
    report = evaluate("denoising", clean=tmp_path / "gt", weights="none", recursive=True, save=tmp_path / "out")
    assert [image.name for image in report.images] == ["a", "deep/a", "deep/b"]
    assert (tmp_path / "out/deep/b.png").is_file()


@pytest.mark.parametrize("task", ["super_resolution", "motion_deblurring"])
def test_a_picture_without_room_is_a_failure(sets, tmp_path, task):
    write_picture(tmp_path / "fine.png", read_picture(sets / "clean/badge.png"))
    write_picture(tmp_path / "tiny.png", torch.rand(3, 1, 1))
    report = evaluate(task, clean=tmp_path, weights="none")
    assert [image.name for image in report.images] == ["fine"]
    assert "tiny" in report.failed


def test_outputs_are_saved(sets, tmp_path):
    evaluate("dehazing", **pairs(sets), restorer=Halved(), save=tmp_path / "out")
    saved = read_picture(tmp_path / "out/face.png")
    expected = read_picture(sets / "Demo/input/face.webp") * 0.5 + 0.25
    torch.testing.assert_close(saved, expected, atol=0.5 / 255 + 1e-6, rtol=0)


def test_a_result_with_nan_is_a_failure(sets):
    class Broken:
        def tensor(self, x: torch.Tensor) -> torch.Tensor:
            return x * float("nan")

    with pytest.raises(InputError, match="NaN or infinity"):
        evaluate("dehazing", **pairs(sets), restorer=Broken())


def test_wrong_calls(sets):
    with pytest.raises(UsageError, match="limit=0"):
        evaluate("deraining", **pairs(sets), weights="none", limit=0)
    with pytest.raises(UsageError, match="give inputs and targets"):
        evaluate("deraining", weights="none")
    with pytest.raises(UsageError, match="either made here or made of pairs"):
        evaluate("deraining", **pairs(sets), clean=sets / "clean", weights="none")
    with pytest.raises(UnknownNameError, match="protocol"):
        evaluate("deraining", **pairs(sets), weights="none", protocol="derain")
    with pytest.raises(UnknownNameError, match="parameter of deraining"):
        evaluate("deraining", **pairs(sets), weights="none", sigma=3)


def test_the_report_says_how_the_weights_were_run(sets):
    report = evaluate("denoising", clean=sets / "clean", sigma=25, ensemble=8, tile=64, limit=1)
    digest = undegrade.load("denoising", device="cpu").card.sha256
    assert report.options == {"tile": 64, "ensemble": 8, "device": str(pick()), "sha256": digest}
    assert report.to_dict()["selection"] == {"seed": 0, "recursive": False, "limit": 1}
    assert evaluate("denoising", clean=sets / "clean", weights="none", sigma=25).to_dict()["options"] == {}


def test_places_and_limits_that_make_no_sense(sets):
    with pytest.raises(UsageError, match=r"face\.png: is a file: give a folder"):
        evaluate("denoising", clean=sets / "clean", weights="none", sigma=25, save=sets / "clean/face.png")
    with pytest.raises(UsageError, match=r"limit=2\.5: a whole number of pictures"):
        evaluate("denoising", clean=sets / "clean", weights="none", sigma=25, limit=2.5)


def test_results_replace_no_picture(sets, tmp_path):
    for folder in ("Demo/input", "Demo/target"):
        with pytest.raises(UsageError, match="would replace the pictures there"):
            evaluate("deraining", **pairs(sets), weights="none", save=sets / folder)
    with pytest.raises(UsageError, match="would replace the pictures there"):
        evaluate("denoising", clean=sets / "clean", weights="none", save=sets / "clean")
    with pytest.raises(UsageError, match="would replace the pictures there"):
        evaluate("denoising", clean=sets, weights="none", save=sets / "clean", recursive=True)
    for suffix in (".png", ".jpg"):
        Image.fromarray(skimage.data.astronaut()[:32, :32]).save(tmp_path / f"face{suffix}")
    with pytest.raises(UsageError, match="2 pictures are called 'face'"):
        evaluate("denoising", clean=tmp_path, weights="none")
