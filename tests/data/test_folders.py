from __future__ import annotations

import time
from pathlib import Path

import pytest

from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.data.folders import RULES, list_pictures, listed, match, match_folders, natural, pair_folders, rule


@pytest.fixture
def touch(tmp_path):
    """Makes empty files below tmp_path; pairing looks at names only."""

    def make(folder: str, *names: str) -> Path:
        for name in names:
            file = tmp_path / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return tmp_path / folder

    return make


def test_list_pictures_in_natural_order(touch):
    # Portable greymaps are no pictures here, because they cannot be read.
    folder = touch("a", "img10.png", "img2.JPG", "a.pgm", "notes.txt", ".hidden.png", "sub/x.webp", ".cache/y.png")
    assert [file.name for file in list_pictures(folder)] == ["img2.JPG", "img10.png"]
    assert [file.name for file in list_pictures(folder, recursive=True)] == ["img2.JPG", "img10.png", "x.webp"]
    for nothing in ("nothing", "x" * 300):  # the latter is a name that no disk takes
        with pytest.raises(InputError, match="no folder"):
            list_pictures(folder / nothing)


def test_natural_never_compares_numbers_with_letters():
    assert sorted(["b1", "1b", "a", "10", "9"], key=natural) == ["1b", "9", "10", "a", "b1"]
    assert sorted(["5²6", "5b", "5"], key=natural) == ["5", "5b", "5²6"], "a raised two is no number"


def test_the_order_does_not_hang_on_the_disk(touch, monkeypatch):
    """Names that count the same stand in one order, whichever a file system tells first: pairs by order need it."""
    names = ["01.png", "1.png", "A.png", "a.png"]
    inputs, targets = touch("in", *names), touch("gt", *names)
    told = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: sorted(told(folder), reverse=folder == inputs))
    for pair in pair_folders(inputs, targets, "order"):
        assert pair.input.name == pair.target.name


def test_pairs_by_stem_whatever_the_suffix(touch):
    pairs = pair_folders(touch("in", "b.webp", "a.png"), touch("gt", "a.jpg", "b.png", "c.png"))
    assert [(pair.name, pair.input.name, pair.target.name) for pair in pairs] == [
        ("a", "a.png", "a.jpg"),
        ("b", "b.webp", "b.png"),
    ]


def test_dots_belong_to_the_name(touch):
    pairs = pair_folders(touch("in", "0005_0.8_0.2.jpg"), touch("gt", "0005.png"), "before-underscore")
    assert pairs[0].name == "0005_0.8_0.2"


@pytest.mark.parametrize(
    ("name", "inputs", "targets"),
    [
        ("before-underscore", ["1400_1.png", "1400_2.png"], ["1400.png"]),
        ("before-last-underscore", ["a_b_1.jpg", "a_b_2.jpg"], ["a_b.jpg"]),
        ("without-scale", ["baboonx4.png"], ["baboon.png"]),
        ("without-side", ["rain-001.png"], ["norain-001.png"]),
        ("order", ["0003.png", "0011.png"], ["1.png", "20.png"]),
    ],
)
def test_rules(touch, name, inputs, targets):
    pairs = pair_folders(touch("in", *inputs), touch("gt", *targets), name)
    assert [pair.input.name for pair in pairs] == inputs
    assert {pair.target.name for pair in pairs} == set(targets)


def test_scene_folders_on_both_sides():
    inputs = [(f"s{scene}/blur/blur_{n}", Path(f"s{scene}-blur-{n}")) for scene in (1, 2) for n in (1, 2)]
    targets = [(f"s{scene}/gt/gt_{n}", Path(f"s{scene}-gt-{n}")) for scene in (1, 2) for n in (1, 2)]
    matching = match(inputs, targets, rule("without-side"))
    assert [pair.target.name for pair in matching.pairs] == ["s1-gt-1", "s1-gt-2", "s2-gt-1", "s2-gt-2"]


