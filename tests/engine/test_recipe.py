"""Recipes: typed, flat, unknown keys refused with the nearest name; every shipped one parses and trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from runs import TINY, pictures, recipe

from undegrade import networks, tasks
from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.data import layouts
from undegrade.data.loader import Patch
from undegrade.engine import losses
from undegrade.engine.loop import train
from undegrade.engine.recipe import Recipe, shipped_recipes
from undegrade.engine.schedule import learning_rate
from undegrade.metrics.published import beside


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipe_parses(name: str) -> None:
    loaded = Recipe.load(name)
    task, spec = tasks.get(loaded.task), networks.catalog.get(loaded.network)
    spec.configure(loaded.preset, **loaded.numbers)
    for loss in loaded.loss:
        losses.get(loss)
    for strength in loaded.validate_at:
        task.check(strength)
    assert loaded.patches[-1].until == 1.0


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if Recipe.load(name).expected])
def test_expected_figures_are_the_published_ones(name: str) -> None:
    loaded = Recipe.load(name)
    for one in loaded.expected:
        found = [
            table.protocol
            for table, rows in beside(loaded.task, layouts.get(one["set"]).name)
            for row in rows
            if row.method in table.own and (row.psnr, one.get("ssim", row.ssim)) == (one["psnr"], row.ssim)
        ]
        # M3SNet's deblurring script takes the PSNR of plain RGB.
        assert [{"m3snet-deblur": "rgb"}.get(ruler, ruler) for ruler in found] == [one["protocol"]], one


U = {key: value for key, value in TINY.items() if key != "middle_blocks"}
SMALL: dict[str, dict[str, object]] = {
    "ccnet": {"width": 8, "blocks": 1},
    "chair": {"width": 8, "blocks": 1},
    "m3snet": TINY,
    "mhnet": {**U, "num_cab": 1},
    "mhnet2023": {**U, "n_feat": 8, "num_cab": 1},
    "nafsr": {"width": 8, "blocks": 1},
    "pa_edsr": {"blocks": 2, "features": 16, "reduction": 2},
    "panet": {"blocks": 2, "features": 16, "reduction": 2},
}


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipe_trains(name: str, tmp_path: Path) -> None:
    """Two steps of each on tiny data, with a small version of its network."""
    folder = pictures(tmp_path / "clean")
    loaded = Recipe.load(name)
    size = 124 if loaded.network == "ccnet" else 48
    sources = [
        replace(source, clean=folder) if source.clean else replace(source, inputs=folder, targets=folder, rule="stem")
        for source in loaded.sources
        if source.depth is None
    ]
    small = replace(
        loaded,
        numbers=SMALL[loaded.network],
        sources=tuple(replace(source, strength=_without_files(source.strength)) for source in sources),
        patches=(Patch(1.0, size, 2),),
        steps=2,
        max_minutes=None,
        warmup=0,
        start=None,
        held_back=1,
        validate_crop=48,
        save_every=2,
        validate_every=2,
        validate_at=loaded.validate_at[:1],
    )
    card = train(small, runs=tmp_path / "runs", device="cpu", quiet=True)
    assert card.with_suffix(".safetensors").exists()


def _without_files(strength: Mapping[str, Any]) -> dict[str, Any]:
    """The strengths that are numbers; layers and kernels of a data pack, and the count of layers, are left out."""
    return {key: value for key, value in strength.items() if "/" not in str(value) and key != "count"}


def test_mistyped_key_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'optimiser'"):
        recipe(tmp_path, optimizer="adam")
    with pytest.raises(UnknownNameError, match="did you mean 'weight'"):
        recipe(tmp_path, sources=[{"clean": "a", "wieght": 2}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "many"}, "steps='many'"),
        ({"steps": 0}, "steps=0"),
        ({"accumulate": 3}, "accumulate=3"),
        ({"sources": [{"inputs": "a"}]}, "'targets'"),
        ({"precision": "int8"}, "precision"),
        ({"assumed": ["lrr"]}, "lrr"),
        ({"name": "../elsewhere"}, "without a path"),
        ({"name": ""}, "without a path"),
        ({"validate_every": 0}, "validate_every=0"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"workers": -1}, "workers=-1"),
        ({"seed": -1}, "seed=-1"),
        ({"lr": math.nan}, "lr=nan"),
        ({"max_minutes": -5}, "max_minutes=-5"),
        ({"betas": [0.9, 1.0]}, "betas"),
        ({"ema": 2}, "ema=2"),
        ({"milestones": [500]}, "milestones"),
        ({"loss": {}}, "at least one loss"),
        ({"card": {"titel": "x"}}, "did you mean 'title'"),
        ({"card": {"parameters": 5}}, "could not be read again"),
        ({"card": {"tile": "abc"}}, "could not be read again"),
        ({"card": {"title": 5}}, "could not be read again"),
        ({"parallel": "fsdp", "channels_last": True}, "channels_last=false"),
        ({"patches": [{"until": 500, "size": 32, "batch": 4}]}, "until=500"),
        ({"patches": [{"until": end, "size": 32, "batch": 4} for end in (1.0, 0.5)]}, r"until=\[1.0, 0.5\]"),
        ({"patches": [{"until": 1.0, "size": 0, "batch": 4}]}, "size=0"),
        ({"patches": [{"until": 1.0, "size": 32, "batch": 0}]}, "batch=0"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe(tmp_path, **change)


def test_overrides_and_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    entries = {key: value for key, value in recipe(tmp_path).to_dict().items() if key != "name"}
    file.write_text(yaml.safe_dump(entries))
    loaded = Recipe.load(file, ["steps=7", "betas=[0.5, 0.6]", "max_minutes=null"])
    assert (loaded.name, loaded.steps, loaded.betas, loaded.max_minutes) == ("mine", 7, (0.5, 0.6), None)
    assert Recipe.from_dict(loaded.to_dict()) == loaded
    with pytest.raises(UsageError, match="the value is not YAML"):
        Recipe.load(file, ["loss={l1:"])


def test_a_path_in_the_package_means_the_shipped_recipe_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Recipe.load("recipes/denoising_fast.yaml") == Recipe.load("denoising_fast")
    with pytest.raises(UnknownNameError, match="did you mean 'denoising_fast'"):
        Recipe.load("recipes/denoising_fest.yaml")
    (tmp_path / "recipes").mkdir()
    own = Recipe.load("denoising_best").to_dict()
    (tmp_path / "recipes/denoising_fast.yaml").write_text(yaml.safe_dump(own))
    assert Recipe.load("recipes/denoising_fast.yaml").preset == "m3snet_w32_d8_top2"


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="denoising_fast"):
        Recipe.load("denoising_fst")
    for content in ("- a\n- b\n", "a: [1\n"):
        file = tmp_path / "x.yaml"
        file.write_text(content)
        with pytest.raises(InputError, match=r"x\.yaml"):
            Recipe.load(file)
    with pytest.raises(InputError, match="cannot be read"):
        Recipe.load(tmp_path / "missing.yaml")


def test_learning_rate_by_hand() -> None:
    at = lambda progress, **more: learning_rate(progress, peak=1.0, floor=0.1, **more)  # noqa: E731
    assert at(0.05, warmup=0.1) == pytest.approx(0.5)
    assert at(0.1, warmup=0.1) == pytest.approx(1.0)
    assert at(0.55, warmup=0.1) == pytest.approx(0.55)
    assert at(1.0) == pytest.approx(0.1)
    assert at(0.5, milestones=[0.2, 0.4, 0.6]) == pytest.approx(0.25)


def test_names_and_seeds_that_no_folder_or_generator_takes(tmp_path: Path) -> None:
    for wrong in ({"name": "a\0b"}, {"name": "x" * 201}, {"seed": 2**64}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            recipe(tmp_path, **wrong)
