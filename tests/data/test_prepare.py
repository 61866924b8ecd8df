from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from undegrade.core.errors import UsageError
from undegrade.core.image import load_rgb
from undegrade.data.folders import list_pictures, match_folders, pair_folders
from undegrade.data.prepare import crop_corners, prepare, prepare_data


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return array


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_whole_files_are_copied_untouched(tmp_path):
    save(tmp_path / "hazy/7_1.png", noise(8, 8))
    save(tmp_path / "hazy/7_2.png", noise(8, 8, 1))
    save(tmp_path / "gt/7.bmp", noise(8, 8, 2))
    done = prepare(match_folders(tmp_path / "hazy", tmp_path / "gt", "before-underscore"), tmp_path / "out")
    assert (done.pairs, done.files, done.skipped) == (2, 2, {})
    pairs = pair_folders(tmp_path / "out/input", tmp_path / "out/target")
    assert [pair.name for pair in pairs] == ["7_1", "7_2"]
    assert pairs[1].target.read_bytes() == (tmp_path / "gt/7.bmp").read_bytes()


@pytest.mark.parametrize("crop", [None, 8])
def test_names_that_the_disk_takes_for_one(tmp_path, crop):
    for name in ("A", "a"):
        save(tmp_path / f"in/{name}.png", noise(8, 8, ord(name)))
    if (tmp_path / "in/A.png").samefile(tmp_path / "in/a.png"):
        pytest.skip("no such set on this disk")
    found, place = match_folders(tmp_path / "in", tmp_path / "in"), "_000" if crop else ""
    assert prepare(found, tmp_path / "out", crop=crop).files == 2
    assert prepare(found, tmp_path / "out", crop=crop).files == 0
    (tmp_path / f"out/a{place}.png").unlink()
    (tmp_path / f"out/a{place}.png").hardlink_to(tmp_path / f"out/A{place}.png")  # as where case is ignored
    with pytest.raises(UsageError, match=f"[Aa]{place}.png: this disk takes it for [Aa]{place}.png"):
        prepare(found, tmp_path / "out", crop=crop)


