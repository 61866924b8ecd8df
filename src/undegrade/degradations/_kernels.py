"""Blur kernels: camera paths drawn as kernels, kernels from files, and the shapes of lens apertures."""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from undegrade.core.errors import InputError
from undegrade.core.names import below
from undegrade.degradations._draw import choice, integer, tensors, uniform

__all__ = ["Aperture", "camera_path", "draw_kernel", "open_kernels", "path_kernel"]

_STEPS = 500


def camera_path(generator: torch.Generator, length: float) -> Tensor:
    """(500, 2): where a shaking camera points during the exposure, as (y, x) in pixels, centred at its mean.

    A particle whose direction drifts at random, is pulled back to its start, and jumps now and then (after Boracchi and
    Foi: Modeling the performance of image restoration from motion blur, 2012). Its speed swells and ebbs: measured
    kernels have bright spots where the camera lingered. Most paths are nearly straight, as in the GoPro set.

    Args:
        generator: source of all randomness.
        length: of the whole path in pixels.
    """
    anxiety = 0.1 * uniform(generator, 0, 1) ** 2.5
    pull, shake = uniform(generator, 0, 0.7), uniform(generator, 0, 10)
    jump = uniform(generator, 0.002, 0.005) if uniform(generator, 0, 1) < 0.5 else 0.0
    phase = torch.linspace(0, uniform(generator, 1, 9), _STEPS) + uniform(generator, 0, 2 * math.pi)
    speeds = torch.exp(uniform(generator, 0, 1.2) * torch.sin(phase))
    steps = (speeds * (length / float(speeds.sum()))).tolist()
    velocity = cmath.rect(steps[0], uniform(generator, 0, 2 * math.pi))
    lots = torch.randn(_STEPS, 2, generator=generator, device=generator.device).tolist()
    jumps = torch.rand(_STEPS, 2, generator=generator, device=generator.device).tolist()
    position, path = 0j, []
    for speed, (drift_y, drift_x), (turns, angle) in zip(steps, lots, jumps, strict=True):
        path.append(position)
        change = anxiety * speed * (shake * complex(drift_x, drift_y) - pull * position)
        if turns < jump:
            change += 2 * velocity * cmath.exp(1j * math.pi * (0.5 + angle))
        velocity += change
        velocity *= speed / max(abs(velocity), 1e-12)
        position += velocity
    points = torch.tensor([(point.imag, point.real) for point in path])
    return points - points.mean(dim=0)


def path_kernel(path: Tensor) -> Tensor:
    """The (k, k) kernel of a path (T, 2): every point spread over its four pixels, the sum being 1."""
    reach = math.ceil(float(path.abs().max())) + 1
    side = 2 * reach + 1
    corner = path.floor()
    part = path - corner
    kernel = torch.zeros(side * side)
    for down in (0, 1):
        for right in (0, 1):
            weight = (part[:, 0] if down else 1 - part[:, 0]) * (part[:, 1] if right else 1 - part[:, 1])
            place = (corner[:, 0] + reach + down) * side + corner[:, 1] + reach + right
            kernel.index_add_(0, place.long(), weight)
    return (kernel / kernel.sum()).view(side, side)


