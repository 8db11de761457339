"""CUDA devices: what drives them is a library of its own, loaded when they are first asked for."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from troupe import _troupe
from troupe._troupe import FaultError

LIBRARY = "TROUPE_CUDA_LIBRARY"
"""The environment variable that names another library than the package's own."""

CUBLASLT = "TROUPE_CUBLASLT"
"""The environment variable that lists folders, separated by colons, in which that library looks for cuBLASLt first."""


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
    if CUBLASLT not in os.environ and (folders := cublaslt_folders()):
        os.environ[CUBLASLT] = ":".join(folders)
    return _troupe.Backend.load(os.environ.get(LIBRARY, str(own)))


def cublaslt_folders() -> list[str]:
    """Where NVIDIA's packages for Python have cuBLASLt, if they are installed: nvidia-cublas, then nvidia-cublas-cu12."""
    spec = importlib.util.find_spec("nvidia")
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec is not None else []
    folders = [place / folder for folder in ("cu13/lib", "cublas/lib") for place in places]
    return [str(folder) for folder in folders if any(folder.glob("libcublasLt.so.*"))]


def queue_bytes() -> int:
    """Bytes of a device's memory that each of its queues of kernels takes."""
    return backend().queue_bytes


def devices() -> list[CudaDevice]:
    """Those that can be used now; none without a driver. Raises FaultError as `backend` does."""
    return [CudaDevice(*row) for row in backend().devices]


def description() -> str:
    """What was found, or why nothing can be used and what helps."""
    try:
        return backend().description
    except FaultError as fault:
        return str(fault)
