"""`troupe launch`, the command: what its arguments say. What then runs is in the folder `launcher`."""

from __future__ import annotations

import argparse
import math
import os
import sys

from troupe import launcher
from troupe.launcher.processes import say
from troupe.launcher.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `troupe launch`; where torchrun has the same, by the same name."""
    parser.usage = "%(prog)s -n N [--devices cpu=K] [--timeout S] [--] (SCRIPT | -m MODULE) [ARGUMENT ...]"
    parser.add_argument("-n", "--nproc-per-node", type=int, required=True, metavar="N", help="number of workers")
    parser.add_argument("--devices", default="cpu=1", metavar="KIND=COUNT", help="of each worker (default: cpu=1)")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds after which the script gets SIGTERM")
    parser.add_argument("-m", "--module", action="store_true", help="the script is a module, as in python -m")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="SCRIPT", help="the driver, and its arguments")


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
    if arguments.nproc_per_node < 1:
        raise ValueError(f"-n is {arguments.nproc_per_node}; at least 1 worker is needed")
    kind, _, count = arguments.devices.partition("=")
    if not kind or not count.isdecimal() or int(count) < 1:
        raise ValueError(f"--devices '{arguments.devices}' is not KIND=COUNT, as in cpu=4")
    if kind != "cpu":
        raise ValueError(f"--devices {arguments.devices}: this build has no CUDA kernels; give cpu=COUNT")
    if arguments.timeout is not None and not 0 < arguments.timeout < math.inf:
        raise ValueError(f"--timeout is {arguments.timeout:g}; it must be a number of seconds above 0")
    return Settings(arguments.nproc_per_node, f"cpu={int(count)}", arguments.timeout, command)


def start(arguments: argparse.Namespace) -> int:
    """Becomes the launcher; returns only when the arguments are wrong: 2, having said so."""
    try:
        settings = settings_of(arguments)
    except ValueError as error:
        say(str(error))
        return 2
    os.execv(sys.executable, [sys.executable, "-I", "-S", os.path.dirname(launcher.__file__), settings.as_json()])
