"""CUDA devices: what drives them is a library of its own, loaded when they are first asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from troupe import _troupe
from troupe._troupe import FaultError

LIBRARY = "TROUPE_CUDA_LIBRARY"
"""The environment variable that names another library than the package's own."""


@dataclass(frozen=True)
class CudaDevice:
    """A device that can be used: its name, its memory and what of that is free, in bytes."""

    name: str
    memory: int
    free: int


@cache
def backend() -> Any:
    """The library. Raises FaultError where this package was built without it, or it cannot be loaded."""
    own = Path(_troupe.__file__).parent / "libtroupe_cuda.so"
    return _troupe.Backend.load(os.environ.get(LIBRARY, str(own)))


def devices() -> list[CudaDevice]:
    """Those that can be used now; none without a driver. Raises FaultError as `backend` does."""
    return [CudaDevice(*row) for row in backend().devices]


def description() -> str:
    """What was found, or why nothing can be used and what helps."""
    try:
        return backend().description
    except FaultError as fault:
        return str(fault)
