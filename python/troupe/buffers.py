"""Buffers that a model changes while it trains, such as running statistics: once per step, by the update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from troupe.tensor import Tensor
from troupe.trace import Trace, record

if TYPE_CHECKING:
    from troupe.nn.parameter import Parameter

Next = Callable[[Tensor, "Tensor | None"], Tensor]
"""(the value before, the mean over the step's pieces of what was seen) -> the value after; recorded in the update."""


@dataclass(frozen=True)
class BufferUpdate:
    """What a forward pass says about a buffer: `seen` is the sum, over the pieces of a round, of one value per
    piece."""

    buffer: Parameter
    seen: Tensor | None
    next: Next


def update_buffer(trace: Trace, buffer: Parameter, seen: Tensor | None, next: Next) -> None:
    """In a training step, `buffer` becomes next(buffer, mean of `seen`); calls in one forward pass follow one another.
    Where no step is trained, nothing changes."""
    trace.parameter(buffer)  # it lies where the module that speaks of it does
    trace.buffer_updates.append(BufferUpdate(buffer, seen, next))


def record_buffers(trace: Trace, pieces: int, ok: Tensor) -> None:
    """Records the next versions in the update of a step of `pieces` pieces. Where `ok` is 0 nothing changes."""
    names = {id(update.buffer): trace.name_of(update.buffer) for update in trace.buffer_updates}
    latest: dict[str, Tensor] = {}
    for update in trace.buffer_updates:
        name = names[id(update.buffer)]
        with trace.within(f"buffers.{name}"):
            mean = update.seen * (1 / pieces) if update.seen is not None else None
            latest[name] = update.next(latest.get(name, trace.parameters[name]), mean)
    for name, value in latest.items():
        with trace.within(f"buffers.{name}"):
            before = trace.parameters[name]
            kept = record("where", record("less", ok, record("fill", value=0.5, shape=[], dtype=ok.dtype)), before, value)
        trace.graph.assign(before.id, kept.id)
