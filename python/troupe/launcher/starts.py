"""The commands that start a run's workers, on this host, and by ssh or srun on others."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from .memory import tls_options
from .settings import Host, Settings

# ssh asks nothing, gives up a host that does not answer, notices one that is gone, and shares its connection with no
# other, which would live on without us. What the user's own command says comes first, and holds.
_SSH_OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3") + (
    "ControlMaster=no",
    "ControlPath=none",
)


# One task on each node, which has all that the job has there; the steps of the job that run already may use it too. A
# run needs all of its workers: when one fails, srun ends the others.
_SRUN_OPTIONS = ("--ntasks-per-node=1", "--distribution=block", "--cpu-bind=none", "--mpi=none", "--overlap") + (
    "--label",
    "--kill-on-bad-exit=1",
)


@dataclass(frozen=True)
class Start:
    """How a worker is started, or with srun all of them.

    Those on other `hosts` read the secrets of the run from the command's stdin, which is then kept open; each says when
    it has begun. ssh's exit status is the worker's, 128 + the signal, or its own 255. srun is `labelled`: it writes the number
    of the host before each line of its worker's.
    """

    name: str
    command: list[str]
    hosts: tuple[str, ...] = ()
    labelled: bool = False


def starts(settings: Settings, worker: Sequence[str], address: str) -> list[Start]:
    """One for each worker; `worker` is what follows the interpreter, `address` where the driver listens."""
    worker = [*worker, "--join", address]
    if settings.slurm:
        return [_over_srun(settings, worker)]
    if settings.hosts:
        return [_over_ssh(settings, [*worker, "--rank", str(rank)], host) for rank, host in enumerate(settings.hosts)]
    here = [sys.executable, *worker, "--devices", settings.devices]
    if settings.tls is not None:
        here += tls_options(settings.tls)
    return [Start(f"worker {rank}", [*here, "--rank", str(rank)]) for rank in range(settings.workers)]


def _over_ssh(settings: Settings, worker: Sequence[str], host: Host) -> Start:
    options = [word for option in _SSH_OPTIONS for word in ("-o", option)]
    if host.port is not None:
        options += ["-p", str(host.port)]
    if host.user is not None:
        options += ["-l", host.user]
    there = [settings.python, *worker, "--devices", host.devices, "--host", host.name, *_on_stdin(settings)]
    line = f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(there)}"
    return Start(host.name, [*settings.ssh, "-T", *options, "--", host.name, line], (host.name,))


def _on_stdin(settings: Settings) -> list[str]:
    """What the worker reads there."""
    return ["--token-stdin"] if settings.tls is None else ["--token-stdin", "--tls-stdin"]


def _over_srun(settings: Settings, worker: Sequence[str]) -> Start:
    count = len(settings.hosts)
    # Task I is on the I-th node, and offers the I-th of the arguments that follow.
    there = shlex.join([settings.python, *worker])
    host = '--rank "$SLURM_PROCID" --devices "$1" --host "$SLURMD_NODENAME"'
    line = f"shift $SLURM_PROCID; exec {there} {host} {' '.join(_on_stdin(settings))}"
    command = ["srun", f"--nodes={count}", f"--ntasks={count}", *_SRUN_OPTIONS, "sh", "-c", line, "sh"]
    command += [host.devices for host in settings.hosts]
    return Start("srun", command, tuple(host.name for host in settings.hosts), labelled=True)
