from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from undegrade.core.errors import InputError, UsageError
from undegrade.data.check import check_data, check_matching
from undegrade.data.folders import match_folders
from undegrade.data.prepare import prepare_data


@pytest.fixture
def save(tmp_path):
    def write(name: str, size: tuple[int, int] = (24, 16), seed: int | None = None) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(seed if seed is not None else abs(hash(name)))
        Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)

    return write


def kinds(report):
    return [finding.kind for finding in report.findings]


def test_a_good_set_has_no_findings(tmp_path, save):
    for name in ("a", "b"):
        save(f"in/{name}.png", seed=ord(name))
        save(f"gt/{name}.webp", seed=ord(name) + 9)
    report = check_data(inputs=tmp_path / "in", targets=tmp_path / "gt")
    assert (report.pairs, report.findings, report.sizes) == (2, (), ((24, 16), (24, 16)))


def test_folders_named_by_strength(tmp_path, save):
    """The pyramid-attention system names folders by noise level, JPEG quality or enlargement."""
    for name, size in (("HR/a.png", (24, 16)), ("LR_bicubic/X50/a.png", (24, 16)), ("LR_bicubic/X2/ax2.png", (12, 8))):
        save(name, size, seed=len(name))
    for layout, scale in (("kodak24", 50), ("urban100", 50), ("urban100", 2)):
        assert not check_data(tmp_path, layout=layout, split="benchmark", scale=scale).faults
        out = tmp_path / f"{layout}_{scale}"
        assert prepare_data(tmp_path, out, layout=layout, split="benchmark", scale=scale).files == 1


def test_pictures_of_other_sizes_are_not_the_same(tmp_path):
    """The bytes of a black picture are those of every other one with as many pixels."""
    for side in ("in", "gt"):
        (tmp_path / side).mkdir()
        for name, size in (("lying", (24, 16)), ("standing", (16, 24))):
            Image.new("RGB", size if side == "in" else size[::-1]).save(tmp_path / side / f"{name}.png")
    assert set(kinds(check_data(inputs=tmp_path / "in", targets=tmp_path / "gt"))) == {"wrong-size"}


def test_everything_that_can_be_wrong(tmp_path, save):
    save("in/fine.png", seed=1)
    save("gt/fine.png", seed=2)
    save("in/lonely.png", seed=3)
    save("gt/childless.png", seed=4)
    save("in/size.png", seed=5)
    save("gt/size.png", size=(23, 16), seed=6)
    save("in/same.png", seed=7)
    save("gt/same.png", seed=7)
    save("in/copy.png", seed=8)
    save("gt/copy.png", seed=2)
    save("in/broken.png", size=(200, 200), seed=9)
    save("gt/broken.png", size=(200, 200), seed=10)
    damaged = tmp_path / "in/broken.png"
    damaged.write_bytes(damaged.read_bytes()[:9000])
    (tmp_path / "in/text.png").write_text("not a picture")
    save("gt/text.png", seed=11)
    report = check_data(inputs=tmp_path / "in", targets=tmp_path / "gt")
    found = {finding.kind: [file.name for file in finding.files] for finding in report.findings}
    assert found["unpaired-input"] == ["lonely.png"]
    assert found["unpaired-target"] == ["childless.png"]
    assert found["wrong-size"] == ["size.png", "size.png"]
    assert found["unchanged"] == ["same.png", "same.png"]
    assert sorted(found["duplicate"]) == ["copy.png", "fine.png"]
    assert kinds(report).count("corrupt") == 2
    assert len(report.faults) == 5  # harmless: the target without input, the unchanged pair
    assert kinds(report)[: len(report.faults)] == [finding.kind for finding in report.faults]
    assert json.loads(json.dumps(report.to_dict()))["faults"] == 5


def test_pictures_that_need_an_extra_are_told(tmp_path, save):
    save("a.png")
    (tmp_path / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    report = check_data(tmp_path)
    assert kinds(report) == ["corrupt"]
    assert report.pairs == 2


def test_many_to_one_is_told_but_no_fault(tmp_path, save):
    for level in (1, 2, 3):
        save(f"hazy/7_{level}.png", seed=level)
    save("gt/7.png", seed=9)
    report = check_data(inputs=tmp_path / "hazy", targets=tmp_path / "gt", pairing="before-underscore")
    assert kinds(report) == ["many-to-one"]
    assert "at most 3" in report.findings[0].message
    assert not report.faults


def test_ambiguous(tmp_path, save):
    save("in/a.png", seed=1)
    save("gt/a.png", seed=2)
    save("gt/a.bmp", seed=3)
    assert "ambiguous" in kinds(check_data(inputs=tmp_path / "in", targets=tmp_path / "gt"))


def test_files_that_many_inputs_claim_are_told_once(tmp_path, save):
    for number in range(5):
        save(f"in/img_{number}_hazy.png", seed=number)
        save(f"gt/img_{number}.png", seed=number + 9)
    report = check_data(inputs=tmp_path / "in", targets=tmp_path / "gt", pairing="before-underscore")
    (ambiguous,) = [finding for finding in report.findings if finding.kind == "ambiguous"]
    assert ambiguous.message == (
        "'img_0_hazy' and 4 more names are claimed by img_0.png and img_1.png and img_2.png and 2 more: keep one"
    )


def test_scale_border_and_smallest_size(tmp_path, save):
    save("lr/a.png", size=(8, 10), seed=1)
    save("hr/a.png", size=(32, 40), seed=2)
    matching = match_folders(tmp_path / "lr", tmp_path / "hr")
    assert not check_matching(matching, scale=4).findings
    assert kinds(check_matching(matching, scale=2)) == ["wrong-size"]
    assert kinds(check_matching(matching, scale=4, min_size=9)) == ["too-small"]
    save("hr/a.png", size=(28, 30), seed=2)
    assert not check_matching(matching, border=10).findings


def test_clean_folder(tmp_path, save):
    save("clean/a.png", seed=1)
    save("clean/b.png", seed=1)
    report = check_data(tmp_path / "clean", min_size=17)
    assert kinds(report) == ["too-small", "too-small", "duplicate"]


def test_pictures_in_subfolders_are_not_passed_over_silently(tmp_path, save):
    save("clean/a.png")
    save("clean/deep/b.png")
    report = check_data(tmp_path / "clean")
    assert (kinds(report), report.faults) == (["subfolders"], ())
    assert "1 pictures in subfolders" in report.findings[0].message
    assert not check_data(tmp_path / "clean", recursive=True).findings


def test_known_set_by_its_name(tmp_path, save):
    save("hazy/1_1_0.9.png", size=(30, 24), seed=1)
    save("gt/1.png", size=(50, 44), seed=2)
    report = check_data(tmp_path, layout="sots-indoor", split="reside")
    assert (report.pairs, report.expected, report.findings) == (1, 500, ())


def test_data_must_be_named_one_way(tmp_path):
    with pytest.raises(UsageError, match="one way"):
        check_data(tmp_path, inputs=tmp_path, targets=tmp_path)
    with pytest.raises(InputError, match="no pictures in"):
        check_data(tmp_path)


def test_folders_without_pictures_are_no_good_set(tmp_path, save):
    save("gt/1.png")
    (tmp_path / "rain").mkdir()
    with pytest.raises(InputError, match="no pictures in"):
        check_data(inputs=tmp_path / "rain", targets=tmp_path / "gt")
