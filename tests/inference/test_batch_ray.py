"""A batch on a local Ray cluster of two processes, which are killed: nothing is lost, doubled or changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from batches import Negative, picture

from undegrade.core.errors import WeightsError
from undegrade.core.image import Picture
from undegrade.inference import engines, scan
from undegrade.inference.manifest import Manifest

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*", "ignore::FutureWarning:ray.*"),
]


class DiesOnce(Negative):
    """Kills its process on one picture, the first time."""

    def picture(self, picture: Picture, **options: Any) -> Picture:
        assert self.deaths
        if picture.size[0] == 9 and not (self.deaths / "died").exists():
            (self.deaths / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().picture(picture, **options)


def refused() -> Negative:
    raise WeightsError("no such weights")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (its name); or a busy machine would starve them
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}},
        object_store_memory=80 << 20,
    )
    yield
    ray.shutdown()


def test_a_killed_worker_loses_and_doubles_nothing(cluster: None, tmp_path: Path) -> None:
    for number in range(12):
        picture(tmp_path / f"in/{number:02}.png", 20 * number, (6, 9 if number == 5 else 4))
    (tmp_path / "in/07.png").write_text("no picture")

    def contents(name: str, restorer: Any, **how: Any) -> dict[str, bytes]:
        with Manifest(tmp_path / f"{name}.db", {}) as manifest:
            jobs = scan.scan([tmp_path / "in"], tmp_path / name)
            outcomes = list(engines.run(jobs, restorer, manifest=manifest, **how))
            assert manifest.counts() == {"done": 11, "failed": 1}
        assert sorted(outcome.source.name for outcome in outcomes) == [f"{number:02}.png" for number in range(12)]
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    make = partial(DiesOnce, deaths=tmp_path)
    found = contents("cluster", make, engine="ray")
    assert (tmp_path / "died").exists()
    assert found == contents("here", make)
    with pytest.raises(WeightsError, match="no such weights"):
        list(engines.run(scan.scan([tmp_path / "in"], tmp_path / "more"), refused, engine="ray"))


def test_what_kills_every_worker_is_given_up_alone(cluster: None, tmp_path: Path) -> None:
    for number in range(6):
        picture(tmp_path / f"in/{number}.png", 20 * number, (6, 9 if number == 2 else 4))
    jobs = scan.scan([tmp_path / "in"], tmp_path / "out")
    outcomes = list(engines.run(jobs, partial(Negative, deadly=9), engine="ray"))
    (lost,) = (outcome for outcome in outcomes if outcome.status == "failed")
    assert lost.source.name == "2.png"
    assert "3 workers died over it" in lost.error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "3.png", "4.png", "5.png"]


def test_one_actor_for_each_gpu(tmp_path: Path) -> None:
    """Ray only counts the GPUs that it is told of, so that this needs none."""
    script = Path(__file__).with_name("ray_gpus.py")
    paths = os.pathsep.join([str(script.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths}
    words = [sys.executable, script, tmp_path]
    told = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert set(told.stdout.split()) == {"0", "1"}, told.stderr
