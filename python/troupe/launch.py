"""`troupe launch`, the command: what its arguments say. What then runs is in the folder `launcher`."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from troupe import _troupe, launcher, tls
from troupe._troupe import PlanError
from troupe.launcher import hosts, memory, slurm
from troupe.launcher.processes import say
from troupe.launcher.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `troupe launch`; where torchrun has the same, by the same name."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "%(prog)s (-n N | --hosts FILE | --slurm) [OPTION ...] [--] (SCRIPT | -m MODULE) [ARGUMENT ...]"
    parser.description = _DESCRIPTION
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-n", "--nproc-per-node", type=int, metavar="N", help="so many workers on this host")
    where.add_argument("--hosts", metavar="FILE", help="a worker on each host of this file, started by ssh")
    where.add_argument("--slurm", action="store_true", help="a worker on each node of this job of Slurm's, by srun")
    parser.add_argument(
        "--devices",
        metavar="KIND=COUNT",
        help="of each worker, where the host file says nothing else (default: cpu=1; with --slurm, cpu= as many CPUs as "
        "the job asked for on the node: its tasks times --cpus-per-task)",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS[:PORT]",
        help="where the driver listens for workers (default: any free port of 127.0.0.1; with --hosts or --slurm, of the "
        "address of this host from which the first other host is reached)",
    )
    parser.add_argument(
        "--tls", action="store_true", help="encrypt the connections between driver and workers, with a key of this run's"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="the same with this certificate, in PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="and its key")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="on the hosts (default: %(default)s)")
    parser.add_argument("--ssh", default="ssh", metavar="COMMAND", help="with its options, as in 'ssh -F cluster.conf'")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds after which the script gets SIGTERM")
    parser.add_argument("-m", "--module", action="store_true", help="the script is a module, as in python -m")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="SCRIPT", help="the driver, and its arguments")


_DESCRIPTION = """\
Runs a script with worker processes. The script runs once, on this host, as the driver; each worker offers it devices.

A host file has a host a line, with what it offers:

    node1 slots=8                    # eight CPU devices; devices=cpu=8 says the same
    node2 slots=8 user=ada port=2222

The workers are started by ssh, which must not have to ask for anything, in this directory and with this Python, so both
are the same on every host. They end with the script or with this command, however these end. A host without a worker
after 30 s is an error that names it.

With --slurm the hosts are the nodes of the job whose script this command is in (sbatch), or of the allocation around it
(salloc), and one srun starts a worker on each:

    sbatch --nodes=4 --ntasks-per-node=8 --wrap 'troupe launch --slurm -- train.py --mesh dp=32'"""


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The checked settings; ValueError says in one line what is wrong."""
    command = list(arguments.command)
    if command[:1] == ["--"]:
        del command[0]
    if arguments.module:
        command.insert(0, "-m")
    if not command or command == ["-m"]:
        raise ValueError("no command: give a script, or -m and a module, after the options")
    if command[0] != "-m" and not os.path.exists(command[0]):
        raise ValueError(f"there is no script '{command[0]}'")
    if arguments.nproc_per_node is not None and arguments.nproc_per_node < 1:
        raise ValueError(f"-n is {arguments.nproc_per_node}; at least 1 worker is needed")
    try:
        devices = None if arguments.devices is None else hosts.devices_of(arguments.devices)
    except ValueError as error:
        raise ValueError(f"--devices {error}") from None
    if arguments.timeout is not None and not 0 < arguments.timeout < math.inf:
        raise ValueError(f"--timeout is {arguments.timeout:g}; it must be a number of seconds above 0")
    if arguments.slurm:
        found, addresses = slurm.nodes(devices)
        listen = arguments.listen or hosts.address_towards(list(addresses), addresses.__getitem__)
        python = arguments.python
        return Settings(0, devices or "cpu=1", arguments.timeout, command, found, [], python, listen, slurm=True)
    devices = devices or "cpu=1"
    if arguments.hosts is None:
        return Settings(arguments.nproc_per_node, devices, arguments.timeout, command, listen=arguments.listen)
    ssh = shlex.split(arguments.ssh)
    if not ssh or shutil.which(ssh[0]) is None:
        raise ValueError(f"--ssh '{arguments.ssh}': there is no such command")
    found = hosts.read(arguments.hosts, devices)
    names = [host.name for host in found]
    listen = arguments.listen or hosts.address_towards(names, lambda name: hosts.ssh_target(name, ssh))
    return Settings(0, devices, arguments.timeout, command, found, ssh, arguments.python, listen)


def tls_of(arguments: argparse.Namespace) -> str | None:
    """The certificate and key of the run, in PEM; None when its connections are not encrypted. PlanError or ValueError
    say what is wrong."""
    given = tls.read(arguments.tls_cert, arguments.tls_key, ("--tls-cert", "--tls-key"))
    if given and arguments.tls:
        raise ValueError("--tls makes a certificate and a key, --tls-cert and --tls-key give them: use one way")
    pair = given or (_troupe.new_tls_identity() if arguments.tls else None)
    return pair and "".join(text if text.endswith("\n") else f"{text}\n" for text in pair)


def start(arguments: argparse.Namespace) -> int:
    """Becomes the launcher; returns only when the arguments are wrong: 2, having said so."""
    try:
        settings = settings_of(arguments)
        if identity := tls_of(arguments):
            settings = dataclasses.replace(settings, tls=memory.keep(identity))
    except (ValueError, PlanError) as error:
        say(str(error))
        return 2
    _become("launch", settings.as_json())


def supervise(worker: Sequence[str]) -> NoReturn:
    """Becomes the process that runs a worker, what follows the interpreter, as long as its own stdin stays open."""
    _become("supervise", *worker)


def _become(*arguments: str) -> NoReturn:
    folder = os.path.dirname(launcher.__file__)
    os.execv(sys.executable, [sys.executable, "-I", "-S", folder, *arguments])
