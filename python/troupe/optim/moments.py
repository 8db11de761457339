"""What Adam and its relatives keep of a gradient."""

from __future__ import annotations

from troupe.optim.optimizer import Update
from troupe.tensor import Tensor
from troupe.trace import record


def record_with_moments(update: Update, op: str, *operands: Tensor, **attributes: int) -> Tensor:
    """The first output of an op that reads the moving means m and v of the gradient and its square behind `operands`,
    and gives their next versions behind that output, with the numbers of the group's options."""
    beta1, beta2 = update.options["betas"]
    m, v = update.state("m"), update.state("v")
    output, next_m, next_v = record(
        op,
        *operands,
        m,
        v,
        beta1=float(beta1),
        beta2=float(beta2),
        eps=float(update.options["eps"]),
        weight_decay=float(update.options["weight_decay"]),
        **attributes,
    )
    update.assign(m, next_m)
    update.assign(v, next_v)
    return output
