"""PReLU against torch's own, with gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from undegrade.networks.layers.prelu import PReLU


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("slope", [0.25, -0.5, 0.0])
def test_equals_torch(layout: torch.memory_format, slope: float) -> None:
    torch.manual_seed(0)
    activate = PReLU().double()
    activate.weight.data.fill_(slope)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    weights = torch.randn(x.shape, dtype=torch.float64)
    forms = activate(x), F.prelu(x, activate.weight)
    ours, plain = (torch.autograd.grad(y, [x, activate.weight], weights) for y in forms)
    assert torch.equal(*forms)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


def test_lower_precision_and_inference_are_torch_s() -> None:
    activate, x = PReLU(), torch.randn(2, 3, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        y = activate(x.bfloat16())
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert activate.weight.grad is not None
    with torch.no_grad():
        assert torch.equal(activate(x), F.prelu(x, activate.weight))
