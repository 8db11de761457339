"""What a launcher is to run, and how long it waits."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Settings:
    """What to run: `command` is what follows the interpreter, `devices` is KIND=COUNT for each worker, `timeout` the
    seconds that the driver may take."""

    workers: int
    devices: str
    timeout: float | None
    command: list[str]

    def as_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @staticmethod
    def of_json(text: str) -> Settings:
        """What `as_json` wrote."""
        return Settings(**json.loads(text))


@dataclass(frozen=True)
class Waits:
    """Seconds until the launcher helps on what does not end by itself."""

    driver_ends: float = 10.0  # after SIGTERM; then SIGKILL
    driver_notices: float = 30.0  # after a worker failed; then SIGTERM
    worker_ends: float = 2.0  # after the driver ended, and again after SIGTERM; then SIGKILL
