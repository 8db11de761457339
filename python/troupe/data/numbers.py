"""Numbers that say how data is cut into batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from troupe._troupe import PlanError


def whole(name: str, value: Any, least: int, bits: int) -> int:
    """A whole number, Python's or NumPy's, of at least `least` and below 2**bits; `name` says whose it is. Raises
    PlanError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value < 2**bits:
        raise PlanError(f"{name}={value!r} must be a whole number from {least} to 2**{bits} - 1")
    return int(value)
