"""How a tensor lies along one axis of a mesh: split on a dim, broadcast, or partial sums."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sbp:
    """`S(dim)`, `B` or `P`; prints as it is written."""

    text: str

    def __repr__(self) -> str:
        return self.text

    @property
    def dim(self) -> int | None:
        """The dim that is split; None for B and P."""
        return int(self.text[2:-1]) if self.text.startswith("S(") else None


def S(dim: int) -> Sbp:
    """Split on tensor dim `dim`: device i of the axis holds the i-th balanced part."""
    if dim < 0:
        raise ValueError(f"S({dim}): name the dim by its position from the front")
    return Sbp(f"S({dim})")


B = Sbp("B")
"""Broadcast: every device of the axis holds the whole tensor."""

P = Sbp("P")
"""Partial: every device of the axis holds a tensor of the whole shape; their sum is the value."""
