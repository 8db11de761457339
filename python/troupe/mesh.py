"""Device meshes with named axes."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass

from troupe._troupe import PlanError

_UNITS = {
    "": 1,
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}


@dataclass(frozen=True)
class Mesh:
    """An N-dimensional array of devices; `axes` in order, outermost first."""

    kind: str
    axes: tuple[tuple[str, int], ...]
    memory: int = 0

    @property
    def size(self) -> int:
        """The number of devices."""
        return math.prod(size for _, size in self.axes)

    @property
    def devices(self) -> list[str]:
        """The devices' names in row-major order: "cpu:0", "cpu:1", ..."""
        return [f"{self.kind}:{i}" for i in range(self.size)]

    def axis_size(self, axis: str) -> int:
        """The size of an axis; 1 for an axis the mesh does not have."""
        return dict(self.axes).get(axis, 1)

    def has_axis(self, axis: str) -> bool:
        """True when the mesh has an axis of this name."""
        return any(name == axis for name, _ in self.axes)

    def __str__(self) -> str:
        axes = ", ".join(f"{name}={size}" for name, size in self.axes)
        return f"mesh {self.kind} {axes}" if axes else f"mesh {self.kind}, one device"


def cuda_devices() -> int:
    """How many CUDA devices the machine's driver shows."""
    try:
        return len(os.listdir("/proc/driver/nvidia/gpus"))
    except OSError:
        return 0


def memory_bytes(memory: str | int) -> int:
    """Bytes from a number or a text such as "2GiB" or "500MB". Raises PlanError for anything else."""
    if isinstance(memory, int) and memory >= 0:
        return memory
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", str(memory))
    if match is None or match.group(2) not in _UNITS:
        raise PlanError(
            f"memory={memory!r} is no size; write a number of bytes or, for example, '2GiB' or '500MB'"
        )
    return int(float(match.group(1)) * _UNITS[match.group(2)])


def mesh(kind: str = "cpu", *, memory: str | int = 0, **axes: int) -> Mesh:
    """A mesh of `kind` devices ("cpu" or "cuda") with the named axes, outermost first.

    `mesh("cpu", dp=2, tp=2, memory="2GiB")` is four devices of 2 GiB each; without `memory` nothing is limited. A
    `cpu` device is one sequential executor with its own memory, so a mesh may have more of them than there are cores.
    Raises PlanError for a size below 1, an unknown kind, or more CUDA devices than there are.
    """
    for name, size in axes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise PlanError(f"mesh axis '{name}' has size {size!r}; a size is a whole number of at least 1")
    result = Mesh(kind, tuple(axes.items()), memory_bytes(memory))
    if kind == "cuda":
        found = cuda_devices()
        if result.size > found:
            raise PlanError(
                f"{result} needs {result.size} CUDA devices, but {found} were found; "
                f"a mesh of 'cpu' devices can have any size"
            )
        raise PlanError(
            f"{result}: {found} CUDA devices were found, but this build has no CUDA kernels; "
            f"use a mesh of 'cpu' devices"
        )
    if kind != "cpu":
        raise PlanError(f"there are no devices of kind {kind!r}; the kinds are 'cpu' and 'cuda'")
    return result


def parse_mesh(text: str, kind: str = "cpu", memory: str | int = 0) -> Mesh:
    """A mesh from a command line's text such as "dp=2,tp=2"; "" is one device. Raises PlanError when it cannot be."""
    return mesh(kind, memory=memory, **parse_axes(text))


def parse_axes(text: str) -> dict[str, int]:
    """Names and sizes from "dp=2,tp=2". Raises PlanError for any other form."""
    axes: dict[str, int] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, size = part.partition("=")
        if not name.isidentifier() or not size.isdigit() or int(size) == 0 or name in axes:
            raise PlanError(f"mesh {text!r}: {part!r} is no axis; write for example dp=2,tp=2")
        axes[name] = int(size)
    return axes
