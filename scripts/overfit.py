"""Shows whether a recipe trains: each network's official recipe should learn eight patches by heart, above 40 dB.

    python scripts/overfit.py OUT [RECIPE...]      OUT: folder of the runs; default recipes: one for each network

Loss, optimiser, rate, clipping and warm-up (its share of the steps) are the recipe's own; the patches, their number and
the steps are not. The patches are cut from scikit-image's photographs and degraded once by the recipe's task. Writes
OUT/overfit.json and OUT/overfit.svg, the loss of every run against its steps.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import skimage.data
import torch
from PIL import Image

import undegrade
from undegrade.data.patches import sample_generator
from undegrade.engine.loop import train
from undegrade.engine.recipe import Recipe
from undegrade.engine.run import open_patches
from undegrade.tasks import catalog as tasks

SIZE, COUNT = 16, 8
DRAWS = 100
"""Draws from the training stream after which all eight patches have come."""
HARMED = 35.0
"""Patches whose input is closer to the target than this, in dB, are passed over, if the recipe's line is not lower."""
RECIPES: dict[str, dict[str, Any]] = {
    "chair_dehazing_indoor": {"steps": 6000, "batch": 8},
    "ccnet_dehazing_indoor": {"steps": 5400},
    # The pyramid networks at reduced depth; the least of PANet's four noise levels.
    "panet_denoising": {
        "steps": 5000,
        "batch": 8,
        "numbers": {"blocks": 12},
        "strength": {"sigma": 10, "clipped": True},
    },
    "pa_edsr_super_resolution_x2": {"steps": 6000, "batch": 8, "numbers": {"blocks": 8}},
    "m3snet_w32_motion_deblurring": {"steps": 400, "batch": 8},
    # The gradient of the PSNR loss grows as the error falls: a flat patch that is learned first would drown the others.
    "mhnet_motion_deblurring": {"steps": 1500, "batch": 8, "harmed": 30.0},
    "mhnet2023_deraining": {"steps": 600, "batch": 8},
}
"""Recipe -> its steps here, and what else differs from the official one besides the patches."""


