"""What a launcher is to run, and how long it waits."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Host:
    """A host that has one worker, and how ssh gets there; None leaves that to ssh's own configuration, or to Slurm."""

    name: str
    devices: str  # KIND=COUNT
    user: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class Settings:
    """What to run: `command` is what follows the interpreter, `timeout` the seconds that the driver may take.

    Either so many workers on this host with `devices`, KIND=COUNT, each, or one on each of `hosts`, where the command
    `ssh` starts the interpreter `python`, or srun does: with `slurm`, when the hosts are the nodes of the allocation in
    their order. `listen` is what the driver finds as TROUPE_LISTEN, `tls` the descriptor of a file in memory with the
    certificate and key for encrypted connections.
    """

    workers: int
    devices: str
    timeout: float | None
    command: list[str]
    hosts: list[Host] = field(default_factory=list)
    ssh: list[str] = field(default_factory=lambda: ["ssh"])
    python: str = sys.executable
    listen: str | None = None
    slurm: bool = False
    tls: int | None = None

    def as_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @staticmethod
    def of_json(text: str) -> Settings:
        """What `as_json` wrote."""
        values = json.loads(text)
        values["hosts"] = [Host(**host) for host in values["hosts"]]
        return Settings(**values)


@dataclass(frozen=True)
class Waits:
    """Seconds until the launcher helps on what does not end by itself."""

    worker_starts: float = 30.0  # on another host; then the driver gets SIGTERM
    driver_ends: float = 10.0  # after SIGTERM; then SIGKILL
    driver_notices: float = 30.0  # after a worker failed; then SIGTERM
    worker_ends: float = 2.0  # after the driver ended, and again after SIGTERM; then SIGKILL
