"""Which ops compute on bfloat16 in a step with precision="bf16"."""

from __future__ import annotations

from troupe import _troupe

_MEANING = {"low": "bf16", "follow": "bf16 where all its operands are, else f32", "full": "f32"}


def precision_table() -> str:
    """A line per op: what it computes on in a step with precision="bf16". Sums are made in float32 in any case, and
    rounded once where they are stored."""
    rows = _troupe.precisions()
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {_MEANING[kind]}" for name, kind in rows)
