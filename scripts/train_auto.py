"""Trains the classifier of `auto`: `python scripts/train_auto.py PACK -o runs/auto --ship`

Samples are made and measured once, which takes a core an hour and a half, and kept in the run's folder; what decides
from the measures is trained in five minutes. At last the output "nothing" is shifted so that 0.5 is the line between
fine and spoilt at which clean photographs that were kept out of training are left alone. `--ship` puts the weights and
their card into the package.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from auto_faults import BLOCKS
from auto_samples import UNKNOWN
from auto_store import CROPS, Samples
from torch import Tensor
from torch.nn import functional as F

from undegrade._version import __version__
from undegrade.inference.judging import open_judge
from undegrade.networks._judge import FAULTS, NOTHING, STRENGTH_UNIT, Judge, JudgeConfig, Mind, Opinion
from undegrade.weights.card import Training
from undegrade.weights.pack import pack

WEIGHTS = Path(__file__).parents[1] / "src" / "undegrade" / "weights"
BATCH = 128
FAINTEST = torch.tensor([8.0, 4.0, 6.0, 5.0, 6.0, 15.0, 6.0])
"""Strength of each of FAULTS, in levels, below which the answer is not learnt: few would call such a picture spoilt."""


def main() -> None:
    """Make the samples, train, find the line, write the weights."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("pack", type=Path, help="folder with train, train_extra, train_pairs, depth and kernels")
    words.add_argument("-o", "--out", type=Path, required=True, help="folder of the run")
    words.add_argument("--samples", type=int, default=24000)
    words.add_argument("--checks", type=int, default=3000)
    words.add_argument("--epochs", type=int, default=20)
    words.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    words.add_argument("--start", action="store_true", help="go on from the weights in the package")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument(
        "--touched",
        type=float,
        default=0.02,
        metavar="SHARE",
        help="of the clean samples of the check part in which anything may be found; other cameras make it more",
    )
    words.add_argument("--ship", action="store_true", help="put the weights into the package")
    told = words.parse_args()
    samples = Samples(told.pack, "train", told.samples, told.out, told.seed)
    checks = Samples(told.pack, "check", told.checks, told.out, told.seed)
    for part in (samples, checks):
        part.truth = visible(part.truth)
    start = time.process_time()
    config = JudgeConfig()
    torch.manual_seed(told.seed)
    net = open_judge()[0] if told.start else Judge(config)
    for number, mind in enumerate(net.minds):
        train(mind, samples, told.epochs, told.rate, told.seed + number)
    minutes = (time.process_time() - start) / 60
    with torch.no_grad():
        net.bias.zero_()
        opinion = net.eval().judged(checks.near, checks.far)
        line = line_between(opinion.cases, checks.truth[:, 0], told.touched)
        net.bias[NOTHING] = line
        opinion.cases[:, NOTHING] += line
    found = report(opinion, checks.truth)
    print(json.dumps(found, indent=2))
    (told.out / "check.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    folder = WEIGHTS / "files" if told.ship else told.out
    card = pack(
        net,
        "judge",
        config,
        "auto",
        folder / "auto_fast.safetensors",
        card_path=WEIGHTS / "cards" / "auto_fast.toml" if told.ship else None,
        bytes_per_pixel=None,
        title="Finds noise, JPEG blocks, motion blur, defocus, rain, haze and snow",
        licence="Apache-2.0",
        origin="trained by the undegrade developers; the training photographs stay under their own terms",
        limits="Names the right fault of more than four spoilt pictures in five; often misses real rain. "
        "Leaves faint faults.",
        training=Training(
            recipe="scripts/train_auto.py",
            data=f"{told.samples} samples of train, train_extra, train_pairs, depth, kernels, and drawings",
            start="auto_fast" if told.start else "",
            seed=told.seed,
            steps=config.minds * told.epochs * (told.samples // BATCH),
            minutes=round(minutes, 1),
            device="cpu",
            versions={"torch": torch.__version__, "undegrade": __version__},
        ),
    )
    print(card)


def train(net: Mind, samples: Samples, epochs: int, rate: float, seed: int) -> None:
    """Takes a Mind through the samples ``epochs`` times; each time it sees some of the crops."""
    torch.manual_seed(seed)
    net.train()
    count = len(samples.truth)
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=0.05)
    steps = epochs * (count // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1, pct_start=0.1)
    for _ in range(epochs):
        for rows in torch.randperm(count)[: count // BATCH * BATCH].split(BATCH):
            some = torch.randperm(CROPS)[: int(torch.randint(2, CROPS + 1, ()))]
            loss = error(net(samples.near[rows][:, some], samples.far[rows]), samples.truth[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def visible(truth: Tensor) -> Tensor:
    """The truth, which tells no main fault where that is faint."""
    main, _, strength, _ = parts_of(truth)
    fault = main.clamp(0, NOTHING - 1)
    own = strength.gather(1, fault[:, None])[:, 0]
    faint = (main == fault) & (own >= 0) & (own < FAINTEST[fault])
    return torch.cat([truth[:, :1].masked_fill(faint[:, None], UNKNOWN), truth[:, 1:]], dim=1)


def error(opinion: Opinion, truth: Tensor) -> Tensor:
    """Cross entropy of the main fault and of presence, and how far strengths are off where there is something."""
    main, present, strength, coded = parts_of(truth)
    known = present != UNKNOWN
    entropy = F.binary_cross_entropy_with_logits(opinion.present, present.clamp(min=0), reduction="none")
    loss = F.cross_entropy(opinion.cases, main, ignore_index=int(UNKNOWN), label_smoothing=0.02)
    loss = loss + (entropy * known).sum() / known.sum()
    off = F.smooth_l1_loss(opinion.strengths, strength / STRENGTH_UNIT, reduction="none", beta=0.1)
    loss = loss + 0.02 * (off * (present == 1)).sum() / len(truth) * len(FAULTS)
    off = F.smooth_l1_loss(opinion.quality, coded / 100, reduction="none", beta=0.1)
    return loss + 0.3 * (off * ((coded != UNKNOWN) & (present[:, BLOCKS] == 1))).mean()


def parts_of(truth: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Main fault, presence, strengths in levels, quality."""
    main, present, strength, coded = truth.split([1, len(FAULTS), len(FAULTS), 1], dim=1)
    return main[:, 0].long(), present, strength, coded[:, 0]


def wrongness(cases: Tensor) -> Tensor:
    """(N,): above 0 a picture counts as spoilt: all faults together are likelier than nothing."""
    return cases[:, :NOTHING].logsumexp(dim=1) - cases[:, NOTHING]


def line_between(cases: Tensor, main: Tensor, touched: float) -> float:
    """The wrongness that all but the share ``touched`` of the clean samples stay below."""
    return float(torch.quantile(wrongness(cases[main == NOTHING]), 1 - touched))


def report(opinion: Opinion, truth: Tensor) -> dict[str, Any]:
    """How well faults are told on samples that were not trained on."""
    main, present, strength, coded = parts_of(truth)
    answer = opinion.cases[:, :NOTHING].argmax(dim=1)
    answer[wrongness(opinion.cases) <= 0] = NOTHING
    faults = {}
    for index, name in enumerate(FAULTS):
        there, absent = present[:, index] == 1, present[:, index] == 0
        yes, no = opinion.present[there, index], opinion.present[absent, index]
        off = (opinion.strengths[there, index] * STRENGTH_UNIT - strength[there, index]).abs().mean()
        faults[name] = {
            "answers": [int(((main == index) & (answer == other)).sum()) for other in range(NOTHING + 1)],
            "right": round(float((answer[main == index] == index).float().mean()), 4),
            "found": round(float((yes > 0).float().mean()), 4),
            "false_alarms": round(float((no > 0).float().mean()), 4),
            "strength_error": round(float(off), 2),
        }
    known = (coded != UNKNOWN) & (present[:, BLOCKS] == 1)
    return {
        "faults": faults,
        "right": round(sum(fault["right"] for fault in faults.values()) / len(faults), 4),
        "clean": {
            "pictures": int((main == NOTHING).sum()),
            "left_alone": round(float((answer[main == NOTHING] == NOTHING).float().mean()), 4),
        },
        "quality_error": round(float((opinion.quality[known] * 100 - coded[known]).abs().mean()), 2),
    }


if __name__ == "__main__":
    main()
