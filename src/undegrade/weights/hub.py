"""Weights as a folder that travels: ``model.safetensors``, its card ``model.toml``, and a page for people.

Such a folder is what ``save_pretrained`` writes and ``from_pretrained`` reads, on a disk or on a hub (extra ``hub``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from undegrade.core.errors import MissingExtraError, UsageError, WeightsError, one_line
from undegrade.core.names import is_folder
from undegrade.core.replacing import replacing
from undegrade.weights.card import WeightsCard
from undegrade.weights.pack import pack

__all__ = ["card_in", "fetch", "save", "upload"]

NAME = "model"
WANTED = ("*.toml", "*.safetensors")
"""Files that are taken from a hub: nothing that could hold code."""
MARK = "library_name: undegrade"
"""In the page's front matter, which tells that it is ours."""
PLACE = "THIS-FOLDER-OR-REPOSITORY"
"""Stands in the page for where the weights are found."""


def save(module: nn.Module, config: Any, card: WeightsCard, folder: str | Path) -> Path:
    """Write ``module`` with its card and a README into ``folder``; returns the card's path.

    Values that all fit into float16 without loss are stored so. What was saved there before is replaced.

    Raises:
        UsageError: ``folder`` is a file, or holds a README or a card of something else.
    """
    folder = Path(folder)
    if folder.is_file():
        raise UsageError(f"{folder}: is a file; give a folder")
    readme = folder / "README.md"
    others = [path.name for path in folder.glob("*.toml") if path.name != f"{NAME}.toml"]
    if readme.exists() and MARK not in readme.read_text(encoding="utf-8", errors="replace"):
        others.append(readme.name)
    if others:
        raise UsageError(f"{folder}: holds {', '.join(sorted(others))} of something else; give a folder of its own")
    small = all((tensor.half().to(tensor.dtype) == tensor).all() for tensor in _floats(module))
    path = pack(
        module,
        card.network,
        config,
        card.task,
        folder / f"{NAME}.safetensors",
        dtype=torch.float16 if small else torch.float32,
        id=card.id,
        **card.inherited(),
    )
    with replacing(readme) as part:
        part.write_text(_page(card), encoding="utf-8")
    return path


def fetch(where: str | Path, revision: str | None = None, **settings: Any) -> Path:
    """The card of the weights in a folder, or in a repository of a hub (``"someone/denoiser"``).

    Args:
        where: a folder, or the name of a repository, which is downloaded once and then found on the disk.
        revision: branch, tag or commit of the repository.
        **settings: further arguments of ``huggingface_hub.snapshot_download``, such as ``cache_dir`` and
            ``local_files_only``.

    Raises:
        MissingExtraError: a repository, and the extra is not installed.
        WeightsError: there is no such folder or repository, or no weights are in it.
    """
    if is_folder(where):
        return card_in(Path(where))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(where)):
        raise WeightsError(f"{where}: there is no such folder, and a hub's repositories are called OWNER/NAME")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError("fetching from a hub", "hub") from error
    try:
        folder = snapshot_download(str(where), revision=revision, allow_patterns=list(WANTED), **settings)
    except Exception as error:  # the package's errors, those of its network library, and OSError
        raise WeightsError(f"{where}: cannot be fetched ({one_line(error, 160)})") from error
    return card_in(Path(folder))


def upload(folder: str | Path, repository: str, **settings: Any) -> str:
    """Put a folder that ``save`` wrote into a repository of a hub, made if needed; returns its address.

    Args:
        folder: what is uploaded; its page then names the repository.
        repository: ``"OWNER/NAME"``.
        **settings: ``token``, ``private``; ``commit_message`` and further arguments of ``HfApi.upload_folder``.

    Raises:
        MissingExtraError: the extra is not installed.
        WeightsError: the hub refuses, or cannot be reached.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError("uploading to a hub", "hub") from error
    card_in(Path(folder))
    page = Path(folder) / "README.md"
    if page.is_file():
        with replacing(page) as part:
            part.write_text(page.read_text(encoding="utf-8").replace(PLACE, repository), encoding="utf-8")
    api = HfApi(token=settings.pop("token", None))
    try:
        address = api.create_repo(repository, private=settings.pop("private", None), exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=str(folder), **settings)
    except Exception as error:  # as in fetch
        raise WeightsError(f"{repository}: cannot be written ({one_line(error, 160)})") from error
    return str(address)


def card_in(folder: Path) -> Path:
    """The one card in a folder.

    Raises:
        WeightsError: none or several.
    """
    cards = sorted(folder.glob("*.toml"))
    if len(cards) != 1:
        names = ", ".join(card.name for card in cards) or "none"
        raise WeightsError(f"{folder}: must hold one card (.toml), found {names}; save_pretrained writes such a folder")
    return cards[0]


def _floats(module: nn.Module) -> Iterator[torch.Tensor]:
    return (tensor for tensor in module.state_dict().values() if tensor.is_floating_point())


def _page(card: WeightsCard) -> str:
    """A README with the front matter that hubs read."""
    licence = card.licence.lower() if card.licence else "unknown"
    lines = ["---", f"license: {licence}", MARK, "pipeline_tag: image-to-image"]
    lines += [
        "tags:",
        "- image-restoration",
        *([f"- {card.task}"] if card.task else []),
        f"- {card.network}",
        "---",
        "",
    ]
    lines += [
        f"# {card.title}",
        "",
        f"Network `{card.network}`, task `{card.task or 'not said'}`. {card.limits}".strip(),
    ]
    lines += [
        "",
        "```python",
        "import undegrade",
        "",
        f'restorer = undegrade.from_pretrained("{PLACE}")',
    ]
    lines += ['picture = restorer("photo.jpg")', "```", ""]
    if card.scores:
        lines += ["| set | strength | ruler | input PSNR | PSNR | SSIM |", "| --- | --- | --- | --- | --- | --- |"]
        lines += [
            f"| {one.set} | {one.strength} | {one.protocol} | {_figure(one.input_psnr, 2)} | {one.psnr:.2f} "
            f"| {_figure(one.ssim, 4)} |"
            for one in card.scores
        ]
    return "\n".join(lines).rstrip() + "\n"


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
