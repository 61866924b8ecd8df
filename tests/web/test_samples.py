"""Sample pictures of the pages: restored once, however many look at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from undegrade.web.desk import Job
from undegrade.web.limits import Limits
from undegrade.web.samples import Samples
from undegrade.web.worker import Answer, Order


def test_many_who_look_at_once_are_shown_one_restoration(tmp_path: Path) -> None:
    orders: list[Order] = []
    before, after = tmp_path / "before.png", tmp_path / "after.png"

    def submit(order: Order) -> Job:
        orders.append(order)
        job = Job(order)

        def done() -> None:
            for path in (before, after):
                path.touch()
            job.answer(Answer("done", shown=(before, after)))

        asyncio.get_running_loop().call_later(0.05, done)
        return job

    desk: Any = SimpleNamespace(submit=submit)
    samples = Samples(desk, Limits(), tmp_path)

    async def looks() -> list[tuple[str, str] | None]:
        return await asyncio.gather(*(samples.shown("denoising") for _ in range(3)))

    assert asyncio.run(looks()) == [(str(before), str(after))] * 3
    assert len(orders) == 1