def test_exact_name_wins_over_the_rule(touch):
    pairs = pair_folders(touch("in", "7_1.png"), touch("gt", "7.png", "7_1.png"), "before-underscore")
    assert pairs[0].target.name == "7_1.png"


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("before-last-underscore", ["img_1.png", "img_2.png"]),
        ("before-underscore", ["img_1.png", "img_2.png"]),
        ("without-scale", ["birdx2.png", "birdx4.png"]),
        ("without-side", ["blur_1.png", "gt_1.png"]),
    ],
)
def test_equal_names_are_no_partner_of_others(touch, name, inputs):
    """Where one of the targets is missing, its input has none: it does not get another one's."""
    folders = touch("in", *inputs), touch("gt", *inputs)
    assert [pair.target.name for pair in pair_folders(*folders, name)] == inputs
    (folders[1] / inputs[1]).unlink()
    with pytest.raises(UsageError, match=rf"first '{inputs[1]}' \(nothing of that name in .* rule {name}\)"):
        pair_folders(*folders, name)


def test_several_answers_name_the_rule(touch):
    folders = touch("in", "img_1.png", "img_2.png"), touch("gt", "img_1.png", "img_3.png")
    with pytest.raises(UsageError, match=r"'img_2' is claimed by img_1\.png and img_3\.png under .* before-underscore"):
        pair_folders(*folders, "before-underscore")


def test_own_key_function(touch):
    pairs = pair_folders(touch("in", "X-a.png"), touch("gt", "Y-a.png"), lambda name: name.split("-")[1])
    assert pairs[0].target.name == "Y-a.png"


def test_unpaired_input_is_an_error_and_unpaired_target_is_not(touch):
    inputs, targets = touch("in", "a.png", "b.png"), touch("gt", "a.png", "z.png")
    with pytest.raises(UsageError, match=r"1 of the inputs have no target, first 'b\.png'"):
        pair_folders(inputs, targets)
    matching = match_folders(inputs, targets)
    assert [file.name for file in matching.lonely_inputs] == ["b.png"]
    assert [file.name for file in matching.lonely_targets] == ["z.png"]


def test_two_files_of_one_name_are_an_error(touch):
    with pytest.raises(UsageError, match=r"'a' is claimed by a\.jpg and a\.png"):
        pair_folders(touch("in", "a.png"), touch("gt", "a.jpg", "a.png"))
    with pytest.raises(UsageError, match="claimed"):
        pair_folders(touch("in2", "a.png", "a.webp"), touch("gt2", "a.jpg"))


def test_a_rule_that_fits_nothing_costs_no_square():
    """Thousands of inputs that all meet the same thousands of targets: named briefly, in no time."""
    inputs = [(f"img_{number}_hazy", Path(f"in/{number}.png")) for number in range(4000)]
    targets = [(f"img_{number}", Path(f"gt/{number}.png")) for number in range(4000)]
    start = time.process_time()
    matching = match(inputs, targets, rule("before-underscore"))
    assert time.process_time() - start < 1
    assert not matching.lonely_targets
    assert len(matching.ambiguous or {}) == 4000
    assert listed([target.name for _, target in targets]) == "0.png and 1.png and 2.png and 3997 more"


def test_order_reports_the_surplus(touch):
    matching = match_folders(touch("in", "1.png", "2.png"), touch("gt", "5.png"), "order")
    assert len(matching.pairs) == 1
    assert [file.name for file in matching.lonely_inputs] == ["2.png"]
    assert matching.uneven


@pytest.mark.parametrize(("inputs", "targets"), [(3, 2), (2, 3)])
def test_order_wants_as_many_targets_as_inputs(touch, inputs, targets):
    folders = touch("in", *(f"{n}.png" for n in range(inputs))), touch("gt", *(f"{n}.png" for n in range(targets)))
    with pytest.raises(UsageError, match=f"{inputs} inputs and {targets} targets: with one file missing"):
        pair_folders(*folders, "order")


def test_empty_folder_and_unknown_rule(touch, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        pair_folders(tmp_path / "empty", touch("gt", "a.png"))
    with pytest.raises(UnknownNameError, match="did you mean 'before-underscore'"):
        rule("before_underscore")
    assert "stem" in RULES
