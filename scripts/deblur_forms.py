"""Other ways to run the deblurring weights, on pictures held back from training: `python scripts/deblur_forms.py DATA`

Gains in dB over the input, of whole pictures: as shipped, in the Local (TLC) form, applied to its own result again,
and as the mean of the eight flips and transpositions. Made blur and photographed pairs apart, since they do not move
together.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from statistics import fmean

from undegrade import networks, tasks
from undegrade.engine.recipe import Recipe
from undegrade.engine.run import open_patches
from undegrade.inference.ensemble import ensemble8
from undegrade.inference.restorer import Restorer
from undegrade.metrics import protocol
from undegrade.weights.load import open_weights

RECIPES = ("motion_deblurring_fast", "defocus_deblurring_fast")
WHOLE = 1 << 16  # pixels: no picture of the pack is as long


def gains(data: str, name: str) -> dict[str, dict[str, float]]:
    """Form -> kind of picture -> mean gain in dB."""
    recipe = Recipe.load(name, [f"data={data}"])
    task = tasks.catalog.get(recipe.task)
    patches = open_patches(recipe, task)
    ruler = protocol.get(task.protocol)
    shipped, local = open_weights(name), open_weights(name, local_train_size=recipe.patches[-1].size)
    spec = networks.catalog.get(recipe.network)
    plain, tlc = (Restorer.from_module(one.module, spec, one.config, task) for one in (shipped, local))
    forms = {
        "as shipped": plain.tensor,
        "Local form": tlc.tensor,
        "twice": lambda x: plain.tensor(plain.tensor(x).clamp(0, 1)),
        "eight flips": lambda x: ensemble8(plain.tensor, x),
    }
    found: dict[str, dict[str, list[float]]] = {form: defaultdict(list) for form in forms}
    for index, picture in enumerate(patches.validation):
        _, degraded, clean = patches.whole(index, WHOLE, {})
        if degraded.shape[0] != 3 or degraded.equal(clean):
            continue
        kind = "made" if picture.input is None else "photographed"
        before = ruler.score(degraded, clean)["psnr"]
        for form, run in forms.items():
            found[form][kind].append(ruler.score(run(degraded[None])[0], clean)["psnr"] - before)
    return {form: {kind: fmean(values) for kind, values in kinds.items()} for form, kinds in found.items()}


def main() -> None:
    """Print a table for each of the two tasks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="the training pack")
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    arguments = parser.parse_args()
    for name in arguments.recipes:
        table = gains(arguments.data, name)
        kinds = list(next(iter(table.values())))
        print(f"\n| {name} | " + " | ".join(kinds) + " |\n| --- |" + " --- |" * len(kinds))
        for form, means in table.items():
            print(f"| {form} | " + " | ".join(f"{means[kind]:+.2f}" for kind in kinds) + " |", flush=True)


if __name__ == "__main__":
    main()
