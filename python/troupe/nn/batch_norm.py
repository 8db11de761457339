"""Batch norm, with PyTorch's arguments, parameter names and initialisation."""

from __future__ import annotations

from typing import Any

from troupe import functional as F
from troupe._troupe import PlanError
from troupe.buffers import update_buffer
from troupe.nn import init
from troupe.nn.module import Module
from troupe.nn.parameter import Parameter
from troupe.operators import type_text
from troupe.tensor import Tensor
from troupe.trace import line_text, record, require


class _BatchNorm(Module):
    """`functional.batch_norm` with weight[c] and bias[c], and with the buffers running_mean[c], running_var[c] and
    num_batches_tracked, the number of steps that changed them.

    Statistics are those of a piece in training and the running ones in evaluation; without track_running_stats always
    those of a piece. A step changes the running ones once: by `momentum`, or, where it is None, to the mean over all
    steps. In a step of several pieces (batch_shards times pieces_per_shard) PyTorch, run piece by piece, would change
    them several times; the mean over pieces has the same bits on any number of data-parallel devices. Only a training
    step changes them, not a call of the module on arrays; one that is skipped changes nothing.
    """

    ranks: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: str = "f32",
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight: Any = init.ones_(Parameter.empty((num_features,), dtype)) if affine else None
        self.bias: Any = init.zeros_(Parameter.empty((num_features,), dtype)) if affine else None
        tracked = track_running_stats
        mean, var = (Parameter.empty((num_features,), dtype, requires_grad=False) for _ in range(2))
        self.register_buffer("running_mean", mean if tracked else None)
        self.register_buffer("running_var", init.ones_(var) if tracked else None)
        count = Parameter.empty((), "i64", requires_grad=False)
        self.register_buffer("num_batches_tracked", count if tracked else None)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self.ranks or x.shape[1] != self.num_features:
            ranks = " or ".join(str(rank) for rank in self.ranks)
            raise PlanError(
                f"{type(self).__name__}: x is {type_text(x)}, but must have {ranks} dims, of which dim 1 is the "
                f"{self.num_features} channels {line_text()}"
            )
        if not (self.training or not self.track_running_stats):
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if self.track_running_stats:
            update_buffer(require("batch_norm"), self.num_batches_tracked, None, lambda old, _: self._counted(old))
        momentum = self.momentum if self.momentum is not None else self._share
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, True, momentum, self.eps
        )

    @staticmethod
    def _counted(steps: Tensor) -> Tensor:
        return steps + record("fill", value=1, shape=[], dtype="i64")

    def _share(self) -> Tensor:
        """This step's part of a mean over all steps."""
        steps = require("batch_norm").parameter(self.num_batches_tracked)
        return 1.0 / self._counted(steps).to(self.running_mean.dtype)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__
    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__
    ranks = (4,)
