"""Learning-rate schedules: functions from the step to a rate, recorded in the graph.

A schedule is any callable that takes `step`, a float32 scalar tensor with the number of updates made so far (0 at the
first), and returns a scalar tensor. Those here return such a callable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from troupe import functional as F
from troupe.trace import record

if TYPE_CHECKING:
    from troupe.tensor import Tensor

Schedule = Callable[["Tensor"], "Tensor"]


def _scalar(value: float) -> Tensor:
    return record("fill", value=float(value), shape=[], dtype="f32")


def _warmed_up(rate: Tensor, step: Tensor, lr: float, warmup: int) -> Tensor:
    if warmup <= 0:
        return rate
    rising = (step + 1.0) * (lr / warmup)
    return F.where(step < float(warmup), rising, rate)


def constant(lr: float, warmup: int = 0) -> Schedule:
    """`lr`, after rising to it in a straight line over `warmup` steps."""
    return lambda step: _warmed_up(_scalar(lr), step, lr, warmup)


def linear(lr: float, warmup: int, total: int, min: float = 0.0) -> Schedule:
    """Rises to `lr` over `warmup` steps, then falls in a straight line to `min` at step `total`."""

    def rate(step: Tensor) -> Tensor:
        progress = ((step - float(warmup)) * (1 / max(total - warmup, 1))).clamp(0.0, 1.0)
        return _warmed_up(lr - progress * (lr - min), step, lr, warmup)

    return rate


def cosine(lr: float, warmup: int, total: int, min: float = 0.0) -> Schedule:
    """Rises to `lr` over `warmup` steps, then falls along half a cosine to `min` at step `total`."""

    def rate(step: Tensor) -> Tensor:
        progress = ((step - float(warmup)) * (1 / max(total - warmup, 1))).clamp(0.0, 1.0)
        falling = ((progress * math.pi).cos() + 1.0) * (0.5 * (lr - min)) + min
        return _warmed_up(falling, step, lr, warmup)

    return rate