def open_kernels(kernels: str | Path | Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Kernels of a ``.npz`` file or of all those in a folder, or given ones: odd sides, sum 1, centred at their mean.

    Raises:
        InputError: no kernel there, a damaged file, or a kernel that cannot be brought to a sum of 1.
        UsageError: neither a path nor tensors.
    """
    if isinstance(kernels, (str, Path)):
        return _read(str(kernels))
    given = tensors(kernels, "kernels")
    if not given:
        raise InputError("no kernel given")
    return [_centred(kernel) for kernel in given]


@lru_cache(maxsize=8)
def _read(place: str) -> list[Tensor]:
    root = Path(place)
    found = []
    files = [root] if root.is_file() else [file for file in below(root) if file.suffix == ".npz"]
    for file in sorted(files, key=lambda file: file.parts):  # paths themselves sort without case on Windows
        try:
            with file.open("rb") as content, np.load(content) as arrays:  # by name, a damaged one would stay open
                found += [_centred(torch.from_numpy(arrays[name]).float()) for name in arrays.files]
        except Exception as error:  # damaged archives fail in nearly every way
            raise InputError(f"{file}: not a file of kernels (.npz): {' '.join(str(error).split())}") from error
    if not found:
        raise InputError(f"{place}: no kernels (.npz) there")
    return found


def _centred(kernel: Tensor) -> Tensor:
    """A (h, w) kernel of sum 1, widened by zeros to odd and equal sides around its mean."""
    total = float(kernel.sum())
    if not 0 < total < math.inf:
        raise InputError(f"the sum of a kernel is {total:g}: must be above 0 and finite")
    kernel = (kernel / kernel.sum()).float()
    centre = [round(float((kernel.sum(dim=1 - axis) * torch.arange(kernel.shape[axis])).sum())) for axis in (0, 1)]
    reach = max(max(middle, side - 1 - middle) for middle, side in zip(centre, kernel.shape, strict=True))
    room = [(reach - middle, reach - (side - 1 - middle)) for middle, side in zip(centre, kernel.shape, strict=True)]
    return F.pad(kernel, (*room[1], *room[0]))


def draw_kernel(kernels: Sequence[Tensor], generator: torch.Generator, limit: int) -> Tensor:
    """One of the kernels, turned and mirrored at random; of those not wider than ``limit``, if there are any."""
    kernel = choice(generator, [kernel for kernel in kernels if kernel.shape[0] <= limit] or kernels)
    kernel = torch.rot90(kernel, integer(generator, 0, 3))
    return kernel.flip(1) if integer(generator, 0, 1) else kernel


@dataclass(frozen=True)
class Aperture:
    """The shape of a lens opening, which every point out of focus takes on.

    Attributes:
        blades: sides of the polygon; 0 for a disc.
        turn: rotation in radians.
        rim: how much brighter the edge is than the middle, 0..1.
        cut: shift of a second opening of the same size that cuts the first, in radii; (0, 0) for none.
    """

    blades: int = 0
    turn: float = 0.0
    rim: float = 0.0
    cut: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def draw(cls, generator: torch.Generator) -> Aperture:
        """A disc in 70 % of the cases, else of 5-9 blades; a cat's eye in 20 %."""
        blades = integer(generator, 5, 9) if uniform(generator, 0, 1) < 0.3 else 0
        turn, rim = uniform(generator, 0, 2 * math.pi), uniform(generator, 0, 0.2)
        shift, angle = uniform(generator, 0.2, 0.8), uniform(generator, 0, 2 * math.pi)
        eye = uniform(generator, 0, 1) < 0.2
        return cls(blades, turn, rim, (shift * math.sin(angle), shift * math.cos(angle)) if eye else (0.0, 0.0))

    def kernel(self, radius: float) -> Tensor:
        """(k, k), antialiased, sum 1, for a blur circle of ``radius`` pixels."""
        # Corners of a polygon of the disc's area reach further than the disc.
        reach = math.ceil((radius / _narrowing(self.blades) if self.blades else radius) + 0.5)
        axis = torch.arange(-reach, reach + 1, dtype=torch.float32)
        y, x = axis[:, None], axis[None, :]
        distance = self._distance(y, x)
        # Both openings move by half the shift, so that the cut one stays in the middle.
        down, right = (radius * shift / 2 for shift in self.cut)
        inside = (radius + 0.5 - self._distance(y - down, x - right)).clamp(0, 1)
        inside = inside * (radius + 0.5 - self._distance(y + down, x + right)).clamp(0, 1)
        kernel: Tensor = inside * (1 + self.rim * (distance / max(radius, 1e-3)).clamp(max=1) ** 4)
        return kernel / kernel.sum() if float(kernel.sum()) > 0 else (distance == 0).float()

    def _distance(self, y: Tensor, x: Tensor) -> Tensor:
        """From the middle, such that the rim lies at the same value everywhere."""
        if not self.blades:
            return torch.hypot(y, x)
        angles = [self.turn + 2 * math.pi * blade / self.blades for blade in range(self.blades)]
        sides = torch.stack([y * math.sin(angle) + x * math.cos(angle) for angle in angles]).amax(dim=0)
        scaled: Tensor = sides / _narrowing(self.blades)  # same area as the disc, nearly
        return scaled


def _narrowing(blades: int) -> float:
    """Distance of a polygon's sides, and the inverse of that of its corners, for a disc of radius 1."""
    return math.sqrt(math.cos(math.pi / blades))
