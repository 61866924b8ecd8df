"""The map of the project: what users call, each a few lines into the parts below, which are imported when needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from undegrade import networks, tasks
from undegrade.core.errors import UsageError
from undegrade.core.names import is_folder
from undegrade.weights import store

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn

    from undegrade.core.names import Paths
    from undegrade.data._layout import Layout
    from undegrade.data.check import CheckReport
    from undegrade.data.prepare import Prepared
    from undegrade.engine.calibrate import Calibration
    from undegrade.engine.degrade import Done
    from undegrade.engine.published import Comparison
    from undegrade.engine.scores import EvalReport
    from undegrade.inference.anykind import Same
    from undegrade.inference.auto import Auto
    from undegrade.inference.chain import Chain
    from undegrade.inference.export import Exported
    from undegrade.inference.manifest import Manifest
    from undegrade.inference.outcome import Outcome, Restores
    from undegrade.inference.restorer import Restorer
    from undegrade.inference.scan import Job
    from undegrade.inference.video import Clip
    from undegrade.weights.card import WeightsCard

__all__ = [
    "bench",
    "calibrate",
    "catalogue",
    "check_data",
    "contact_sheet",
    "convert",
    "create_network",
    "data_layouts",
    "degrade",
    "degrade_files",
    "evaluate",
    "export",
    "from_pretrained",
    "is_video",
    "list_backends",
    "list_networks",
    "list_presets",
    "list_tasks",
    "list_weights",
    "load",
    "load_network",
    "open_manifest",
    "parse_shard",
    "plan_files",
    "prepare_data",
    "published",
    "report",
    "restore",
    "restore_files",
    "restore_video",
    "scan_files",
    "serve",
    "train",
    "video_targets",
    "weights_card",
]


@overload
def restore(
    image: str | os.PathLike[str], task: str | None = None, *, frame: int | None = None, **wish: Any
) -> Image: ...


@overload
def restore(image: Same, task: str | None = None, *, frame: int | None = None, **wish: Any) -> Same: ...


def restore(image: Any, task: str | None = None, *, frame: int | None = None, **wish: Any) -> Any:
    """Restore one image.

    For many images, ``load`` once and call the Restorer.

    Args:
        image: path, bytes, PIL image, numpy array or tensor.
        task: what to take away, for example ``"deraining"``, or several: ``"denoise,derain"``. Left out, ``"auto"``
            finds it out, unless a parameter tells it (``scale=2``).
        frame: which one of a file that holds several, counted from 0.
        **wish: everything that ``load`` takes: ``weights``, ``network``, ``device``, ``tile``, ``strength``, task
            parameters such as ``sigma=25``.

    Returns:
        The same kind of image, with the same depth, alpha and metadata; a PIL image for a path.

    Raises:
        InputError: the image cannot be read.
        UsageError: the call is wrong; UnknownNameError offers the nearest name.
        WeightsError: no weights for this, or a file that cannot be used.
    """
    return load(task=task, **wish)(image, frame=frame)


def load(what: str | Path | None = None, **wish: Any) -> Restorer | Chain | Auto:
    """A reusable Restorer: ``load("denoising", sigma=25)``, ``load("model_its.pkl", task="dehazing")``.

    See ``undegrade.inference.load.load`` for all arguments.
    """
    from undegrade.inference.load import load as make

    return make(what, **wish)


def from_pretrained(where: str | Path, revision: str | None = None, **wish: Any) -> Restorer | Chain | Auto:
    """A Restorer from what ``Restorer.save_pretrained`` wrote: a folder, or a repository of a hub (extra ``hub``).

    Args:
        where: a folder, or ``"OWNER/NAME"``, which is downloaded once; afterwards it works offline.
        revision: branch, tag or commit of the repository.
        **wish: as for ``load``.

    Raises:
        WeightsError: there is no such folder or repository, or no weights are in it.
        MissingExtraError: a repository, and the extra is not installed.
    """
    from undegrade.weights.hub import fetch

    return load(weights=fetch(where, revision), **wish)


def create_network(network: str, preset: str | None = None, **numbers: Any) -> nn.Module:
    """A network with fresh weights; ``numbers`` replace single numbers of the preset's architecture.

    Raises:
        UnknownNameError: no such network, preset or number.
    """
    spec = networks.catalog.get(network)
    return spec.build(spec.configure(preset, **numbers))


def load_network(
    path: str | Path,
    network: str | None = None,
    preset: str | None = None,
    local_train_size: int | tuple[int, int] | None = None,
    **numbers: Any,
) -> nn.Module:
    """The network in a checkpoint, or that of known weights, in eval mode, found from the names and shapes inside.

    Args:
        path: .pth .pt .pkl .ckpt .safetensors, official or ours; pickles are read in restricted mode. Or the id of
            known weights.
        network, preset, numbers: what the file is for, where that should not be found out.
        local_train_size: training patch's side or (height, width), for the Local (TLC) form.

    Raises:
        WeightsError: unreadable, refused, or not fitting; missing and surplus entries are named.
        UsageError: ``path`` is neither a path nor a name; UnknownNameError: no weights are called so.
    """
    from undegrade.weights.load import load_network as open_network

    if not isinstance(path, str | os.PathLike) or path == "":
        raise UsageError(f"path={path!r}: give a file of weights, or a name from list_weights()")
    return open_network(path, network, preset, local_train_size, **numbers)


def convert(checkpoint: str | Path, output: str | Path, **fields: Any) -> Path:
    """Official checkpoint to safetensors with a card; returns the card's path. See ``undegrade.weights.convert``."""
    from undegrade.weights.convert import convert as write

    if task := fields.get("task"):
        fields["task"] = tasks.get(task).name  # a wrong one is told before the file is read
    return write(checkpoint, output, known_as=lambda name: tasks.get(name).name, **fields)


