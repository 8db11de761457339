"""A compiled plan, to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any


class Plan:
    """What a step will do: made before anything runs."""

    def __init__(self, compiled: Any, notes: Sequence[str] = ()):
        self._compiled = compiled
        self.notes = list(notes)

    def summary(self) -> str:
        """Collectives with counts and bytes, peak memory per device by kind, and the predicted step time."""
        return "\n".join([self._compiled.summary.rstrip("\n"), *self.notes])

    def text(self) -> str:
        """The whole plan, a line per task and register."""
        return self._compiled.text

    @property
    def stages(self) -> dict[str, str]:
        """The text of each stage of planning, by its name."""
        return self._compiled.stages

    @property
    def memory(self) -> list[dict[str, int]]:
        """The peak bytes of each device by kind."""
        return self._memory(hosts=False)

    @property
    def host_memory(self) -> list[dict[str, int]]:
        """The same of the host memory beside each device, where something is offloaded."""
        return self._memory(hosts=True)

    def _memory(self, hosts: bool) -> list[dict[str, int]]:
        rows = zip(self._compiled.devices, self._compiled.memory, strict=True)
        return [row for name, row in rows if name.startswith("host:") == hosts]

    @property
    def traffic(self) -> list[tuple[str, str, int, int]]:
        """(collective, axis, how many per step, bytes per step over all devices)."""
        return self._compiled.traffic

    @property
    def predicted_step_s(self) -> float:
        """The step time in seconds that no run of this plan can beat, under the profile."""
        return self._compiled.predicted_step_s

    def as_dict(self) -> dict[str, Any]:
        """What a program would want to know: collectives by kind and axis, memory of the devices that are alike, bytes
        per kind of link, and the certificate. Bytes are per step; those of collectives and links over all devices."""

        def alike(memory: list[dict[str, int]]) -> list[dict[str, int]]:
            counts = Counter(tuple(row.items()) for row in memory)
            return [
                {"devices": count, "peak": sum(size for _, size in row), **dict(row)} for row, count in counts.items()
            ]

        return {
            "collectives": [
                {"kind": kind, "axis": axis, "count": count, "bytes": size}
                for kind, axis, count, size in self.traffic
            ],
            "memory": alike(self.memory),
            "host_memory": alike(self.host_memory),
            "link_bytes": self._compiled.link_bytes,
            "predicted_step_s": self.predicted_step_s,
            "certificate": {
                "bound_by": self._compiled.critical,
                "cycle_s": self._compiled.cycle_s,
                "bubble": self._compiled.bubble,
            },
            "notes": self.notes,
        }

    def save(self, path: str) -> None:
        """Writes the plan to a file; `troupe plan FILE` shows it."""
        self._compiled.save(str(path))

    def __str__(self) -> str:
        return self.summary()
