"""PReLU with one slope, against torch's own."""

import pytest
import torch
from torch.nn import functional as F

from undegrade.networks.layers.prelu import PReLU


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("slope", [0.25, 0.0, -0.5, 1.5])
def test_result_and_gradients_equal_those_of_torch(slope: float, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    layer = PReLU(init=slope, dtype=torch.float64)
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64).contiguous(memory_format=layout)
    x[0, 0, 0] = 0
    x.requires_grad_()
    toward = torch.randn(x.shape, dtype=torch.float64)
    expected = F.prelu(x, layer.weight)
    result = layer(x)
    assert torch.equal(result, expected)
    ours = torch.autograd.grad(result, (x, layer.weight), toward)
    torchs = torch.autograd.grad(expected, (x, layer.weight), toward)
    for one, other in zip(ours, torchs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-13)


def test_half_precision_beside_a_slope_in_single_precision() -> None:
    layer = PReLU()
    with torch.autocast("cpu", torch.bfloat16):
        x = torch.randn(1, 2, 3, 3, dtype=torch.bfloat16, requires_grad=True)
        layer(x).float().sum().backward()
    assert layer.weight.grad is not None
