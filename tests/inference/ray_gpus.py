"""Prints which GPU every actor of a batch was given, on a local cluster that is told it has two: ray_gpus.py FOLDER."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import ray
from batches import Negative, picture

from undegrade.core.image import Picture
from undegrade.inference import engines, scan


class Tells(Negative):
    """Says which GPU its process may use."""

    @property
    def info(self) -> dict[str, Any]:  # type: ignore[override]
        return {"gpus": ray.get_runtime_context().get_accelerator_ids()["GPU"]}

    def picture(self, picture: Picture, **options: Any) -> Picture:
        time.sleep(3)  # or one actor would be done with everything before the other has started
        return super().picture(picture, **options)


def main(folder: Path) -> None:
    ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    for number in range(16):
        picture(folder / f"in/{number}.png")
    jobs = scan.scan([folder / "in"], folder / "out")
    told = list[dict[str, Any]]()
    for _ in engines.run(jobs, Tells, engine="ray", told=told.append):
        pass
    print(*(gpu for info in told for gpu in info["gpus"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
