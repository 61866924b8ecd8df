"""Trains the classifier of `auto`: `python scripts/train_auto.py PACK -o runs/auto_fast --ship`

Samples are made once and kept in the run's folder, then measured; what decides from the measures is trained in seconds.
At last the outputs are shifted so that 0 is the line between found and not found, at which clean photographs that were
kept out of training are left alone. `--ship` puts the weights and their card into the package.

`--epochs 8` trains convolutional trunks beside the measures first, which takes long. Several processes share that work:
`torchrun --nproc-per-node 4 scripts/train_auto.py ...`; each batch is the same, whatever their number.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from auto_samples import BLOCKS, CROPS, SIDE, UNKNOWN, Samples
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from undegrade._version import __version__
from undegrade.inference.judging import CROP
from undegrade.networks._judge import FAULTS, STRENGTH_UNIT, Judge, JudgeConfig
from undegrade.weights.card import Training
from undegrade.weights.pack import pack

WEIGHTS = Path(__file__).parents[1] / "src" / "undegrade" / "weights"
BATCH = 32
RATE = 2e-3
TRUNKS = JudgeConfig(near=(48, 64, 80), far=(32, 48, 64, 80))
HEAD_BATCH = 64
HEAD_EPOCHS = 25
CLEAN_TOUCHED = 0.015
"""Share of the clean photographs of the check part in which anything may be found."""


def main() -> None:
    """Make the samples, train, find the thresholds, write the weights."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("pack", type=Path, help="folder with train, train_extra, train_pairs, depth and kernels")
    words.add_argument("-o", "--out", type=Path, required=True, help="folder of the run")
    words.add_argument("--samples", type=int, default=3250)
    words.add_argument("--checks", type=int, default=1000)
    words.add_argument("--epochs", type=float, default=0, help="of the trunks; 0 leaves them out")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--ship", action="store_true", help="put the weights into the package")
    told = words.parse_args()
    torch.manual_seed(told.seed)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo", timeout=timedelta(hours=2))
    samples = Samples(told.pack, "train", told.samples, told.out, told.seed)
    checks = Samples(told.pack, "check", told.checks, told.out, told.seed)
    start = time.process_time()
    config = TRUNKS if told.epochs else JudgeConfig()
    net = trained(config, samples, told.epochs, told.seed, told.out / "trunks.pt")
    seen = [described(net, part, told.seed) for part in (samples, checks)]
    if rank() > 0:
        return
    decided(net, config, *seen[0], samples.truth, told.seed)
    minutes = (time.process_time() - start) / 60 * world()
    logits, strengths = answers(net, *seen[1])
    lines = thresholds(logits, checks.truth[:, : len(FAULTS)])
    last = net.decide[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias[: len(FAULTS)] -= lines
    found = report(logits - lines, strengths, checks.truth)
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
        limits="Names the right fault of seven pictures in ten, of real rain, snow and noise less often.",
        training=Training(
            recipe="scripts/train_auto.py",
            data=f"{told.samples} samples of train, train_extra, train_pairs, depth, kernels",
            seed=told.seed,
            steps=int(told.epochs * told.samples) // BATCH + HEAD_EPOCHS * (told.samples // HEAD_BATCH),
            minutes=round(minutes, 1),
            device="cpu",
            versions={"torch": torch.__version__, "undegrade": __version__},
        ),
    )
    print(card)


def trained(config: JudgeConfig, samples: Samples, epochs: float, seed: int, kept: Path) -> Judge:
    """A Judge whose trunks went through the samples ``epochs`` times, without the measures; ``kept`` holds it as well.

    The average over the last steps.
    """
    net = Judge(config).to(memory_format=torch.channels_last)
    mean = deepcopy(net)
    steps = int(epochs * len(samples)) // BATCH
    if not steps:
        return mean.eval()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1, pct_start=0.15)
    total, began = 0.0, time.process_time()
    for step, (near, whole, truth) in zip(range(1, steps + 1), batches(samples, seed), strict=False):
        with torch.autocast("cpu", torch.bfloat16):
            answer = net.judged(*net.described(near, whole, measured=False))
        loss = error(*(part.float() for part in answer), truth)
        optimiser.zero_grad()
        loss.backward()
        shared(net)
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        average(mean, net, min(0.99, step / (step + 20)))
        total += float(loss.detach())
        if step % 25 == 0 and rank() == 0:
            print(f"step {step} of {steps}: {total / 25:.4f}, {time.process_time() - began:.0f} s", flush=True)
            total = 0.0
        if rank() == 0 and (step % 100 == 0 or step == steps):
            torch.save(mean.state_dict(), kept)
    return mean.eval()