def test_a_file_that_cannot_be_read_stops_no_other(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.png", noise(8, 8))
    found = match_folders(tmp_path, tmp_path)
    (tmp_path / "a.png").unlink()
    done = prepare(found, tmp_path / "out")
    assert done.files == 1
    assert list(done.skipped) == ["a"]
    assert "cannot be read (No such file" in done.skipped["a"]


@pytest.mark.parametrize(("size", "crop", "stride"), [(10, 4, 4), (10, 4, 3), (4, 4, 4), (11, 5, 2), (8, 4, 4)])
def test_crops_cover_everything_and_stay_inside(size, crop, stride):
    covered = np.zeros((size, size + 3), bool)
    corners = list(crop_corners(size, size + 3, crop, stride))
    for top, left in corners:
        assert top + crop <= size
        assert left + crop <= size + 3
        covered[top : top + crop, left : left + crop] = True
    assert covered.all()
    assert len(set(corners)) == len(corners)


def test_crops_of_both_sides_belong_together(tmp_path):
    low = save(tmp_path / "lr/a.png", noise(10, 12))
    high = np.kron(low, np.ones((2, 2, 1), np.uint8))
    save(tmp_path / "hr/a.png", high)
    done = prepare(match_folders(tmp_path / "lr", tmp_path / "hr"), tmp_path / "out", crop=6, stride=4, scale=2)
    pairs = pair_folders(tmp_path / "out/input", tmp_path / "out/target")
    assert done.files == len(pairs) == 6
    for pair in pairs:
        small, large = (load_rgb(file) for file in (pair.input, pair.target))
        assert small.shape == (6, 6, 3)
        np.testing.assert_array_equal(large[::2, ::2], small)


def test_border_of_raw_labels_is_cut(tmp_path):
    save(tmp_path / "hazy/7_1.png", noise(6, 8))
    label = save(tmp_path / "gt/7.png", noise(26, 28, 1))
    prepare_data(tmp_path, tmp_path / "out", layout="SOTS-indoor", split="reside")
    np.testing.assert_array_equal(load_rgb(tmp_path / "out/target/7_1.png"), label[10:-10, 10:-10])


def test_clean_set_goes_into_one_folder_and_grey_stays_grey(tmp_path):
    save(tmp_path / "clean/scene/a.png", noise(9, 9)[..., 0])
    done = prepare_data(tmp_path / "clean", tmp_path / "out", crop=8, recursive=True)
    files = list_pictures(tmp_path / "out")
    assert [file.name for file in files] == [f"scene-a_{number:03d}.png" for number in range(4)]
    assert done.files == 4
    with Image.open(files[0]) as picture:
        assert picture.mode == "L"


def test_damaged_pictures_are_skipped_and_named(tmp_path):
    save(tmp_path / "clean/fine.png", noise(8, 8))
    (tmp_path / "clean/text.png").write_text("no picture")
    done = prepare_data(tmp_path / "clean", tmp_path / "out", crop=8)
    assert done.files == 1
    assert "not a picture" in done.skipped["text"]


def test_pictures_that_need_an_extra_are_skipped_and_named(tmp_path):
    save(tmp_path / "clean/a.png", noise(20, 20))
    (tmp_path / "clean/phone.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    done = prepare_data(tmp_path / "clean", tmp_path / "out", crop=8)
    assert done.files > 0
    assert list(done.skipped) == ["phone"]


def test_all_kinds_of_pictures_become_eight_bits(tmp_path):
    grey = save(tmp_path / "clean/deep.png", np.array([[0, 65535], [257 * 100, 257 * 7]], np.uint16))
    clear = save(tmp_path / "clean/clear.png", np.dstack([noise(2, 2), np.zeros((2, 2), np.uint8)]))
    prepare_data(tmp_path / "clean", tmp_path / "out", crop=2)
    with Image.open(tmp_path / "out/deep_000.png") as deep, Image.open(tmp_path / "out/clear_000.png") as colours:
        np.testing.assert_array_equal(np.asarray(deep), grey // 257)
        np.testing.assert_array_equal(np.asarray(colours), clear[..., :3])


def test_small_or_unequal_pictures_are_skipped_and_named(tmp_path):
    save(tmp_path / "in/small.png", noise(4, 9))
    save(tmp_path / "gt/small.png", noise(4, 9))
    save(tmp_path / "in/odd.png", noise(9, 9))
    save(tmp_path / "gt/odd.png", noise(9, 8))
    done = prepare(match_folders(tmp_path / "in", tmp_path / "gt"), tmp_path / "out", crop=8)
    assert done.files == 0
    assert "smaller than a crop of 8" in done.skipped["small"]
    assert "9x9 is needed" in done.skipped["odd"]


def test_whole_pairs_of_unequal_sizes_are_skipped_and_named(tmp_path):
    save(tmp_path / "in/odd.png", noise(9, 9))
    save(tmp_path / "gt/odd.png", noise(18, 18))
    matching = match_folders(tmp_path / "in", tmp_path / "gt")
    done = prepare(matching, tmp_path / "out")
    assert "9x9 is needed, not 18x18" in done.skipped["odd"]
    assert not (tmp_path / "out").exists()
    assert prepare(matching, tmp_path / "out", scale=2).files == 1


def test_a_photograph_stored_lying_fits_its_upright_target(tmp_path):
    (tmp_path / "in").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise(8, 16)).save(tmp_path / "in/a.jpg", exif=turned)
    save(tmp_path / "gt/a.png", noise(16, 8))
    assert prepare(match_folders(tmp_path / "in", tmp_path / "gt"), tmp_path / "out").skipped == {}


def test_refusals(tmp_path):
    save(tmp_path / "in/a.png", noise(4, 4))
    save(tmp_path / "gt/b.png", noise(4, 4))
    matching = match_folders(tmp_path / "in", tmp_path / "gt")
    with pytest.raises(UsageError, match="1 inputs have no target"):
        prepare(matching, tmp_path / "out")
    for numbers, message in (
        ({"crop": 0}, "crop=0"),
        ({"stride": 4}, "stride=4: is the distance between crops"),
        ({"crop": 2, "scale": 0}, "scale=0"),
    ):
        with pytest.raises(UsageError, match=message):
            prepare(matching, tmp_path / "out", **numbers)


def test_of_two_files_for_one_name_none_is_left_out_silently(tmp_path):
    for suffix in (".png", ".bmp"):
        save(tmp_path / f"clean/b{suffix}", noise(16, 16))
    save(tmp_path / "gt/b.png", noise(16, 16))
    with pytest.raises(UsageError, match="'b' is claimed by"):
        prepare_data(tmp_path / "clean", tmp_path / "out", crop=8)
    with pytest.raises(UsageError, match="'b' is claimed by"):
        prepare_data(None, tmp_path / "out", inputs=tmp_path / "clean", targets=tmp_path / "gt")
    assert not (tmp_path / "out").exists()
    assert prepare_data(tmp_path / "clean", tmp_path / "out").files == 2  # whole, they keep their suffixes


def test_two_targets_do_not_share_a_place(tmp_path):
    for name in ("in/x-1.png", "in/x/1.bmp", "gt/x-1.png", "gt/x/1.png"):
        save(tmp_path / name, noise(16, 16))
    with pytest.raises(UsageError, match="'x-1' is claimed by"):
        prepare_data(None, tmp_path / "out", inputs=tmp_path / "in", targets=tmp_path / "gt", recursive=True)


def test_files_that_are_there_are_kept_and_not_counted(tmp_path):
    save(tmp_path / "clean/b.png", noise(16, 16))
    for crop, files in ((None, 1), (8, 4)):
        assert prepare_data(tmp_path / "clean", tmp_path / f"out{crop}", crop=crop).files == files
        assert prepare_data(tmp_path / "clean", tmp_path / f"out{crop}", crop=crop).files == 0


def test_a_file_that_cannot_be_finished_is_not_left_behind(tmp_path, monkeypatch):
    save(tmp_path / "clean/b.png", noise(16, 16))

    def full(source, target):
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        prepare_data(tmp_path / "clean", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
