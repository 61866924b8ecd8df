"""Trains a small denoiser on a processor: `python examples/train_in_ten_minutes.py PICTURES [MINUTES]`.

PICTURES holds a few dozen clean photographs. The new weights are used at once, and `undegrade report runs/ten_minutes`
draws how it went.
"""

from __future__ import annotations

import sys
from pathlib import Path

import undegrade

RECIPE = """
task: denoising
network: m3snet
preset: m3snet_w16_d8
sources: [{{clean: {pictures}}}]
patches: [{{until: 0.8, size: 64, batch: 4}}, {{until: 1.0, size: 96, batch: 4}}]
steps: 100000
max_minutes: {minutes}
optimiser: adamw
lr: 1.0e-3
loss: {{psnr: 1.0}}
held_back: 2
validate_at: [{{sigma: 25}}]
validate_every: 500
save_every: 500
seed: 0
"""


def main(pictures: str, minutes: str = "10") -> None:
    """Trains, then compares the new weights with the shipped ones on the same pictures."""
    recipe = Path("ten_minutes.yaml")
    recipe.write_text(RECIPE.format(pictures=Path(pictures).resolve(), minutes=minutes), encoding="utf-8")
    card = undegrade.train(recipe)
    for weights in (card, None):
        report = undegrade.evaluate("denoising", clean=pictures, sigma=25, weights=weights)
        print(f"{weights or 'shipped'}: {report.mean['input_psnr']:.2f} -> {report.mean['psnr']:.2f} dB")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except undegrade.UndegradeError as error:
        sys.exit(str(error))