def evaluate(task: str, **settings: Any) -> EvalReport:
    """Scores on a test set: ``evaluate("deraining", inputs="in/", targets="gt/")``, or ``clean="dir/"`` degraded here.

    See ``undegrade.engine.evaluate.evaluate`` for all settings.
    """
    from undegrade.engine.evaluate import evaluate as score

    return score(task, **settings)


def published(report: EvalReport) -> list[Comparison]:
    """Published tables for the report's task, test set and strength, each with our row in it and its source."""
    from undegrade.engine.published import published as compare

    return compare(report)


def export(what: str | Path, output: str | Path, format: str | None = None, **settings: Any) -> Exported:  # noqa: A002
    """Write weights for another runtime: ``export("denoising", "denoise.onnx")``; see ``undegrade.inference.export``.

    Raises:
        UnknownNameError: ``what`` is no task, no weights and no file.
        WeightsError: no such file of weights, or the result differs from torch; then none is left behind.
        MissingExtraError: the format's package is not installed.
    """
    from undegrade.inference.export import export as write

    return write(what, output, format, **settings)


def bench(**settings: Any) -> dict[str, Any]:
    """Time, memory, work and share of the machine's peak, as ``undegrade bench`` writes it; see ``engine.bench``."""
    from undegrade.engine.bench import bench as measure

    return measure(**settings)


def check_data(root: str | Path | None = None, **settings: Any) -> CheckReport:
    """What is unpaired, corrupt, of wrong size or doubled: ``check_data("RESIDE", layout="its", split="train")``.

    The settings are the options of ``undegrade data check``; ``layout`` is its ``--set``.
    """
    from undegrade.data.check import check_data as check

    return check(root, **settings)


def prepare_data(root: str | Path | None, out: str | Path, **settings: Any) -> Prepared:
    """Lays a data set out as ``out/input`` and ``out/target``, whole or cut into crops.

    The settings are the options of ``undegrade data prepare``; ``layout`` is its ``--set``.
    """
    from undegrade.data.prepare import prepare_data as prepare

    return prepare(root, out, **settings)


