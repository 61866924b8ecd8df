from __future__ import annotations

import torch
from torch import Tensor

from undegrade.inference.ensemble import ensemble8


def test_every_symmetry_is_run_once_and_turned_back() -> None:
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    seen: list[Tensor] = []

    def run(form: Tensor) -> Tensor:
        seen.append(form)
        return form.repeat_interleave(2, -1).repeat_interleave(2, -2)

    y = ensemble8(run, x)
    assert torch.allclose(y, x.repeat_interleave(2, -1).repeat_interleave(2, -2), rtol=0, atol=1e-15)
    forms = {tuple(form.shape[-2:]) + tuple(form.flatten().tolist()) for form in seen}
    assert len(seen) == len(forms) == 8
    assert torch.equal(seen[1], x.flip(-1))
    assert torch.equal(seen[6], x.flip(-2).transpose(-2, -1))


def test_the_result_has_the_symmetry_that_the_network_lacks() -> None:
    weight = torch.randn(1, 1, 3, 3, dtype=torch.float64)

    def run(form: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(form, weight, padding=1)

    x = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    assert torch.allclose(ensemble8(run, x.flip(-1)), ensemble8(run, x).flip(-1), rtol=0, atol=1e-14)
    assert torch.allclose(ensemble8(run, x.mT), ensemble8(run, x).mT, rtol=0, atol=1e-14)
