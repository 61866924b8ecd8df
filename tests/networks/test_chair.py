"""ChaIR: its two units of channel attention."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mimo_plain
import pytest
import torch
from test_mimo import EXACT, awake, difference
from torch import nn

from undegrade.core.errors import UsageError
from undegrade.networks import chair


@pytest.mark.parametrize("unit", [chair.ChannelFilter, chair.SerialBranches])
@pytest.mark.parametrize("width", [32, 64])
def test_unit_equals_plain_form(unit: type[nn.Module], width: int) -> None:
    module = awake(unit(width)).eval()
    u = torch.randn(2, width, 9, 14, dtype=torch.float64)
    expected = mimo_plain.plain(module)(u)
    assert difference(module(u), expected) < EXACT
    with torch.no_grad():
        assert difference(module(u), expected) < EXACT


@pytest.mark.parametrize("size", [(9, 14), (8, 6), (1, 1)])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_filter_walks_through_maps_that_lie_channels_last(
    size: tuple[int, int], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chair, "_ELEMENTS", 512)  # several strips, of which the last is shorter
    module = awake(chair.ChannelFilter(24)).eval()
    u = torch.randn(batch, 24, *size, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    given = u.clone()
    expected = mimo_plain.plain(module)(u)
    with torch.no_grad():
        v = module(u)
    assert difference(v, expected) < EXACT
    assert v.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(u, given)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_filter_keeps_layout_and_dtype(batch: int) -> None:
    """Of one picture every layout is channels-last in name; the next convolution goes by the stride of the batch."""
    module = awake(chair.ChannelFilter(16)).float().eval()
    u = torch.randn(batch, 16, 8, 6, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        v = module(u)
    assert (v.stride(), v.dtype) == (u.stride(), u.dtype)


def test_units_start_as_the_identity() -> None:
    u = torch.randn(2, 16, 5, 6)
    block = chair.Block(16, attention=True).eval()
    assert torch.equal(block.attention(u), u)


def test_training_on_one_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 2 pictures"):
        chair.SPEC.build(chair.ChairConfig(width=8, blocks=1)).train()(torch.rand(1, 3, 16, 16))


SHARE = """
import os
import sys
import torch
from torch import distributed
from undegrade.networks.chair import ChannelFilter

rank, folder = int(sys.argv[1]), sys.argv[2]
if rank < 2:  # a third one has all of the batch
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
torch.manual_seed(0)
unit = ChannelFilter(8).double().train()
torch.nn.init.normal_(unit.gamma)
x = torch.rand(4, 8, 6, 6, dtype=torch.float64)
x = (x[2 * rank : 2 * rank + 2] if rank < 2 else x).requires_grad_()
unit(x).square().sum().backward()
gradients = {name: value.grad for name, value in unit.named_parameters()}
torch.save([x.grad, gradients, dict(unit.named_buffers())], f"{folder}/{rank}.pt")
if rank < 2:
    distributed.barrier()  # who leaves earlier resets the connections that the other one still reads from
    os._exit(0)
"""


def test_the_filter_of_two_processes_is_that_of_their_joint_batch(tmp_path: Path) -> None:
    words = [sys.executable, "-c", SHARE]
    running = [subprocess.Popen([*words, str(rank), str(tmp_path)]) for rank in range(3)]
    assert [process.wait(200) for process in running] == [0, 0, 0]
    a, b, joint = (torch.load(tmp_path / f"{rank}.pt") for rank in range(3))
    torch.testing.assert_close(torch.cat([a[0], b[0]]), joint[0])
    torch.testing.assert_close({name: a[1][name] + b[1][name] for name in a[1]}, joint[1])
    torch.testing.assert_close(a[2], joint[2])
