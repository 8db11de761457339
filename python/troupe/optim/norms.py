"""Sums over whole tensors whose bits do not depend on how the tensor is split."""

from __future__ import annotations

from troupe.tensor import Tensor
from troupe.trace import record


def sum_of_squares(x: Tensor) -> Tensor:
    """Of all elements: whole rows first, then rows along a fixed tree."""
    return record("tree_sum", record("row_sum_squares", x))