def data_layouts(name: str | None = None) -> list[Layout]:
    """The known data sets, or the one called ``name`` (any spelling).

    Raises:
        UnknownNameError: there is none of this name.
    """
    from undegrade.data import layouts

    return list(layouts.LAYOUTS.values()) if name is None else [layouts.get(name)]


@overload
def degrade(
    image: str | os.PathLike[str], task: str, seed: int = 0, *, frame: int | None = None, **strength: Any
) -> Image: ...


@overload
def degrade(image: Same, task: str, seed: int = 0, *, frame: int | None = None, **strength: Any) -> Same: ...


def degrade(image: Any, task: str, seed: int = 0, *, frame: int | None = None, **strength: Any) -> Any:
    """A spoilt version of a clean image, of the same kind: ``degrade("photo.png", "denoising", sigma=25)``.

    See ``undegrade.engine.degrade.degrade`` for the strengths; ``frame`` is which one of a file that holds several.
    """
    from undegrade.engine.degrade import degrade as spoil

    return spoil(image, task, seed=seed, frame=frame, **strength)


def degrade_files(paths: Paths, output: str | Path, task: str, /, **settings: Any) -> Iterator[Done]:
    """Degrades files and folders into ``output``, one report per picture; see ``undegrade.engine.degrade``."""
    from undegrade.engine.degrade import degrade_files as spoil

    return spoil(paths, output, task, **settings)


def contact_sheet(paths: Paths, task: str, /, **settings: Any) -> Image:
    """Clean and degraded pictures side by side as a PIL image; see ``undegrade.engine.degrade.contact_sheet``."""
    from undegrade.engine.degrade import contact_sheet as lay_out

    return lay_out(paths, task, **settings)


def calibrate(data: str | Path, **settings: Any) -> Calibration:
    """Scores of degraded inputs against the customary ones; see ``undegrade.engine.calibrate.calibrate``."""
    from undegrade.engine.calibrate import calibrate as measure

    return measure(data, **settings)


def train(recipe: str | Path, overrides: Sequence[str] = (), **settings: Any) -> Path:
    """Train by a recipe, a YAML file or the name of a shipped one; returns the path of the new weights' card.

    See ``undegrade.engine.loop.train`` for all settings.
    """
    from undegrade.engine.loop import train as run

    return run(recipe, overrides, **settings)


def report(sources: Paths, output: str | Path | None = None, **settings: Any) -> list[Path]:
    """Draw training runs and scores, as PNG, SVG and one HTML page; see ``undegrade.engine.report.report``."""
    from undegrade.engine.report import report as draw

    return draw(sources, output, **settings)


def plan_files(inputs: Paths, output: str | Path | None = None, **settings: Any) -> list[Job]:
    """Which file ``restore_files`` would write for which input; see ``undegrade.inference.scan.plan``."""
    from undegrade.inference.scan import plan

    return plan(inputs, output, **settings)


def scan_files(inputs: Paths, output: str | Path | None = None, **settings: Any) -> Iterator[Job]:
    """As ``plan_files``, but folder by folder while the jobs are done; see ``undegrade.inference.scan.scan``."""
    from undegrade.inference.scan import scan

    return scan(inputs, output, **settings)


def restore_files(
    jobs: Iterable[Job], restorer: Restores | Callable[[], Restores], **settings: Any
) -> Iterator[Outcome]:
    """Restore files one after the other, telling of each; one that fails does not stop the others.

    ``for outcome in restore_files(plan_files(["photos"], "restored"), load("denoising")): ...``
    See ``undegrade.inference.engines.run`` for the settings: a child process, a cluster, a manifest.
    """
    from undegrade.inference.engines import run

    return run(jobs, restorer, **settings)


def open_manifest(path: str | Path, settings: Mapping[str, Any], **options: Any) -> Manifest:
    """The record of a large batch for ``restore_files``; see ``undegrade.inference.manifest.Manifest``.

    A ``task`` among the settings may be an alias: its own name is what the record compares.

    Raises:
        UnknownNameError: no such task.
    """
    from undegrade.inference.manifest import Manifest

    if task := settings.get("task"):
        settings = {**settings, "task": ",".join(tasks.get(word.strip()).name for word in task.split(","))}
    return Manifest(Path(path), settings, **options)


