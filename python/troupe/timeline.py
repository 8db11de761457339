"""A timeline of some training steps over all processes, in Chrome's JSON format, which Perfetto opens.

Processes are the driver and the workers; a process has a track for each stream of its devices, with the firings of its
actors ("X" events) and, before a firing, what its stream waited for. Counters ("C") are the bytes that are live on each
device, without variables and what is read ahead, and what each device has received from each other since the first
traced step.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import troupe
from troupe import _troupe
from troupe._troupe import FaultError
from troupe.session import LoadedPlan
from troupe.status import status

_DRIVER = 1  # the driver's number among the file's processes; the workers' follow
_STEPS = 1  # of the driver's own track; the streams' follow

Event = dict[str, Any]


class Timeline:
    """Records steps of one plan and writes them to a file when the last has been made, or `end` is called.

    A file that cannot be written is no reason to end a training: the FaultError is kept as `failure`.
    """

    def __init__(self, path: str | os.PathLike[str], steps: range):
        self.failure: FaultError | None = None
        self._path = os.path.abspath(os.fspath(path))
        self._steps = steps
        self._plan: LoadedPlan | None = None
        self._made: list[tuple[int, float, float]] = []  # step, begin, end
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
        except OSError as error:
            raise FaultError(f"timeline '{self._path}' cannot be written: {error}") from error

    def before(self, plan: LoadedPlan, step: int) -> None:
        """A step of this plan is about to begin."""
        if self._plan is not None and self._plan is not plan:
            self.end()
        elif self._plan is None and step in self._steps:
            self._plan = plan
            plan.session.cluster.observe(
                plan.handle, live_bytes=True, trace_from=step, trace_steps=self._steps.stop - step
            )

    def after(self, step: int, seconds: float) -> None:
        """It has ended, after so long."""
        if self._plan is None or step not in self._steps:
            return
        now = time.monotonic()
        self._made.append((step, now - seconds, now))
        if step + 1 == self._steps.stop:
            self.end()

    def end(self) -> None:
        """Writes what there is, if there is any."""
        if self._plan is None:
            return
        plan, self._plan = self._plan, None
        self._steps = range(0)
        cluster = plan.session.cluster
        seen, workers = cluster.timeline(plan.handle), cluster.workers()
        cluster.observe(plan.handle)
        about = {
            "troupe": troupe.__version__,
            "steps": [step for step, _, _ in self._made],
            "peak_bytes": {name: peak for (name, _), peak in zip(seen["devices"], seen["peak_bytes"], strict=True)},
        }
        status.set(peaks=about["peak_bytes"])
        events = [*_names(seen, workers), *_in_order([*_slices(seen, self._made), *_counters(seen)])]
        listed = ",\n".join(json.dumps(event) for event in events)
        text = f'{{"traceEvents": [\n{listed}\n], "displayTimeUnit": "ms", "otherData": {json.dumps(about)}}}\n'
        try:
            _troupe.replace_text("timeline", self._path, text)
        except FaultError as error:
            self.failure = error


def _process_of(seen: Any, device: int) -> int:
    """The number that a device's process has in the file; where there are no workers, all are the driver's."""
    return _DRIVER + 1 + seen["devices"][device][1]


def _names(seen: Any, workers: Any) -> Iterator[Event]:
    """What processes and tracks are called, and their order."""
    names = {_DRIVER: f"driver ({socket.gethostname()}, process {os.getpid()})"}
    for index, (host, process, *_) in enumerate(workers):
        names[_DRIVER + 1 + index] = f"worker {index} ({host}, process {process})"
    for process, name in names.items():
        yield {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": name}}
        yield {"ph": "M", "name": "process_sort_index", "pid": process, "tid": 0, "args": {"sort_index": process}}
    tracks = [(_DRIVER, "steps")]
    tracks += [(_process_of(seen, device), stream) for stream, device in seen["streams"]]
    for track, (process, name) in enumerate(tracks, _STEPS):
        yield {"ph": "M", "name": "thread_name", "pid": process, "tid": track, "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": process, "tid": track, "args": {"sort_index": track}}


def _slices(seen: Any, made: list[tuple[int, float, float]]) -> Iterator[Event]:
    """The driver's steps, firings and waits; times in seconds of the driver's clock."""
    for step, begin, end in made:
        yield _slice("step", f"step {step}", _DRIVER, _STEPS, begin, end, {"step": step})
    for task, step, turn, begin, end, wait, *_ in seen["firings"]:
        name, kernel, stream, received = seen["tasks"][task]
        process, track = _process_of(seen, seen["streams"][stream][1]), _STEPS + 1 + stream
        if wait is not None:
            what, since, until = wait
            yield _slice("wait", f"waits for {what}", process, track, since, until, {"step": step, "task": name})
        args = {"step": step, "round": turn, "kernel": kernel}
        args |= {f"bytes from {seen['devices'][device][0]}": size for device, size in received.items()}
        yield _slice("transfer" if received else "firing", name, process, track, begin, end, args)


def _slice(
    category: str, name: str, process: int, track: int, begin: float, end: float, args: dict[str, Any]
) -> Event:
    """With its end for a duration until `_in_order`."""
    place = {"pid": process, "tid": track, "ts": begin, "dur": end}
    return {"ph": "X", "cat": category, "name": name, **place, "args": args}


def _counters(seen: Any) -> Iterator[Event]:
    """Bytes that are live on devices, where they change, and that they have received from one another."""
    total: Counter[tuple[int, int]] = Counter()
    shown: dict[int, int] = {}
    for task, _, _, begin, end, _, most, after in sorted(seen["firings"], key=lambda firing: firing[4]):
        _, _, stream, received = seen["tasks"][task]
        device = seen["streams"][stream][1]
        name, process = seen["devices"][device][0], _process_of(seen, device)
        for at, live in ((begin, most), (end, after)):
            if shown.get(device) != live:
                shown[device] = live
                yield _counter(f"{name} live", process, at, live)
        for source, size in received.items():
            total[source, device] += size
            yield _counter(f"{name} from {seen['devices'][source][0]}", process, end, total[source, device])


def _counter(name: str, process: int, at: float, size: int) -> Event:
    return {"ph": "C", "name": name, "pid": process, "ts": at, "args": {"bytes": size}}


def _in_order(events: list[Event]) -> list[Event]:
    """By time, in microseconds since the first. Both ends of a slice are rounded to nanoseconds alike, so that what
    does not overlap still does not."""
    events.sort(key=lambda event: event["ts"])
    first = events[0]["ts"] if events else 0.0
    for event in events:
        begin = round((event["ts"] - first) * 1e9)
        event["ts"] = begin / 1e3
        if "dur" in event:
            event["dur"] = (round((event["dur"] - first) * 1e9) - begin) / 1e3
    return events
