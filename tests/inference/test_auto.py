"""`auto`: what is shown to the classifier, what is made of its answers, and that the shipped one knows plain cases."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from undegrade import cli, load, tasks, weights_card
from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.core.formats import Metadata
from undegrade.core.image import Picture, read
from undegrade.inference import judging
from undegrade.inference.auto import Auto
from undegrade.inference.chain import Chain
from undegrade.inference.judging import CROP, VIEW, Diagnosis, crops, diagnose, places, shown, view
from undegrade.networks import _measures
from undegrade.networks._judge import FAULTS, NOTHING, Judge, JudgeConfig, Opinion, measured
from undegrade.networks._measures import _airlight as airlight
from undegrade.networks._measures import _blurred_again as blurred_again
from undegrade.networks._measures import _by_darkness as by_darkness
from undegrade.networks._measures import _diagonals as diagonals
from undegrade.networks._measures import _edges as edges
from undegrade.networks._measures import _lonely as lonely
from undegrade.networks._measures import _peaks as peaks
from undegrade.networks._measures import _sharpness as sharpness
from undegrade.ops.filters import gaussian_blur
from undegrade.ops.jpeg import tables


class Sure(nn.Module):
    """A classifier with a fixed opinion: the main fault, and those that are there besides, whatever it is shown."""

    def __init__(self, main: str | None = None, wrong: float = 0.9, **present: float) -> None:
        super().__init__()
        cases = [(1.0 - wrong) if case == len(FAULTS) else 0.01 for case in range(len(FAULTS) + 1)]
        if main:
            cases[FAULTS.index(main)] = wrong
        else:
            cases[-1] = 1.0
        self.opinion = Opinion(
            torch.tensor([cases]).log(),
            torch.tensor([[present.get(name, -3.0) for name in FAULTS]]),
            torch.arange(1.0, len(FAULTS) + 1)[None] / 8,
            torch.tensor([0.42]),
        )

    def forward(self, crops: Tensor, view: Tensor) -> Opinion:
        assert crops.shape[0] == 1
        assert crops.shape[2:] == (3, CROP, CROP)
        assert view.shape == (1, 3, VIEW, VIEW)
        return self.opinion


def coffee(height: int = 256, width: int = 320) -> Tensor:
    return torch.from_numpy(skimage.data.coffee()[:height, 100 : 100 + width].copy()).permute(2, 0, 1) / 255


def spoilt(task: str, **strength: object) -> Tensor:
    degrade = tasks.get(task).degrade
    assert degrade is not None
    return degrade(coffee(), torch.Generator().manual_seed(1), **strength).clamp(0, 1)


@pytest.mark.parametrize("size", [(128, 128), (129, 700), (400, 136), (3000, 2000)])
def test_crops_lie_inside_on_the_grid_of_jpeg_and_reach_the_edges(size: tuple[int, int]) -> None:
    corners = places(torch.rand(3, *size, generator=torch.Generator().manual_seed(0)))
    assert len(set(corners)) == len(corners) <= 16
    for axis in (0, 1):
        starts = [corner[axis] for corner in corners]
        assert min(starts) == 0
        assert size[axis] - CROP - 8 < max(starts) <= size[axis] - CROP
        assert all(start % 8 == 0 for start in starts)


def test_crops_look_where_there_is_something_to_see() -> None:
    calm = torch.full((3, 900, 900), 0.5)
    assert len(places(calm)) <= 16
    calm[:, 200:280, 600:680] = coffee(80, 80)
    assert any(120 <= top <= 264 and 520 <= left <= 664 for top, left in places(calm)[9:])


@pytest.mark.parametrize("shape", [(1, 40, 300), (3, 1, 1), (3, 200, 130)])
def test_small_and_grey_pictures_are_shown_whole(shape: tuple[int, int, int]) -> None:
    pixels = shown(torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 3 - 1)
    assert pixels.shape[0] == 3
    assert min(pixels.shape[-2:]) >= CROP
    assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 1
    assert crops(pixels, places(pixels)).shape[1:] == (3, CROP, CROP)
    assert view(pixels).shape == (3, VIEW, VIEW)


@pytest.mark.parametrize("border", [(20, 31, 0, 0), (3, 3, 40, 5), (64, 64, 64, 64)])
def test_borders_of_one_colour_are_not_judged(border: tuple[int, int, int, int]) -> None:
    seen = []

    class Watching(Sure):
        def forward(self, crops: Tensor, view: Tensor) -> Opinion:
            seen.append((crops, view))
            return super().forward(crops, view)

    left, right, top, bottom = border
    picture = coffee(250, 310)
    framed = torch.nn.functional.pad(picture, (left, right, top, bottom), value=0.9999)
    framed -= (torch.rand(framed.shape, generator=torch.Generator().manual_seed(0)) < 0.1) / 255 * (framed == 0.9999)
    lined = torch.nn.functional.pad(framed, (8, 8, 8, 8), value=0.0)  # a black line around it
    # What is left begins on the grid of the blocks.
    inner = picture[:, -top % 8 if top else 0 :, -left % 8 if left else 0 :]
    for pixels in (inner, framed, lined):
        diagnose(Picture(pixels, Metadata()), Watching("deraining"))  # type: ignore[arg-type]
    for near, far in seen[1:]:
        torch.testing.assert_close(near, seen[0][0])
        torch.testing.assert_close(far, seen[0][1])
    sky = torch.cat([torch.linspace(0.8, 0.83, 310).expand(3, 60, -1), picture], dim=1)
    assert judging._unframed(sky).shape == sky.shape
    assert judging._unframed(torch.ones(3, 200, 200)).shape == (3, 200, 200)
    narrow = torch.nn.functional.pad(coffee(90, 90), (50, 50, 50, 50))
    assert judging._unframed(narrow).shape == narrow.shape


def test_every_parameter_of_the_network_counts() -> None:
    torch.manual_seed(0)
    judge = Judge(JudgeConfig(minds=2))
    opinion = judge(torch.rand(3, 2, 3, CROP, CROP), torch.rand(3, 3, VIEW, VIEW))
    assert opinion.cases.shape == (3, NOTHING + 1)
    assert opinion.present.shape == opinion.strengths.shape == (3, len(FAULTS))
    assert (opinion.strengths >= 0).all()
    torch.cat([opinion.cases[:, :NOTHING], *opinion[1:3], opinion.quality[:, None]], dim=1).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in judge.parameters())


def test_the_order_of_the_crops_does_not_matter() -> None:
    torch.manual_seed(0)
    judge = Judge().eval()
    near, far = torch.rand(1, 4, 3, CROP, CROP), torch.rand(1, 3, VIEW, VIEW)
    assert torch.allclose(judge(near, far).cases, judge(near.flip(1), far).cases, atol=1e-5)


def test_each_picture_is_measured_alone() -> None:
    torch.manual_seed(0)
    near, far = torch.rand(2, 3, 3, CROP, CROP), torch.rand(2, 3, VIEW, VIEW)
    together = measured(near, far)
    for row in range(2):
        for whole, part in zip(together, measured(near[row : row + 1], far[row : row + 1]), strict=True):
            assert torch.allclose(whole[row], part[0], atol=1e-4)


def test_blur_takes_the_steepest_step_of_an_edge_and_motion_takes_it_in_one_direction() -> None:
    stripes = ((torch.arange(CROP) // 12) % 2).float()
    checks = (stripes[:, None] - stripes[None]).abs()[None, None]
    shifts = torch.stack([checks.roll(shift, 3) for shift in range(-3, 4)])
    sharp, moved = edges(checks)[0], edges(shifts.mean(0))[0]
    across, down = slice(0, 3), slice(6, 9)  # of short lines
    assert (moved[across] < 0.5 * sharp[across]).all()
    assert torch.allclose(moved[down], sharp[down], atol=0.05)


def test_flakes_make_bright_peaks_and_no_dark_ones() -> None:
    calm = torch.full((1, 1, 96, 96), 0.4)
    snowy = calm.clone()
    snowy[..., 8::16, 8::16] = 0.9
    bright, dark = (peaks(plane)[0].view(2, 2, 2, 4) for plane in (snowy, 1 - snowy))
    assert bright[0, 0, 0].max() > -6  # one pixel in 256
    assert torch.equal(bright[:, :, 0], dark[:, :, 1])
    assert torch.equal(bright[:, :, 1], peaks(calm)[0].view(2, 2, 2, 4)[:, :, 1])
    large = calm.clone()
    large[..., 24:28, 24:28] = 0.9  # one pixel of a quarter
    assert (lonely(large) - lonely(calm))[0, :4].min() > 0


def test_airlight_is_the_colour_of_the_haze_and_tells_how_much_comes_through() -> None:
    clean = coffee(192, 192)[None] * torch.rand(1, 1, 192, 192, generator=torch.Generator().manual_seed(1)).round()
    light, ramp = torch.tensor([0.7, 0.75, 0.8])[:, None, None], torch.linspace(0.05, 1, 192)[:, None]
    told = airlight(clean * ramp + light * (1 - ramp))[0]
    assert torch.allclose(told[:3], light.flatten(), atol=0.08)
    rows = told[11:17]  # from what is far, at the top, to what is near
    assert (rows.diff() > 0).all()
    assert rows[0] < 0.3
    assert rows[-1] > 0.8


def test_a_further_blur_takes_much_of_a_sharp_picture_and_little_of_a_blurred_one() -> None:
    sharp = coffee(96, 96).mean(dim=0)[None, None]
    again, left = (blurred_again(plane)[0] for plane in (sharp, gaussian_blur(sharp[0], 2)[None]))
    assert (again[::6] > 1.2 * left[::6]).all()
    steps = [sharpness(plane)[0].view(4, 5)[0] for plane in (sharp, gaussian_blur(sharp[0], 2)[None])]
    assert (steps[0] > steps[1]).all()


def test_haze_lifts_what_is_darkest() -> None:
    clean = coffee(96, 96)[None]
    found = [by_darkness(one, one.mean(dim=1, keepdim=True))[0] for one in (clean, 0.5 * clean + 0.4)]
    dark = [one[30:36] for one in found]
    assert (dark[0].diff() >= 0).all()
    assert torch.allclose(dark[1], 0.5 * dark[0] + 0.4, atol=1e-5)


def test_diagonals_become_rows() -> None:
    place = torch.arange(8.0)
    rows = diagonals((place[:, None] * 10 + place)[None, None])
    assert rows.shape == (1, 2, 5, 4)
    assert rows[0, 0, 1].tolist() == [1, 12, 23, 34]
    assert rows[0, 1, 0].tolist() == [40, 51, 62, 73]


def found(diagnosis: Diagnosis) -> list[str]:
    return [finding.task for finding in diagnosis.findings]


def test_faults_are_taken_away_in_the_opposite_order_of_how_they_came() -> None:
    judge = Sure("dehazing", denoising=2, jpeg_artifacts=3, motion_deblurring=1)
    diagnosis = diagnose(Picture(coffee()), judge)
    assert found(diagnosis) == ["denoising", "jpeg_artifacts", "motion_deblurring", "dehazing"]
    assert [dict(finding.parameters) for finding in diagnosis.findings] == [{"sigma": 8}, {"quality": 42}, {}, {}]
    assert diagnosis.main is diagnosis.findings[-1]
    assert diagnosis.main.confidence == pytest.approx(diagnosis.wrong) == pytest.approx(0.9, abs=0.03)
    assert diagnosis.summary.startswith("denoising (sigma 8), jpeg_artifacts (quality 42), motion_deblurring")


def test_of_rivals_the_main_one_counts_or_the_more_certain() -> None:
    judge = Sure("deraining", desnowing=2, motion_deblurring=0.2, defocus_deblurring=0.1)
    assert found(diagnose(Picture(coffee()), judge)) == ["motion_deblurring", "deraining"]


@pytest.mark.parametrize(("wrong", "task"), [(0.45, None), (0.6, "desnowing")])
def test_all_faults_together_must_be_likelier_than_none(wrong: float, task: str | None) -> None:
    """Rain and snow share what speaks against a fine picture, so neither need be likelier than nothing on its own."""
    judge = Sure(desnowing=9)
    judge.opinion.cases[0] = torch.tensor([1e-6] * 4 + [0.45 * wrong, 1e-6, 0.55 * wrong, 1 - wrong]).log()
    diagnosis = diagnose(Picture(coffee()), judge)
    assert (diagnosis.main.task if diagnosis.main else None) == task
    assert found(diagnosis) == ([task] if task else [])
    assert diagnosis.wrong == pytest.approx(wrong, abs=1e-3)


def test_nothing() -> None:
    diagnosis = diagnose(Picture(coffee()), Sure())
    assert diagnosis.findings == ()
    assert diagnosis.main is None
    assert diagnosis.to_dict()["main"] is None
    assert diagnosis.summary == "nothing wrong"


@pytest.mark.parametrize(
    ("quality", "main", "told"),
    [
        (30, None, 30),
        (75, None, 75),
        (90, None, None),
        (90, "jpeg_artifacts", 42),
        (60, "jpeg_artifacts", 60),
    ],
)
def test_the_tables_of_the_file_are_believed(quality: int, main: str | None, told: int | None) -> None:
    metadata = Metadata("JPEG", quantisation=tuple(tables(quality)[0].reshape(-1).tolist()))
    diagnosis = diagnose(Picture(coffee(), metadata=metadata), Sure(main))
    assert diagnosis.file_quality == quality
    assert [finding.parameters["quality"] for finding in diagnosis.findings] == ([] if told is None else [told])
    assert (diagnosis.main is None) == (told is None)


def test_rain_in_a_coarse_file_stays_the_main_fault() -> None:
    metadata = Metadata("JPEG", quantisation=tuple(tables(70)[0].reshape(-1).tolist()))
    diagnosis = diagnose(Picture(coffee(), metadata=metadata), Sure("deraining"))
    assert found(diagnosis) == ["jpeg_artifacts", "deraining"]
    assert diagnosis.main is diagnosis.findings[1]


def test_tables_are_read_from_files() -> None:
    file = io.BytesIO()
    Image.fromarray(skimage.data.coffee()[:64, :64]).save(file, "JPEG", quality=37)
    assert judging.quality_of_tables(read(file.getvalue()).metadata.quantisation) == 37
    file = io.BytesIO()
    Image.fromarray(skimage.data.coffee()[:64, :64]).save(file, "PNG")
    assert read(file.getvalue()).metadata.quantisation == ()


@pytest.mark.parametrize("size", [(1, 1), (200, 160)])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_where_there_is_nothing_to_see_nothing_is_found(auto: Auto, level: float, size: tuple[int, int]) -> None:
    flat = torch.full((3, *size), level)
    assert auto.diagnose(flat).summary == "nothing wrong"
    assert torch.equal(auto(flat), flat)
    flat[0, 0, 0] = abs(level - 1 / 255)
    assert auto.diagnose(flat).findings == ()
    metadata = Metadata("JPEG", quantisation=tuple(tables(30)[0].reshape(-1).tolist()))
    diagnosis = diagnose(Picture(flat, metadata=metadata), Sure("denoising"))
    assert (diagnosis.findings, diagnosis.file_quality) == ((), 30)


def test_noise_shows_on_a_flat_picture_too(auto: Auto) -> None:
    noise = torch.randn(3, 128, 160, generator=torch.Generator().manual_seed(0)) * 8 / 255
    assert "denoising" in found(auto.diagnose(0.5 + noise))


def test_noise_beyond_all_training_is_told_as_the_strongest_known() -> None:
    judge = Sure("denoising")
    judge.opinion.strengths[0] = 99.0
    (finding,) = diagnose(Picture(coffee()), judge).findings
    assert dict(finding.parameters) == {"sigma": 75}
    assert finding.strength > 75


@pytest.mark.parametrize(("light", "expected"), [(0.15, ["denoising"]), (1.0, ["denoising", "desnowing"])])
def test_bright_dots_in_the_dark_are_no_snow(light: float, expected: list[str]) -> None:
    assert found(diagnose(Picture(coffee() * light), Sure("denoising", desnowing=2))) == expected


def test_broken_pixels_are_refused() -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        diagnose(Picture(torch.full((3, 9, 9), float("nan"))), Sure())


@pytest.fixture(scope="module")
def auto() -> Auto:
    loaded = load("auto", device="cpu")
    assert isinstance(loaded, Auto)
    return loaded


@pytest.mark.parametrize("shape", [(40, 50), (2, 40, 50), (1, 3, 40, 50), (40, 50, 3), (3, 0, 50)])
def test_pictures_of_other_shapes_are_refused_in_a_line(auto: Auto, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"pixels of shape .*: must be \(1 or 3, H, W\)"):
        auto(Picture(torch.zeros(shape)))


def test_it_is_what_is_loaded_when_nothing_is_said(auto: Auto) -> None:
    for same in (load(device="cpu"), load("auto_fast"), load(weights="auto_fast")):
        assert isinstance(same, Auto)
        assert same.info == auto.info
    assert auto.info["weights"] == "auto_fast"
    training = auto.info["training"]
    assert training["recipe"] == "scripts/train_auto.py"
    assert json.loads(json.dumps(training)) == training
    assert load(scale=2).info["task"] == "super_resolution"
    with pytest.raises(UsageError, match="auto chooses the networks"):
        load("auto", network="chair")
    with pytest.raises(UnknownNameError, match="unknown parameter of auto 'sigma'"):
        load("auto", sigma=3)


def test_size() -> None:
    assert weights_card("auto_fast").task == "auto"
    assert judging.store.find("auto_fast").path.stat().st_size < 5_000_000


def test_a_clean_picture_passes_unchanged(auto: Auto) -> None:
    clean = skimage.data.coffee()
    assert auto.diagnose(clean).findings == ()
    assert np.array_equal(auto(clean), clean)


@pytest.mark.parametrize(
    ("task", "strength"),
    [
        ("denoising", {"sigma": 30}),
        ("jpeg_artifacts", {"quality": 12}),
        ("deraining", {"heavy": 1.0}),
        ("dehazing", {"transmission": 0.4}),
    ],
)
def test_plain_cases_are_known(auto: Auto, task: str, strength: dict[str, float]) -> None:
    diagnosis = auto.diagnose(spoilt(task, **strength))
    assert diagnosis.main is not None
    assert diagnosis.main.task == task
    for name, value in diagnosis.main.parameters.items():
        assert value == pytest.approx(strength[name], abs=12)


def test_restoring_says_what_was_found_and_done(auto: Auto) -> None:
    noisy = spoilt("denoising", sigma=30)
    result = auto.picture(Picture(noisy))
    report = result.report["auto"]
    assert report["main"] == "denoising"
    assert {"task": "denoising", "weights": "denoising_fast"} in report["done"]
    json.dumps(report)
    assert (result.pixels - coffee()).square().mean() < 0.3 * (noisy - coffee()).square().mean()


def test_each_picture_of_a_batch_is_judged_alone(auto: Auto) -> None:
    batch = torch.stack([coffee(), spoilt("denoising", sigma=30)])
    assert torch.equal(auto(batch)[0], batch[0])
    assert not torch.equal(auto.tensor(batch)[1], batch[1])


def test_batches_of_other_channels_are_refused(auto: Auto) -> None:
    for channels in (2, 4, 5):
        with pytest.raises(
            UsageError, match=rf"tensor of shape \(1, {channels}, 64, 64\): must be \(B, 1 or 3, H, W\)"
        ):
            auto.tensor(torch.zeros(1, channels, 64, 64))


@pytest.mark.parametrize(
    ("options", "message"), [({"tiel": 64}, "option 'tiel': did you mean 'tile'"), ({"strength": 9}, "strength=9")]
)
def test_wrong_options_are_told_for_pictures_with_nothing_wrong(
    auto: Auto, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        replace(auto, judge=Sure())(coffee(64, 64), **options)


def test_tensors_of_integers_are_refused(auto: Auto) -> None:
    with pytest.raises(InputError, match=r"tensor of type torch\.uint8: must be float"):
        auto.tensor(torch.full((1, 3, 64, 64), 100, dtype=torch.uint8))


def test_what_the_program_has_set_for_new_tensors_does_not_matter(auto: Auto) -> None:
    noisy = spoilt("denoising", sigma=30)
    told = auto.diagnose(noisy)
    _measures._lines.cache_clear()
    _measures._waves.cache_clear()
    _measures._sectors.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert load("auto", device="cpu").diagnose(noisy) == told
    finally:
        torch.set_default_dtype(torch.float32)


def test_it_is_shown_in_one_line(auto: Auto) -> None:
    assert repr(auto) == f"Auto(weights={auto.card.id})"


def test_it_may_stand_in_a_chain() -> None:
    chain = load("auto,sr", scale=2, device="cpu")
    assert chain.scale == 2
    result = chain.picture(Picture(coffee(64, 80)))
    assert result.size == (128, 160)
    assert "auto" in result.report


def test_a_second_look_is_at_the_pixels_and_both_are_told(auto: Auto) -> None:
    metadata = Metadata("JPEG", quantisation=tuple(tables(20)[0].reshape(-1).tolist()))
    chain = Chain((replace(auto, judge=Sure()), replace(auto, judge=Sure())))
    report = chain.picture(Picture(coffee(64, 64), metadata=metadata)).report["auto"]
    assert report["summary"] == "jpeg_artifacts (quality 20), then nothing wrong"
    assert [finding["task"] for finding in report["found"]] == ["jpeg_artifacts"]
    assert [step["task"] for step in report["done"]] == ["jpeg_artifacts"]


def test_weights_of_another_task_are_refused() -> None:
    with pytest.raises(UsageError, match="task=auto: the weights denoising_best are for denoising"):
        load(task="auto", weights="denoising_best")


def test_weights_are_opened_when_they_are_needed_and_once(auto: Auto) -> None:
    opened: list[str] = []

    def restorer(name: str) -> object:
        opened.append(name)
        return auto.restorer(name)

    watched = replace(auto, judge=Sure(), restorer=restorer)
    watched(coffee())
    assert opened == []
    watched = replace(watched, judge=Sure("denoising"))
    watched(coffee(64, 64))
    assert opened == ["denoising"]
    assert auto.restorer("denoising") is auto.restorer("denoising")


def test_the_command_tells(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray((spoilt("denoising", sigma=30).permute(1, 2, 0) * 255).byte().numpy()).save(tmp_path / "a.png")
    assert cli.run(["restore", str(tmp_path / "a.png"), "--device", "cpu", "--json", str(tmp_path / "x.json")]) == 0
    assert "denoising (sigma" in capsys.readouterr().out
    told = json.loads((tmp_path / "x.json").read_text())
    assert told["restorer"]["task"] == "auto"
    report = told["results"][0]["reports"][0]["auto"]
    assert report["found"][0]["task"] == "denoising"
    assert report["found"][0]["parameters"]["sigma"] == pytest.approx(30, abs=8)


def test_stars_are_not_snow(auto: Auto) -> None:
    assert auto.diagnose(skimage.data.hubble_deep_field()[:400, :600]).findings == ()


@pytest.mark.parametrize(
    ("ground", "discs"),
    [
        ((225, 230, 235), [(210, 218, 226), (235, 238, 240), (200, 210, 222)]),
        ((20, 20, 30), [(35, 35, 50), (28, 26, 44)]),
        ((255, 255, 255), [(230, 60, 60), (60, 160, 90), (40, 90, 200)]),
    ],
)
def test_drawings_are_fine(auto: Auto, ground: tuple[int, ...], discs: list[tuple[int, ...]]) -> None:
    draw, sheet = np.random.default_rng(0), Image.new("RGB", (960, 720), ground)
    for number in range(30):
        x, y, side = draw.integers((0, 0, 20), (960, 720, 200))
        ImageDraw.Draw(sheet).ellipse((x, y, x + side, y + side), fill=discs[number % len(discs)])
    assert auto.diagnose(sheet.resize((480, 360), Image.Resampling.LANCZOS)).findings == ()