def parse_shard(text: str) -> tuple[int, int]:
    """``"2/8"`` as (2, 8), which ``scan_files`` takes as ``shard``.

    Raises:
        UsageError: anything else.
    """
    from undegrade.inference.scan import parse_shard as parse

    return parse(text)


def is_video(path: str | Path) -> bool:
    """Whether a file name is that of a video; a folder's is not."""
    from undegrade.inference.video import SUFFIXES

    return Path(path).suffix.lower() in SUFFIXES and not is_folder(path)


def video_targets(sources: Sequence[str | Path], output: str | Path | None = None) -> list[Path]:
    """Where ``restore`` writes videos; see ``undegrade.inference.video.targets_of``."""
    from undegrade.inference.video import targets_of

    return targets_of(sources, output)


def restore_video(source: str | Path, target: str | Path, restorer: Restorer | Chain | Auto, **settings: Any) -> Clip:
    """Restore a video, frame by frame: ``restore_video("clip.mp4", "out.mp4", load("denoising"))``.

    See ``undegrade.inference.video.restore_video`` for the settings.
    """
    from undegrade.inference.video import restore_video as run

    return run(source, target, restorer, **settings)


def serve(host: str = "127.0.0.1", port: int = 7860, **settings: Any) -> None:
    """The web page and the HTTP API, until Ctrl-C; see ``undegrade.web.server.serve`` for all settings.

    Raises:
        MissingExtraError: the packages of the extra ``web`` are not installed.
        UsageError: the port is taken, or a cap makes no sense.
    """
    from undegrade.web import prepare

    prepare()
    from undegrade.web.server import serve as run

    run(host, port, **settings)


def catalogue(kind: str, pattern: str = "*") -> list[dict[str, Any]]:
    """Rows that tell of all ``"tasks"``, ``"networks"``, ``"presets"``, ``"weights"``, ``"recipes"``, ``"protocols"``.

    Raises:
        UnknownNameError: no such kind of list.
    """
    from undegrade.engine.catalogues import rows

    return rows(kind, pattern)


def list_networks(pattern: str = "*") -> list[str]:
    """Names of the networks that fit a shell-style pattern."""
    return [name for name in networks.catalog.names() if fnmatchcase(name, pattern)]


def list_presets(network: str, pattern: str = "*") -> list[str]:
    """Names of a network's presets that fit a shell-style pattern.

    Raises:
        UnknownNameError: no such network.
    """
    return [name for name in networks.catalog.get(network).presets if fnmatchcase(name, pattern)]


def list_tasks(pattern: str = "*") -> list[str]:
    """Names of the tasks that fit a shell-style pattern."""
    return [name for name in tasks.catalog.names() if fnmatchcase(name, pattern)]


def list_weights(pattern: str = "*", task: str | None = None, network: str | None = None) -> list[str]:
    """Ids of the weights at hand that fit a shell-style pattern, for a task or a network if one is named.

    Raises:
        UnknownNameError: no such task or network.
    """
    if network is not None and network not in networks.catalog.names():
        networks.catalog.summary(network)  # raises with the nearest name
    wanted = tasks.get(task).name if task is not None else None
    cards = {name: stored.card for name, stored in store.entries().items() if fnmatchcase(name, pattern)}
    return sorted(
        name for name, card in cards.items() if wanted in (None, card.task) and network in (None, card.network)
    )


def list_backends() -> list[str]:
    """Names of the backends whose packages are installed; see ``undegrade.inference.runtimes``."""
    from undegrade.inference.runtimes import installed

    return installed()


def weights_card(name: str) -> WeightsCard:
    """The card of known weights: network, task, licence, scores, limits.

    Raises:
        UnknownNameError: there are none of this id.
    """
    return store.find(name).card
