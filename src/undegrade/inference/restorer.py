"""Restorer: a network with everything around it, from picture to restored picture of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undegrade.core import image as images
from undegrade.core.errors import InputError, UsageError
from undegrade.core.image import Picture
from undegrade.inference import runtimes
from undegrade.inference.anykind import AnyKind
from undegrade.inference.backend import Backend, TorchBackend
from undegrade.inference.run import Options, Progress, check_tile, run
from undegrade.networks._spec import NetworkSpec
from undegrade.ops.colour import rgb_to_ycbcr, ycbcr_to_rgb
from undegrade.ops.resize import imresize
from undegrade.tasks import Task
from undegrade.weights.card import WeightsCard

__all__ = ["Restorer"]


@dataclass(frozen=True, repr=False)
class Restorer(AnyKind):
    """A network ready for pictures of any size. Keeps no state: the same picture gives the same result.

    Attributes:
        backend: runs the network.
        spec, config: which network it is.
        task: what it is for; its hooks run before and after the network.
        card: where the weights come from.
        parameters: task parameters, handed to the task's hooks.
        options: how to go about a picture, unless a call says otherwise.
    """

    backend: Backend
    spec: NetworkSpec[Any]
    config: Any
    task: Task | None = None
    card: WeightsCard | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        # What no picture can be restored with is told once, not for every file of a batch.
        self._check(self.options)

    def __repr__(self) -> str:
        what = f"task={self.task.name if self.task else None}, weights={self.card.id if self.card else None}"
        return f"Restorer({what}, network={self.spec.name}, backend={self.backend.name})"

    @classmethod
    def from_module(
        cls,
        net: nn.Module,
        spec: NetworkSpec[Any],
        config: Any,
        task: Task | None = None,
        *,
        device: str | torch.device | None = None,
        dtype: str = "auto",
        backend: str = "torch",
        **fields: Any,
    ) -> Restorer:
        """A Restorer around a module in memory, for example one in training.

        Args:
            net: stays where it is, in the mode it is in, unless ``device`` says otherwise.
            spec, config, task: what it is.
            device: where to run it; default: where its parameters are.
            dtype: see ``TorchBackend``.
            backend: what runs it, see ``runtimes.make``.
            **fields: further fields of the Restorer.
        """
        place = device if device is not None else next((p.device for p in net.parameters()), torch.device("cpu"))
        return cls(runtimes.make(backend, net, spec, config, place, dtype), spec, config, task, **fields)

    @property
    def scale(self) -> int:
        """Output size over input size."""
        return self.spec.scale(self.config)

    @property
    def info(self) -> dict[str, Any]:
        """Network, weights and training, as plain values."""
        card = self.card
        return {
            "network": self.spec.name,
            "preset": card.preset if card else None,
            "numbers": asdict(self.config),
            "scale": self.scale,
            "paper": self.spec.paper,
            "task": self.task.name if self.task else None,
            "parameters": dict(self.parameters),
            "weights": card.id if card else None,
            "licence": card.licence if card else None,
            "origin": card.origin if card else None,
            "limits": card.limits if card else None,
            "training": asdict(card.training) if card and card.training else None,
            "scores": [asdict(score) for score in card.scores] if card else [],
            "device": str(self.backend.device),
            "backend": self.backend.name,
        }

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write weights, card and a README into ``folder``, for ``from_pretrained``; returns the card's path.

        Raises:
            UsageError: the network is none of the catalogue, or does not run in torch.
        """
        from undegrade.weights import hub

        if not isinstance(self.backend, TorchBackend) or self.card is None or not self.spec.presets:
            raise UsageError(f"{self.spec.title}: only weights of own networks, loaded for torch, can be saved")
        return hub.save(self.backend.module, self.config, self.card, folder)

    def picture(self, picture: Picture, *, progress: Progress | None = None, **options: Any) -> Picture:
        """Restore a ``Picture``: not rounded, alpha untouched or enlarged. Arguments as for calling the Restorer."""
        return picture.with_pixels(self.pixels(picture, progress=progress, **options))

    def pixels(self, picture: Picture, *, progress: Progress | None = None, **options: Any) -> Tensor:
        """The restored pixels of a ``Picture``, (1 or 3, sH, sW). Arguments as for calling the Restorer."""
        return self.tensor(picture.pixels[None], progress=progress, **options)[0]

    @torch.no_grad()
    def tensor(self, x: Tensor, *, progress: Progress | None = None, **options: Any) -> Tensor:
        """Restore (B, C, H, W) float in 0..1 to (B, C, sH, sW) in 0..1; each picture as if it were alone.

        Raises:
            InputError: no floats in 0..1, NaN or infinity in the input, or no memory for even a small tile.
            UsageError: a wrong option or number of channels.
        """
        if x.ndim != 4 or 0 in x.shape:
            raise UsageError(f"tensor of shape {tuple(x.shape)}: must be (B, C, H, W)")
        images.check_floats(x)
        chosen = self.options.changed_by(options)
        self._check(chosen)
        results = [self._restore(one[None].float(), chosen, progress) for one in x]
        return results[0] if len(results) == 1 else torch.cat(results)

    def _check(self, options: Options) -> None:
        check_tile(options, self.spec)
        if options.strength < 1 and self.task and self.task.prepare:
            raise UsageError(
                f"strength={options.strength}: what {self.task.name} takes is no picture to blend with: leave it at 1"
            )

    def _restore(self, x: Tensor, options: Options, progress: Progress | None) -> Tensor:
        if not torch.isfinite(x.sum()):
            raise InputError("NaN or infinity in the picture")
        prepared = self.task.prepare(x, **self.parameters) if self.task and self.task.prepare else x
        y = self._in_colours(prepared, lambda part: self._run(part, options, progress))
        if self.task and self.task.finish:
            y = self.task.finish(y, **self.parameters)
        if options.strength < 1:
            for result, given in zip(y.unbind(1), x.unbind(1), strict=True):  # imresize takes several times its result
                base = given if self.scale == 1 else imresize(given, self.scale)
                result.mul_(options.strength).add_(base, alpha=1 - options.strength)
        if not torch.isfinite(y.sum()):
            raise InputError(
                f"{self.spec.title} gave NaN or infinity for this picture: other weights, or dtype float32"
            )
        return y.clamp_(0, 1)

    def _run(self, x: Tensor, options: Options, progress: Progress | None) -> Tensor:
        # The published tiles of colour denoising are a little larger than those of the other tasks.
        size = 6800 if self.task is not None and self.task.name == "denoising" and x.shape[1] == 3 else 6400
        return run(
            self.backend, self.spec, self.config, x, options, card=self.card, official_size=size, progress=progress
        )

    def _in_colours(self, x: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Fit grey pictures to colour networks, and colour pictures to luma networks."""
        given, wanted = x.shape[1], self.spec.channels(self.config)
        if given == wanted:
            return network(x)
        if (given, wanted) == (1, 3):
            return network(x.expand(-1, 3, -1, -1)).mean(1, keepdim=True)
        if (given, wanted) == (3, 1) and self.scale == 1:
            parts = rgb_to_ycbcr(x)
            parts[:, :1] = network(parts[:, :1])
            return ycbcr_to_rgb(parts)
        raise UsageError(f"{given} channels: {self.spec.name} with these weights takes {wanted}")
