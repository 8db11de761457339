"""A compiled plan, to look at."""

from __future__ import annotations

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
        return self._compiled.memory

    @property
    def traffic(self) -> list[tuple[str, str, int, int]]:
        """(collective, axis, how many per step, bytes per step over all devices)."""
        return self._compiled.traffic

    @property
    def predicted_step_s(self) -> float:
        """The step time in seconds that no run of this plan can beat, under the profile."""
        return self._compiled.predicted_step_s

    def save(self, path: str) -> None:
        """Writes the plan to a file; `troupe plan FILE` shows it."""
        self._compiled.save(str(path))

    def __str__(self) -> str:
        return self.summary()
