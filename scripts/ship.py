"""Puts the weights of finished training runs into the package: `python scripts/ship.py runs/denoising_fast ...`

`python scripts/ship.py runs/longer=denoising_fast` ships a run under the name of another recipe; with `--mean` the mean
of the run and of the file that the package holds under that name: where a run began with that file and few pictures
let both drift, their mean can be better than either.

The averaged weights of the last checkpoint are packed in half precision under `src/undegrade/weights`, with the card
that the run's recipe describes and the commit that is checked out, in which that recipe must stand. Scores are added
afterwards by `scripts/scoreboard.py`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from scoreboard import commit

from undegrade import networks
from undegrade.engine import checkpoint
from undegrade.engine.recipe import Recipe, shipped_recipes
from undegrade.engine.run import pack_run
from undegrade.weights.load import load_network

WEIGHTS = Path(__file__).parents[1] / "src" / "undegrade" / "weights"


def main() -> None:
    """Pack every run that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of finished runs, or FOLDER=RECIPE")
    parser.add_argument("--mean", action="store_true", help="of the run and the file in the package")
    parser.add_argument("--share", type=float, default=0.5, help="of the run in that mean")
    told = parser.parse_args()
    for wish in told.runs:
        run, _, name = wish.partition("=")
        state = checkpoint.load(Path(run) / "last.pt") | {"commit": commit()}
        recipe = Recipe.from_dict(state["recipe"])
        recipe = replace(recipe, name=name or recipe.name)
        if recipe.name in shipped_recipes():
            # The card's words, and the name of the network's numbers, may have been written after the run had started.
            shipped = Recipe.load(recipe.name)
            words = {**shipped.card, **shipped.shipped}
            recipe = replace(recipe, card=words, preset=shipped.preset, numbers=shipped.numbers)
        spec = networks.catalog.get(recipe.network)
        net = spec.build(spec.configure(recipe.preset, **recipe.numbers))
        net.load_state_dict(state["ema"])
        if told.mean:
            state["scores"] = {}  # those of the run are not the mean's
            held = load_network(recipe.name).state_dict()
            mean = {key: torch.lerp(held[key], value, told.share) for key, value in net.state_dict().items()}
            net.load_state_dict(mean)
        card = pack_run(net.eval(), recipe, state, WEIGHTS / "files", card_folder=WEIGHTS / "cards")
        print(f"{card.stem}: {(WEIGHTS / 'files' / f'{recipe.name}.safetensors').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
