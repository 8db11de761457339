"""Which ops compute on bfloat16 or float16 in a step with that precision."""

from __future__ import annotations

from troupe import _troupe
from troupe._troupe import PlanError

LOW = ("bf16", "f16")
_MEANING = {"low": "{0}", "follow": "{0} where all its operands are, else f32", "full": "f32"}


def precision_table(precision: str = "bf16") -> str:
    """A line per op: what it computes on in a step with precision="bf16" or "f16". Sums are made in float32 in any
    case, and rounded once where they are stored. Raises PlanError for another precision."""
    if precision not in LOW:
        raise PlanError(f"precision={precision!r} has no table; {' and '.join(map(repr, LOW))} have")
    rows = _troupe.precisions()
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {_MEANING[kind].format(precision)}" for name, kind in rows)
