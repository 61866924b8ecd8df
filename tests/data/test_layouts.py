from __future__ import annotations

from pathlib import Path

import pytest

from undegrade import tasks
from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.data import layouts
from undegrade.data.folders import RULES

NAMED_IN_THE_PAPERS = [
    "RESIDE ITS", "RESIDE OTS", "SOTS-indoor", "SOTS-Outdoor", "GoPro", "HIDE", "RealBlur", "RSBlur", "Rain13K",
    "Test100", "Test1200", "Test2800", "Rain100H", "Rain100L", "CSD", "SRRS", "Snow100K", "DPDD", "DIV2K", "Set5",
    "Set14", "BSD68", "BSD100", "Urban100", "Kodak24", "McMaster", "LIVE1", "Classic5",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMED_IN_THE_PAPERS)
def test_every_set_of_the_papers_has_a_layout(name):
    layout = layouts.get(name)
    assert layout.parts
    assert set(layout.tasks) <= set(tasks.catalog.names())


def test_spellings():
    assert layouts.find("sots_indoor") is layouts.get("SOTS")
    assert layouts.find("B100").name == "bsd100"
    assert layouts.find("holiday pictures") is None
    with pytest.raises(UnknownNameError, match="did you mean 'rain100l'"):
        layouts.get("rain100")


def test_spellings_are_unique():
    seen: dict[str, str] = {}
    for layout in layouts.LAYOUTS.values():
        for name in {layouts._plain(spelling) for spelling in (layout.name, *layout.aliases)}:
            assert name not in seen, f"{name}: {layout.name} and {seen[name]}"
            seen[name] = layout.name


@pytest.mark.parametrize("name", layouts.names())
def test_patterns_and_rules_make_sense(name):
    for part in layouts.get(name).parts.values():
        assert part.rule in RULES
        assert "*" in part.targets
        assert not part.inputs or "*" in part.inputs


@pytest.mark.parametrize(
    ("name", "count"),
    [("gopro", 1111), ("dpdd", 76), ("csd", 2000), ("its", 500), ("hide", 2025), ("div2k", 100), ("dpdd-demo", 0)],
)
def test_the_number_of_test_pictures(name, count):
    assert layouts.get(name).tested == count


def test_benchmarks_of_the_tasks_are_layouts():
    for name in tasks.catalog.names():
        for benchmark in tasks.get(name).benchmarks:
            assert layouts.find(benchmark) is not None, f"{name}: {benchmark}"


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_locate_reside(tmp_path):
    fill(tmp_path, "train/hazy/1_1_0.9.png", "train/hazy/1_2_0.8.png", "train/hazy/12_1_0.9.png")
    fill(tmp_path, "train/gt/1.png", "train/gt/12.png")
    pairs = layouts.get("ITS").locate(tmp_path, "train").pairs
    assert [(pair.name, pair.target.name) for pair in pairs] == [
        ("1_1_0.9", "1.png"),
        ("1_2_0.8", "1.png"),
        ("12_1_0.9", "12.png"),
    ]


def test_locate_outdoor_reside_in_several_folders(tmp_path):
    fill(tmp_path, "hazy/part1/0005_0.8_0.2.jpg", "hazy/part2/0005_1_0.2.jpg", "clear/0005.jpg")
    matching = layouts.get("OTS").locate(tmp_path, "reside")
    assert [(pair.name, pair.target.name) for pair in matching.pairs] == [
        ("part1/0005_0.8_0.2", "0005.jpg"),
        ("part2/0005_1_0.2", "0005.jpg"),
    ]


def test_locate_gopro_scenes(tmp_path):
    for scene in ("GOPR0384_11_00", "GOPR0385_11_01"):
        fill(tmp_path, *(f"test/{scene}/{side}/000001.png" for side in ("blur", "blur_gamma", "sharp")))
    matching = layouts.get("gopro").locate(tmp_path, "test-scenes")
    assert [pair.name for pair in matching.pairs] == ["GOPR0384_11_00/blur/000001", "GOPR0385_11_01/blur/000001"]
    assert [pair.target.parts[-3:] for pair in matching.pairs] == [
        ("GOPR0384_11_00", "sharp", "000001.png"),
        ("GOPR0385_11_01", "sharp", "000001.png"),
    ]
    assert not matching.lonely_inputs
    assert not matching.ambiguous


def test_locate_hide_in_two_subfolders(tmp_path):
    fill(tmp_path, "test/close/1.png", "test/long/2.png", "GT/1.png", "GT/2.png")
    matching = layouts.get("hide").locate(tmp_path, "official")
    assert [(pair.name, pair.target.name) for pair in matching.pairs] == [("close/1", "1.png"), ("long/2", "2.png")]
    assert not matching.lonely_targets


def test_locate_div2k_scale_and_clean(tmp_path):
    fill(tmp_path, "DIV2K_train_HR/0001.png", "DIV2K_train_LR_bicubic/X3/0001x3.png")
    layout = layouts.get("DIV2K")
    assert layout.locate(tmp_path, "train-lr", scale=3).pairs[0].input.name == "0001x3.png"
    pair = layout.locate(tmp_path, "train").pairs[0]
    assert pair.input == pair.target
    with pytest.raises(UsageError, match="give scale"):
        layout.locate(tmp_path, "train-lr")


def test_hidden_files_are_no_pictures(tmp_path):
    fill(tmp_path, "test/hazy/1_1.png", "test/hazy/._1_1.png", "test/gt/1.png", "test/gt/._1.png")
    matching = layouts.get("ITS").locate(tmp_path)
    assert [pair.name for pair in matching.pairs] == ["1_1"]
    assert not matching.lonely_inputs + matching.lonely_targets


def test_locate_says_where_it_looked(tmp_path):
    with pytest.raises(InputError, match="no pictures of GoPro at"):
        layouts.get("gopro").locate(tmp_path)
    with pytest.raises(UnknownNameError, match="split of gopro"):
        layouts.get("gopro").locate(tmp_path, "valid")
