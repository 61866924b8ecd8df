"""Calibration: what degraded inputs score here, set beside what the benchmarks' inputs score."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from undegrade.core.errors import InputError, UsageError
from undegrade.core.image import read
from undegrade.data.folders import list_pictures, pair_folders
from undegrade.engine.degrade import check_seed
from undegrade.engine.evaluate import made_from, score
from undegrade.metrics import protocol as protocols
from undegrade.tasks import get as get_task

__all__ = ["Calibration", "Row", "calibrate"]

TOLERANCE = 1.0
"""dB within which a mean counts as met."""

PHOTOGRAPHS = 40
"""Training photographs that a random degradation is measured on."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        task, set, condition: what was degraded and how.
        protocol: ruler of the scores.
        pictures: how many.
        psnr, low, high: mean, 10th and 90th percentile over the pictures in dB.
        target: what the benchmark's own inputs score in dB.
        why: what the target is, and why a difference is to be expected.
    """

    task: str
    set: str
    condition: str
    protocol: str
    pictures: int
    psnr: float
    low: float
    high: float
    target: float
    why: str

    @property
    def met(self) -> bool:
        """Whether the mean lies within 1 dB of the target."""
        return abs(self.psnr - self.target) <= TOLERANCE


@dataclass(frozen=True)
class Calibration:
    """All rows that the data folder allows; ``missing`` names the sets it lacks, or has no picture of."""

    rows: tuple[Row, ...]
    missing: tuple[str, ...] = ()
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, schema 1."""
        rows = [{**asdict(row), "met": row.met} for row in self.rows]
        return {"schema": 1, "seed": self.seed, "tolerance_db": TOLERANCE, "rows": rows, "missing": list(self.missing)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Calibration:
        """What ``to_dict`` wrote."""
        rows = [Row(**{key: value for key, value in row.items() if key != "met"}) for row in plain["rows"]]
        return cls(tuple(rows), tuple(plain["missing"]), plain["seed"])

    def to_markdown(self) -> str:
        """The page ``docs/calibration.md``."""
        lines = [
            *_PREFACE,
            "| task | set | condition | ruler | n | mean | 10-90 % | target | off by | what the target is |",
            "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        for row in self.rows:
            off = f"{row.psnr - row.target:+.2f}"
            lines.append(
                f"| {row.task} | {row.set} | {row.condition} | {row.protocol} | {row.pictures} | {row.psnr:.2f} "
                f"| {row.low:.1f}-{row.high:.1f} | {row.target:.2f} | {off if row.met else f'**{off}**'} | {row.why} |"
            )
        return "\n".join(lines) + "\n"


_PREFACE = (
    "# Calibration",
    "",
    "What degraded inputs score, untouched, beside what the inputs of the benchmarks score. A made degradation is of",
    "use when the two agree: weights trained on weaker rain than the test's leave rain, on stronger rain they wipe out",
    "detail. Written by `undegrade calibrate DATA --json docs/scores/calibration.json --markdown docs/calibration.md`.",
    "",
    "Targets are means over the complete sets; our test folders hold parts of most of them. Differences above 1 dB are",
    "in bold, and their reason stands in the last column. Rows called *the pairs themselves* degrade nothing: they",
    "tell how far the part at hand lies from the whole. Ranges in a condition are drawn from for each picture.",
    "",
)


@dataclass(frozen=True)
class _Plan:
    """A row before it is measured: ``folder`` of clean pictures, or of pairs when ``task`` has nothing to add."""

    task: str
    folder: str
    condition: str
    target: float
    why: str
    protocol: str = "rgb"
    strength: Mapping[str, Any] = field(default_factory=dict)
    measure: Callable[[Path, _Plan, int], Iterator[float]] | None = None


def calibrate(
    data: str | Path,
    *,
    tasks: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[Row], None] | None = None,
) -> Calibration:
    """Degrades the pictures of a data folder and scores them untouched.

    Args:
        data: folder with ``train/``, ``train_pairs/``, ``depth/`` and ``test/SET`` (pairs in ``input``, ``target``).
        tasks: names or aliases; all when empty.
        seed: of the degradations.
        progress: called with each row as it is measured.

    Raises:
        InputError: not one of the sets is there.
        UsageError: no figures are known for one of the tasks.
    """
    check_seed(seed)
    root = Path(data)
    plans = _plans(root)
    wanted, known = {get_task(task).name for task in tasks}, {plan.task for plan in plans}
    if strange := sorted(wanted - known):
        raise UsageError(
            f"{strange[0]}: nothing to compare its degradation with; there are: {', '.join(sorted(known))}"
        )
    rows: list[Row] = []
    missing = set()
    for plan in plans:
        if wanted and plan.task not in wanted:
            continue
        scores = sorted((plan.measure or _synthetic)(root, plan, seed)) if (root / plan.folder).is_dir() else []
        if not scores:
            missing.add(plan.folder)
            continue
        rows.append(_row(plan, scores))
        if progress is not None:
            progress(rows[-1])
    if not rows:
        raise InputError(f"{root}: none of the sets is there (looked for {', '.join(sorted(missing))})")
    return Calibration(tuple(rows), tuple(sorted(missing)), seed)


def _row(plan: _Plan, scores: Sequence[float]) -> Row:
    """The row of ascending scores."""
    tenth = len(scores) // 10
    return Row(
        task=plan.task,
        set=plan.folder,
        condition=plan.condition,
        protocol=plan.protocol,
        pictures=len(scores),
        psnr=round(statistics.fmean(scores), 3),
        low=round(scores[tenth], 2),
        high=round(scores[-1 - tenth], 2),
        target=plan.target,
        why=plan.why,
    )


def _plans(root: Path) -> list[_Plan]:
    return [*_exact_plans(), *_weather_plans(root), *_blur_plans()]


def _exact_plans() -> list[_Plan]:
    """Models that the benchmarks apply themselves: the figures must come out, but for pictures missing in a subset."""
    plans = []
    for sigma, unclipped, clipped in (
        (10, 28.13, 28.30),
        (15, 24.61, 24.83),
        (25, 20.17, 20.53),
        (50, 14.15, 15.00),
        (70, 11.23, 12.57),
    ):
        for cut, target in ((False, unclipped), (True, clipped)):
            plans.append(
                _Plan(
                    "denoising",
                    "test/CBSD68",
                    f"sigma {sigma}, {'8 bit' if cut else 'unclipped'}",
                    target,
                    "all 68 pictures",
                    strength={"sigma": sigma, "clipped": cut},
                )
            )
    for folder, figures, note in (
        ("LIVE1", (27.77, 30.07, 31.41, 32.35), "all 29 pictures; these 8 are smoother"),
        ("classic5", (27.82, 30.12, 31.48, 32.43), "the same 5 pictures"),
    ):
        for quality, target in zip((10, 20, 30, 40), figures, strict=True):
            plans.append(
                _Plan(
                    "jpeg_artifacts",
                    f"test/{folder}",
                    f"quality {quality}, luma",
                    target,
                    note,
                    protocol="jpeg-luma",
                    strength={"quality": quality},
                )
            )
    for folder, baselines in (("Set5", (33.66, 30.39, 28.42)), ("Set14", (30.24, 27.55, 26.00))):
        for scale, target in zip((2, 3, 4), baselines, strict=True):
            plans.append(
                _Plan(
                    "super_resolution",
                    f"test/{folder}",
                    f"x{scale}, enlarged bicubically",
                    target,
                    "the same pictures",
                    protocol="y-matlab",
                    strength={"scale": scale},
                )
            )
    for pattern in ("RGGB", "GRBG"):
        plans.append(
            _Plan(
                "demosaicing",
                "test/CBSD68",
                f"{pattern}, zero-filled",
                8.43,
                "all 68 pictures; depends on brightness only",
                strength={"pattern": pattern},
            )
        )
    return plans


def _weather_plans(root: Path) -> list[_Plan]:
    rain, haze, snow = "deraining", "dehazing", "desnowing"
    garg = str(root / "train_pairs/rain_streaks_garg")
    return [
        _Plan(rain, "test/Rain100L", "the pairs themselves", 26.90, "all 100 pairs", "derain-y", measure=_paired),
        _Plan(
            rain,
            "train/bsd",
            "drawn layers, gain 0.75",
            26.90,
            "Rain100L",
            "derain-y",
            {"layers": garg, "gain": 0.75},
        ),
        _Plan(rain, "train/bsd", "made, light", 26.90, "Rain100L", "derain-y", {"heavy": 0.0, "model": "additive"}),
        _Plan(rain, "test/Rain100H", "the pairs themselves", 13.60, "all 100 pairs", "derain-y", measure=_paired),
        _Plan(rain, "train/bsd", "made, heavy", 13.60, "Rain100H", "derain-y", {"heavy": 1.0, "model": "additive"}),
        _Plan(
            rain,
            "train/bsd",
            "3-6 drawn layers, gain 1-2",
            13.60,
            "Rain100H; lighter, for variety between the two sets",
            "derain-y",
            {"layers": garg, "gain": [1.0, 2.0], "count": [3, 6]},
        ),
        _Plan(haze, "test/SOTS-indoor", "the pairs themselves", 12.00, "all 500 pairs", measure=_paired),
        _Plan(
            haze,
            "depth/rgb",
            "depth maps, beta 0.6-1.8, A 0.97-1",
            12.00,
            "SOTS indoor",
            strength={"beta": [0.6, 1.8], "airlight": [0.97, 1.0], "tint": 0.0},
            measure=_with_depth,
        ),
        _Plan(
            haze,
            "train/bsd",
            "made-up depth, mean transmission 0.4-0.95, A 0.8-1",
            15.90,
            "SOTS outdoor",
            strength={"transmission": [0.4, 0.95], "airlight": [0.8, 1.0]},
        ),
        _Plan(haze, "train/bsd", "made-up depth, training range", 15.90, "SOTS outdoor; thicker haze is wanted too"),
        _Plan(snow, "test/CSD", "the pair itself", 13.70, "the one CSD pair at hand", measure=_paired),
        _Plan(
            snow,
            "test/CSD/target",
            "made, veiled, dense: 20 seeds on the scene of the pair",
            13.70,
            "the pair of this scene",
            strength={"veil": 1.0, "density": 3.0},
            measure=_many_seeds,
        ),
    ]


def _blur_plans() -> list[_Plan]:
    motion, defocus = "motion_deblurring", "defocus_deblurring"
    return [
        _Plan(
            motion, "test/GoPro", "the pairs themselves", 25.60, "all 1111 pairs; these 3 are strong", measure=_paired
        ),
        _Plan(motion, "train/bsd", "camera paths, training range", 25.60, "GoPro"),
        _Plan(defocus, "test/DPDD-demo", "the pairs themselves", 23.90, "all 76 full-size pairs", measure=_paired),
        _Plan(defocus, "train/bsd", "made-up depth, radius 4-16", 23.90, "DPDD", strength={"radius": [4, 16]}),
    ]


def _pictures(folder: Path) -> list[Path]:
    """At most ``PHOTOGRAPHS``, spread evenly over the folder, of training photographs; all of a test set."""
    files = list_pictures(folder)
    return files if folder.parent.name == "test" else files[:: max(1, len(files) // PHOTOGRAPHS)][:PHOTOGRAPHS]


def _synthetic(root: Path, plan: _Plan, seed: int) -> Iterator[float]:
    for file in _pictures(root / plan.folder):
        yield _score(plan, file, seed)


def _paired(root: Path, plan: _Plan, seed: int) -> Iterator[float]:
    ruler = protocols.get(plan.protocol)
    for pair in pair_folders(root / plan.folder / "input", root / plan.folder / "target"):
        yield ruler.score(read(pair.input).pixels, read(pair.target).pixels)["psnr"]


def _with_depth(root: Path, plan: _Plan, seed: int) -> Iterator[float]:
    depths = {file.stem: file for file in list_pictures(root / "depth/depth")}
    for file in list_pictures(root / plan.folder):
        if file.stem in depths:
            yield _score(plan, file, seed, depth=read(depths[file.stem]).pixels[:1])


def _many_seeds(root: Path, plan: _Plan, seed: int) -> Iterator[float]:
    for file in list_pictures(root / plan.folder):
        for number in range(20):
            yield _score(plan, file, seed + number)


def _score(plan: _Plan, file: Path, seed: int, **extra: Any) -> float:
    """PSNR of a degraded picture, untouched, against the clean one."""
    ruler = protocols.get(plan.protocol)
    sample = made_from(file, task=get_task(plan.task), ruler=ruler, seed=seed, strength={**plan.strength, **extra})
    return score(sample, None, ruler)[0].input["psnr"]
