"""Device meshes with named axes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from troupe import cuda
from troupe._troupe import FaultError, PlanError

_FOR_PLANS = 0.97  # of a CUDA device's free memory; the code and the stacks of kernels take some
_QUEUES = 2  # of a mesh's device: it computes in one, and copies to and from host memory in another

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
    shared: int = 1
    """So many of the mesh's devices lie side by side on one CUDA device."""

    @property
    def size(self) -> int:
        """The number of devices."""
        return math.prod(size for _, size in self.axes)

    @property
    def devices(self) -> list[str]:
        """The devices' names in row-major order: "cpu:0", "cpu:1", ...; "cuda:0.1" is the second on CUDA device 0."""
        if self.shared > 1:
            return [f"{self.kind}:{i // self.shared}.{i % self.shared}" for i in range(self.size)]
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


def mesh(kind: str = "cpu", *, memory: str | int = 0, devices: int | None = None, **axes: int) -> Mesh:
    """A mesh of `kind` devices ("cpu" or "cuda") with the named axes, outermost first.

    `mesh("cpu", dp=2, tp=2, memory="2GiB")` is four devices of 2 GiB each; without `memory` nothing is limited. A
    `cpu` device is one sequential executor with its own memory, so a mesh may have more of them than there are cores.
    A "cuda" mesh has as many devices as it needs CUDA devices, each limited to the memory that is free on its own, unless
    `devices` says on how many it lies: `mesh("cuda", dp=4, devices=1)` shares one among four, to try a plan out.
    Raises PlanError for a size below 1, an unknown kind, or more CUDA devices than there are, with what was found.
    """
    for name, size in axes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise PlanError(f"mesh axis '{name}' has size {size!r}; a size is a whole number of at least 1")
    result = Mesh(kind, tuple(axes.items()), memory_bytes(memory))
    if kind == "cuda":
        return _on_cuda(result, devices)
    if kind != "cpu":
        raise PlanError(f"there are no devices of kind {kind!r}; the kinds are 'cpu' and 'cuda'")
    if devices is not None:
        raise PlanError(f"{result}: devices={devices!r} is for a mesh of 'cuda' devices; 'cpu' devices need none")
    return result


def _on_cuda(wanted: Mesh, devices: int | None) -> Mesh:
    """The mesh on so many CUDA devices, as many as it has by default."""
    used = wanted.size if devices is None else devices
    if not isinstance(used, int) or isinstance(used, bool) or used < 1 or wanted.size % used != 0:
        raise PlanError(f"{wanted} cannot lie on devices={used!r}; it has {wanted.size}, an equal number for each")
    needs = f"{wanted} needs {used} CUDA device{'' if used == 1 else 's'}"
    try:
        found = cuda.devices()
    except FaultError as fault:
        raise PlanError(f"{needs}: {fault}") from None
    if used > len(found):
        raise PlanError(
            f"{needs}, but {len(found)} were found ({cuda.description()}); a mesh of 'cpu' "
            f"devices can have any size" + (f", and devices={len(found)} lets its devices share those" if found else "")
        )
    shared = wanted.size // used
    of_queues = _QUEUES * cuda.queue_bytes()
    free = int(min(device.free for device in found[:used]) * _FOR_PLANS) // shared - of_queues
    if free <= 0 and not wanted.memory:
        mib = of_queues * shared / 2**20
        raise PlanError(f"{needs} with memory for its queues, {mib:.1f} MiB: {cuda.description()}")
    return replace(wanted, memory=wanted.memory or free, shared=shared)


def parse_mesh(text: str) -> Mesh:
    """A mesh from a command line's text such as "dp=2,tp=2" or "cuda:dp=2"; "" and "cuda" are one device. Raises
    PlanError when it cannot be."""
    kind, _, axes = text.partition(":") if text == "cuda" or text.startswith("cuda:") else ("cpu", "", text)
    return mesh(kind, **parse_axes(axes))


def parse_axes(text: str) -> dict[str, int]:
    """Names and sizes from "dp=2,tp=2". Raises PlanError for any other form."""
    axes: dict[str, int] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, size = part.partition("=")
        if not name.isidentifier() or not size.isdigit() or int(size) == 0 or name in axes:
            raise PlanError(f"mesh {text!r}: {part!r} is no axis; write for example dp=2,tp=2")
        axes[name] = int(size)
    return axes
