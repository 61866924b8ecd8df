"""Sample pictures, one for each task, restored once by the server's own weights when somebody first looks."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from importlib import resources
from pathlib import Path

from undegrade.web.desk import BusyError, Desk
from undegrade.web.limits import Limits
from undegrade.web.wish import make_wish
from undegrade.web.worker import Order

__all__ = ["FOLDER", "Samples", "sample"]

FOLDER = Path(str(resources.files("undegrade.web"))) / "samples"


def sample(task: str) -> Path | None:
    """The spoilt picture for a task; scripts/make_web_samples.py makes them."""
    return next(iter(FOLDER.glob(f"{task}.*")), None)


class Samples:
    """Before and after of every sample, made when somebody first looks.

    Args:
        desk: restores them, like any visitor's picture.
        limits: ``pixels`` counts here.
        folder: where the results are kept.
    """

    def __init__(self, desk: Desk, limits: Limits, folder: Path) -> None:
        self.desk, self.limits, self.folder = desk, limits, folder
        self._done: dict[str, tuple[str, str]] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def shown(self, task: str) -> tuple[str, str] | None:
        """(before, after) for the slider; None when there is no sample or the server is too busy."""
        async with self._turns[task]:  # else several restorations would write the same files
            known = self._done.get(task)
            source = sample(task)
            if source is None or (known is not None and all(Path(path).is_file() for path in known)):
                return known
            order = Order(
                source, self.folder / task, make_wish({"task": task}).for_load(), False, self.limits.pixels, True
            )
            try:
                answer = await asyncio.shield(asyncio.wrap_future(self.desk.submit(order).future))
            except BusyError:
                return None
            if answer.shown is not None:
                self._done[task] = str(answer.shown[0]), str(answer.shown[1])
            return self._done.get(task)
