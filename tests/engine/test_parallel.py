"""Several processes: slices of the weights, restarts by torchrun, checkpoints that any number can go on from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import pictures, recipe

from undegrade.core.errors import UsageError
from undegrade.engine import checkpoint
from undegrade.engine.loop import train
from undegrade.engine.recipe import Recipe
from undegrade.engine.run import _refuse_uneven

WORKER = """
import faulthandler, os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from runs import recipe
from torch import distributed
from undegrade.engine import run
from undegrade.engine.loop import train

faulthandler.dump_traceback_later(200)
data = Path(sys.argv[2])
finish = run.Run.finish_step

def finish_or_die(self):
    finish(self)
    mark = data / "died"
    if self.place.rank == 1 and self.step == 3 and not mark.exists():
        mark.write_text(f"step {self.step}, sharded {self.sharded}")
        os.kill(os.getpid(), signal.SIGKILL)
    if self.step == 5:
        distributed.barrier()  # who leaves earlier resets the connections that the other one still reads from
        os._exit(0)

run.Run.finish_step = finish_or_die
train(recipe(data, held_back=0, save_every=1, parallel="fsdp"), runs=data / "many", quiet=True, device="cpu")
"""


@pytest.mark.skipif(
    "UNDEGRADE_FAULTS" not in os.environ,
    reason="it takes minutes on a busy machine; `make faults` runs it",
)
def test_slices_restarted_after_a_kill_and_finished_by_one_process_equal_one_undisturbed_run(tmp_path: Path) -> None:
    pictures(tmp_path / "clean")
    (tmp_path / "worker.py").write_text(WORKER)
    words = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "3", str(tmp_path / "worker.py")]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words, str(Path(__file__).parent), str(tmp_path)],
        # Without the second, torch 2.13 keeps the addresses of the killed processes in the store of the new ones.
        env=os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "died").read_text() == "step 3, sharded True"
    assert checkpoint.load(tmp_path / "many/tiny/last.pt")["step"] == 4
    one = train(recipe(tmp_path, held_back=0), runs=tmp_path / "one", quiet=True)
    many = train(recipe(tmp_path, held_back=0, save_every=1), runs=tmp_path / "many", quiet=True)
    a, b = (checkpoint.load(card.parent / "last.pt") for card in (one, many))
    assert a["step"] == b["step"] == 6
    for part in ("net", "ema"):
        for name, value in a[part].items():
            torch.testing.assert_close(b[part][name], value, rtol=1e-3, atol=1e-5)


def test_what_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    for wrong in ({"optimiser": "muon"}, {"precision": "fp16"}):
        with pytest.raises(UsageError, match="parallel=fsdp"):
            recipe(tmp_path, parallel="fsdp", **wrong)
    four: Recipe = recipe(tmp_path)
    _refuse_uneven(four, 2)
    with pytest.raises(UsageError, match="batch 4 cannot be dealt to 3 processes"):
        _refuse_uneven(four, 3)