def main() -> None:
    """Runs the recipes one after the other; a run that is complete is not repeated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("recipes", nargs="*", default=list(RECIPES), metavar="RECIPE")
    options = parser.parse_args()
    results_file = options.out / "overfit.json"
    results = json.loads(results_file.read_text()) if results_file.exists() else {}
    print(
        "| recipe | steps x batch | input dB | result dB | together | lowest |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name in options.recipes:
        results[name] = overfit(name, options.out / "runs")
        row = [f"{results[name][key]:.1f}" for key in ("input_psnr", "psnr", "together_psnr", "lowest_psnr")]
        print(f"| `{name}` | {results[name]['steps']} x {results[name]['batch']} | {' | '.join(row)} |", flush=True)
        results_file.write_text(json.dumps(results) + "\n", encoding="utf-8")
        draw(results, options.out / "overfit.svg")


def overfit(name: str, runs: Path) -> dict[str, Any]:
    """Trains ``name`` on eight patches; PSNR of results and inputs, and the curve of the loss.

    PSNR is the mean over the eight; ``together`` is that of their mean squared error, which the worst patch decides.
    """
    recipe, special = Recipe.load(name), dict(RECIPES[name])
    steps, strength = special["steps"], special.pop("strength", dict(recipe.sources[0].strength))
    batch = special.pop("batch", 2)
    pairs = make_patches(recipe, strength, runs.parent / "patches" / name, special.pop("harmed", HARMED))
    # Super-resolution learns from whole pictures that it shrinks itself.
    shrinks = recipe.task == "super_resolution"
    source = {"clean": "target", "strength": strength} if shrinks else {"inputs": "input", "targets": "target"}
    changes = {
        "sources": [source],
        "patches": [{"until": 1.0, "size": SIZE, "batch": batch}],
        "warmup": round(recipe.warmup * steps / recipe.steps),
        "data": str(pairs),
        "augmentation": "none",
        "held_back": 0,
        "validate_at": [],
        "save_every": 500,
        "accumulate": 1,
        **special,
    }
    short = Recipe.load(name, [f"{key}={json.dumps(value)}" for key, value in changes.items()])
    card = train(short, runs=runs)
    net = undegrade.load_network(card.with_suffix(".safetensors"))
    patches = open_patches(short, tasks.get(recipe.task))
    drawn = (patches.sample(draw, 0, SIZE) for draw in range(DRAWS))
    samples = list({y.numpy().tobytes(): (x, y) for x, y in drawn}.values())
    assert len(samples) == COUNT
    scores = []
    for x, y in samples:
        large = torch.nn.functional.interpolate(x[None], y.shape[-2:], mode="bicubic", align_corners=False)
        with torch.inference_mode():
            scores.append((psnr(net(x[None]), y[None]), psnr(large, y[None])))
    outputs, inputs = zip(*scores, strict=True)
    log = [json.loads(line) for line in (runs / name / "log.jsonl").read_text().splitlines()]
    curve = [(entry["step"], entry["loss"]) for entry in log if entry["event"] == "train"]
    return {
        "psnr": sum(outputs) / COUNT,
        "together_psnr": -10 * math.log10(sum(10 ** (-output / 10) for output in outputs) / COUNT),
        "lowest_psnr": min(outputs),
        "input_psnr": sum(inputs) / COUNT,
        "steps": steps,
        "batch": batch,
        "curve": curve,
    }


def make_patches(recipe: Recipe, strength: dict[str, Any], folder: Path, harmed: float) -> Path:
    """Eight pairs as files: ``folder``/input and ``folder``/target, 8 bits."""
    task = tasks.get(recipe.task)
    assert task.degrade is not None
    pictures = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    for kind in ("input", "target"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    number = draw = 0
    while number < COUNT:
        generator, draw = sample_generator(draw), draw + 1
        picture = pictures[number % len(pictures)]
        top, left = (int(torch.randint(0, side - 3 * SIZE, (1,), generator=generator)) for side in picture.shape[:2])
        clean = torch.from_numpy(picture[top : top + 3 * SIZE, left : left + 3 * SIZE].copy()).permute(2, 0, 1) / 255
        degraded = task.degrade(clean, generator, **strength)  # larger than the patch: blur and rain reach in
        scale = clean.shape[-1] // degraded.shape[-1]
        y, x = middle(clean, SIZE), middle(degraded, SIZE // scale)
        if scale == 1 and psnr(x, y) > harmed:
            continue  # the rain went past it: nothing to learn
        for kind, patch in (("target", y), ("input", x)):
            pixels = patch.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
        number += 1
    return folder


def middle(picture: torch.Tensor, side: int) -> torch.Tensor:
    """The middle of three by three tiles: (C, 3 side, 3 side) -> (C, side, side)."""
    return picture[:, side : 2 * side, side : 2 * side]


def psnr(output: torch.Tensor, target: torch.Tensor) -> float:
    """In dB, of pictures in 0..1, the output clamped."""
    return -10 * float(torch.log10((output.clamp(0, 1) - target).square().mean()))


def draw(results: dict[str, Any], path: Path) -> None:
    """One small chart of the loss for each run."""
    from matplotlib import pyplot

    figure, places = pyplot.subplots(2, 4, figsize=(13, 5.5), layout="constrained")
    for place in places.flat[len(results) :]:
        place.set_axis_off()
    for place, (name, result) in zip(places.flat, results.items(), strict=False):
        place.plot(*zip(*result["curve"], strict=True), linewidth=1)
        place.set_title(f"{name}\n{result['psnr']:.1f} dB (input {result['input_psnr']:.1f})", fontsize=9)
        place.set_xlabel("step", fontsize=8)
        place.set_ylabel("loss", fontsize=8)
        place.tick_params(labelsize=7)
    figure.savefig(path)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
