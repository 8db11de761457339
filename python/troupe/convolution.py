"""Functions on images [samples, channels, height, width], with PyTorch's names, arguments and meaning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from troupe._troupe import PlanError
from troupe.buffers import update_buffer
from troupe.operators import type_text
from troupe.tensor import Tensor
from troupe.trace import line_text, record, require

if TYPE_CHECKING:
    from troupe.nn.parameter import Parameter

Size = int | Sequence[int]
"""One number for height and width, or one for each."""


def pair_of(size: Size, what: str) -> list[int]:
    """[along the height, along the width]. Raises PlanError for other than one or two integers."""
    values = [size, size] if isinstance(size, int) else list(size) if isinstance(size, Sequence) else []
    if len(values) != 2 or not all(isinstance(value, int) for value in values):
        raise PlanError(f"{what} is {size!r}; it is an integer, or two: along the height and the width {line_text()}")
    return values


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0, dilation: Size = 1, groups: int = 1
) -> Tensor:
    """x[n, in, h, w] convolved with weight[out, in/groups, kh, kw], plus bias[out].

    groups: the channels of x and of the result are cut into so many groups, and each sees its own alone (groups=in:
    a depthwise convolution). Raises PlanError when channels cannot be cut so, or the kernel does not fit on the image.
    """
    if groups < 1 or (x.ndim == 4 and weight.ndim == 4 and weight.shape[1] * groups != x.shape[1]):
        raise PlanError(
            f"conv2d: x is {type_text(x)}, the weight {type_text(weight)} and groups={groups}; the weight's dim 1 "
            f"times groups must be the channels of x {line_text()}"
        )
    operands = (x, weight) if bias is None else (x, weight, bias)
    return record(
        "conv2d",
        *operands,
        stride=pair_of(stride, "conv2d: stride"),
        padding=pair_of(padding, "conv2d: padding"),
        dilation=pair_of(dilation, "conv2d: dilation"),
    )


def max_pool2d(
    x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1
) -> Tensor:
    """The largest element of each window; windows are one kernel apart unless `stride` says otherwise."""
    return record(
        "max_pool2d",
        x,
        kernel=pair_of(kernel_size, "max_pool2d: kernel_size"),
        stride=pair_of(kernel_size if stride is None else stride, "max_pool2d: stride"),
        padding=pair_of(padding, "max_pool2d: padding"),
        dilation=pair_of(dilation, "max_pool2d: dilation"),
    )


def avg_pool2d(
    x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, *, count_include_pad: bool = True
) -> Tensor:
    """The mean of each window; padding counts as zeros, or not at all without `count_include_pad`."""
    return record(
        "avg_pool2d",
        x,
        kernel=pair_of(kernel_size, "avg_pool2d: kernel_size"),
        stride=pair_of(kernel_size if stride is None else stride, "avg_pool2d: stride"),
        padding=pair_of(padding, "avg_pool2d: padding"),
        count_padding=int(count_include_pad),
    )


def adaptive_avg_pool2d(x: Any, output_size: Size) -> Tensor:
    """Means over windows that share the image out, so that the result is `output_size` large."""
    return record("adaptive_avg_pool2d", x, output_size=pair_of(output_size, "adaptive_avg_pool2d: output_size"))


def batch_norm(
    x: Any,
    running_mean: Parameter | None,
    running_var: Parameter | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float | Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Channels (dim 1) of x[n, c, ..] at mean 0 and variance 1 over all other dims, times weight[c], plus bias[c].

    In training the statistics are those of each piece (micro-batch), also where its samples lie on several devices;
    else the running ones, which a training step takes on by the fraction `momentum` of the mean, over the step's
    pieces, of their means and unbiased variances. In a step of one piece that is what PyTorch does; one with several
    pieces counts as a single batch, where PyTorch counts each. momentum may be a function that records the fraction in
    the update. Raises PlanError for a single number per channel, which has no variance.
    """
    if x.ndim < 2:
        raise PlanError(f"batch_norm: x is {type_text(x)}, but must be [samples, channels, ..] {line_text()}")
    channels = x.shape[1]
    scale = record("fill", value=1.0, shape=[channels], dtype=x.dtype) if weight is None else weight
    shift = record("fill", value=0.0, shape=[channels], dtype=x.dtype) if bias is None else bias
    if not training:
        if running_mean is None or running_var is None:
            raise PlanError(f"batch_norm: without training, running statistics are needed {line_text()}")
        return _normalised(x, running_mean, running_var, scale, shift, eps)
    trace = require("batch_norm")
    samples, left = divmod(x.shape[0], trace.pieces_per_round)
    count = samples * math.prod(x.shape[2:])
    if left or count < 2:
        raise PlanError(
            f"batch_norm: x is {type_text(x)} in {trace.pieces_per_round} pieces, but every piece must have equally "
            f"many samples and more than one number per channel {line_text()}"
        )
    y, mean, rstd = record("batch_norm", x, scale, shift, eps=float(eps), samples=samples)

    def blend(old: Tensor, new: Tensor | None) -> Tensor:
        assert new is not None
        return old + (new - old) * (momentum() if callable(momentum) else momentum)

    if running_mean is not None:
        update_buffer(trace, running_mean, mean.sum(0), blend)
    if running_var is not None:
        variance = (rstd**-2 - eps).clamp(min=0) * (count / (count - 1))
        update_buffer(trace, running_var, variance.sum(0), blend)
    return y


def _normalised(x: Any, mean: Any, variance: Any, scale: Any, shift: Any, eps: float) -> Tensor:
    factor = scale * (variance + eps).rsqrt()
    along = [x.shape[1]] + [1] * (x.ndim - 2)
    return x * factor.reshape(along) + (shift - mean * factor).reshape(along)
