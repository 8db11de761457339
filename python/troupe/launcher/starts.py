"""The commands that start a run's workers, on this host and on others."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from .settings import Host, Settings

# ssh asks nothing, gives up a host that does not answer, notices one that is gone, and shares its connection with no
# other, which would live on without us. What the user's own command says comes first, and holds.
_SSH_OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3") + (
    "ControlMaster=no",
    "ControlPath=none",
)


@dataclass(frozen=True)
class Start:
    """How a worker is started. One on another host reads the token from its stdin, which is then kept open; it says
    when it has begun; and its command's exit status is the worker's, 128 + the signal, or ssh's own 255."""

    name: str
    command: list[str]
    remote: bool = False


def starts(settings: Settings, worker: Sequence[str], address: str) -> list[Start]:
    """One for each worker; `worker` is what follows the interpreter, `address` where the driver listens."""
    worker = [*worker, "--join", address]
    if settings.hosts:
        return [_over_ssh(settings, worker, host) for host in settings.hosts]
    here = [sys.executable, *worker, "--devices", settings.devices]
    return [Start(f"worker {number}", here) for number in range(settings.workers)]


def _over_ssh(settings: Settings, worker: Sequence[str], host: Host) -> Start:
    options = [word for option in _SSH_OPTIONS for word in ("-o", option)]
    if host.port is not None:
        options += ["-p", str(host.port)]
    if host.user is not None:
        options += ["-l", host.user]
    there = [settings.python, *worker, "--devices", host.devices, "--host", host.name, "--token-stdin"]
    line = f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(there)}"
    return Start(host.name, [*settings.ssh, "-T", *options, "--", host.name, line], remote=True)
