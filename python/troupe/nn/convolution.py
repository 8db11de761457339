"""Layers on images [samples, channels, height, width], with PyTorch's arguments, parameter names and initialisation."""

from __future__ import annotations

import math
from typing import Any

from troupe import functional as F
from troupe._troupe import PlanError
from troupe.convolution import Size, pair_of
from troupe.nn import init
from troupe.nn.module import Module
from troupe.nn.parameter import Parameter
from troupe.tensor import Tensor


class Conv2d(Module):
    """`functional.conv2d` with weight[out, in/groups, kh, kw] and bias[out]. Uniform in ±1/√(in/groups · kh · kw) at
    the start. Raises PlanError for channels that `groups` does not divide."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: str = "f32",
    ):
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise PlanError(
                f"Conv2d: in_channels={in_channels} and out_channels={out_channels} must be multiples of "
                f"groups={groups}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair_of(kernel_size, "Conv2d: kernel_size")
        self.stride, self.padding, self.dilation = stride, padding, dilation
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        fan_in = math.prod(shape[1:])
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
        self.weight = init.uniform_(Parameter.empty(shape, dtype), -bound, bound)
        self.bias: Any = None
        if bias:
            self.bias = init.uniform_(Parameter.empty((out_channels,), dtype), -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, groups={self.groups}, bias={self.bias is not None}"
        )


class MaxPool2d(Module):
    """`functional.max_pool2d` as a module."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1):
        super().__init__()
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation)


class AvgPool2d(Module):
    """`functional.avg_pool2d` as a module."""

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, *, count_include_pad: bool = True
    ):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, count_include_pad=self.count_include_pad
        )


class AdaptiveAvgPool2d(Module):
    """`functional.adaptive_avg_pool2d` as a module."""

    def __init__(self, output_size: Size):
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)


class Flatten(Module):
    """Dims start_dim to end_dim as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start_dim, self.end_dim)
