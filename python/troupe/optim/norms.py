"""Sums over whole tensors whose bits do not depend on how data axes split the tensor."""

from __future__ import annotations

from troupe.tensor import Tensor
from troupe.trace import record


def sum_of_squares(x: Tensor, in_parts: bool) -> Tensor:
    """Of all elements: whole rows first, then rows along a fixed tree. A tensor of three dims is a list of matrices,
    each with its rows, so that of experts too no split but one within rows moves more than a number per row.
    `in_parts`: devices along axes without data add what they hold of x, which rounds otherwise on another number of
    them but gathers nothing."""
    return record("tree_sum", record("row_sum_squares", x), in_parts=int(in_parts))