@torch.no_grad()
def described(net: Judge, samples: Samples, seed: int) -> tuple[Tensor, Tensor]:
    """What the trunks and the measures say of all samples; the processes share the work, the first gets it all."""
    lots = np.random.default_rng(seed)
    windows = lots.integers(0, (SIDE - CROP) // 8 + 1, (len(samples), 2)) * 8
    found: list[tuple[Tensor, Tensor]] = []
    for row in range(rank(), len(samples), world()):
        near, whole, _ = samples[[row]]
        top, left = windows[row]
        with torch.autocast("cpu", torch.bfloat16):
            part = net.described(near[..., top : top + CROP, left : left + CROP], whole)
        found.append((part[0][0].float(), part[1][0].float()))
    mine = (torch.stack([one for one, _ in found]), torch.stack([one for _, one in found]))
    if world() == 1:
        return mine
    parts: list[tuple[Tensor, Tensor]] = [mine] * world()
    dist.gather_object(mine, parts if rank() == 0 else None)
    order = torch.cat([torch.arange(first, len(samples), world()) for first in range(world())]).argsort()
    return torch.cat([one for one, _ in parts])[order], torch.cat([one for _, one in parts])[order]


def decided(net: Judge, config: JudgeConfig, near: Tensor, far: Tensor, truth: Tensor, seed: int) -> None:
    """Train what comes after trunks and measures, from the start."""
    torch.manual_seed(seed)
    fresh = Judge(config)
    for name in ("near_scale", "far_scale", "embed", "weigh", "decide"):
        getattr(net, name).load_state_dict(getattr(fresh, name).state_dict())
    for scale, values in ((net.near_scale, near.flatten(0, 1)), (net.far_scale, far)):
        assert scale.running_mean is not None
        assert scale.running_var is not None
        scale.running_mean.copy_(values.mean(dim=0))
        scale.running_var.copy_(values.var(dim=0))
    parts = [net.embed, net.weigh, net.decide]
    weights = [parameter for part in parts for parameter in part.parameters()]
    optimiser = torch.optim.AdamW(weights, 1e-3, weight_decay=0.05)
    steps = HEAD_EPOCHS * (len(near) // HEAD_BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.5e-3, total_steps=steps + 1, pct_start=0.1)
    for part in parts:
        part.train()
    for _ in range(HEAD_EPOCHS):
        order = torch.randperm(len(near))
        for rows in order[: steps // HEAD_EPOCHS * HEAD_BATCH].split(HEAD_BATCH):
            some = torch.randperm(near.shape[1])[: int(torch.randint(2, near.shape[1] + 1, ()))]
            loss = error(*net.judged(near[rows][:, some], far[rows]), truth[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()


def world() -> int:
    """How many processes train."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if dist.is_initialized() else 0


def shared(net: Judge) -> None:
    """The mean of the gradients of all processes."""
    if world() == 1:
        return
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, (flat / world()).split([one.numel() for one in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def average(mean: Judge, net: Judge, keep: float) -> None:
    """Move ``mean`` towards ``net``, running statistics included."""
    with torch.no_grad():
        for slow, fast in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - keep)


def batches(samples: Samples, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless shuffled batches: some of the crops of each sample, mirrored at random."""
    lots = np.random.default_rng(seed)
    while True:
        order = lots.permutation(len(samples))
        for begin in range(0, len(order) - BATCH + 1, BATCH):
            near, whole, truth = samples[order[begin : begin + BATCH][rank() :: world()]]
            top, left = lots.integers(0, (SIDE - CROP) // 8 + 1, 2) * 8
            chosen = lots.permutation(CROPS)[: lots.integers(2, CROPS - 1)]
            near = near[:, chosen, :, top : top + CROP, left : left + CROP]
            if lots.random() < 0.5:
                near, whole = near.flip(-1), whole.flip(-1)
            yield near, whole, truth


def error(logits: Tensor, strengths: Tensor, quality: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy of presence, and how far strengths are off where there is something."""
    count = len(FAULTS)
    present, strength, coded = truth[:, :count], truth[:, count : 2 * count] / STRENGTH_UNIT, truth[:, -1]
    known = present != UNKNOWN
    entropy = F.binary_cross_entropy_with_logits(logits, present.clamp(min=0), reduction="none")
    loss = (entropy * known).sum() / known.sum()
    there = present == 1
    loss = loss + 0.3 * (F.smooth_l1_loss(strengths, strength, reduction="none", beta=0.1) * there).sum() / count / 16
    told = (coded != UNKNOWN) & (present[:, BLOCKS] == 1)
    return loss + 0.3 * (F.smooth_l1_loss(quality, coded / 100, reduction="none", beta=0.1) * told).sum() / len(told)


@torch.no_grad()
def answers(net: Judge, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
    """(N, faults) logits; (N, faults + 1) strengths in levels, and the quality."""
    logits, strengths, quality = net.eval().judged(near, far)
    return logits, torch.cat([strengths * STRENGTH_UNIT, quality[:, None] * 100], dim=1)


def thresholds(logits: Tensor, present: Tensor) -> Tensor:
    """(faults,): above these a fault counts as found.

    They start where nothing is found in any clean photograph and come down, one step after the other, each time for the
    fault of which most more is found for the clean photographs that it costs, until ``CLEAN_TOUCHED`` is used up.
    """
    clean = logits[(present <= 0).all(dim=1)]
    room = int(CLEAN_TOUCHED * len(clean))
    lines = clean.amax(dim=0)
    touched = torch.zeros(len(clean), dtype=torch.bool)
    while True:
        steps: list[tuple[float, int, Tensor, Tensor]] = []
        for fault in range(len(FAULTS)):
            yes = logits[present[:, fault] == 1, fault]
            lower = clean[clean[:, fault] < lines[fault], fault].sort(descending=True).values
            for line in lower[:4]:
                after = touched | (clean[:, fault] > line)
                gain = float(((yes > line) & (yes <= lines[fault])).float().mean())
                if int(after.sum()) <= room and gain > 0:
                    steps.append((gain / (float((after ^ touched).sum()) + 0.3), fault, line, after))
        if not steps:
            return lines
        _, fault, line, touched = max(steps, key=lambda step: step[0])
        lines[fault] = line


def report(logits: Tensor, strengths: Tensor, truth: Tensor) -> dict[str, Any]:
    """How well presence and strength are told on samples that were not trained on."""
    count = len(FAULTS)
    present, strength = truth[:, :count], truth[:, count : 2 * count]
    faults = {}
    for index, name in enumerate(FAULTS):
        there, absent = present[:, index] == 1, present[:, index] == 0
        yes, no = logits[there, index], logits[absent, index]
        off = (strengths[there, index] - strength[there, index]).abs().mean()
        faults[name] = {
            "found": round(float((yes > 0).float().mean()), 4),
            "false_alarms": round(float((no > 0).float().mean()), 4),
            "area": round(float((yes[:, None] > no[None]).float().mean()), 4),
            "strength_error": round(float(off), 2),
        }
    known = truth[:, -1] != UNKNOWN
    clean = (present <= 0).all(dim=1)
    untouched = (logits[clean] <= 0).all(dim=1).float().mean()
    off = (strengths[known, -1] - truth[known, -1]).abs().mean()
    return {
        "faults": faults,
        "clean": {"pictures": int(clean.sum()), "left_alone": round(float(untouched), 4)},
        "quality": {"error": round(float(off), 2)},
    }


if __name__ == "__main__":
    main()
