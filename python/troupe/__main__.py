"""The command `troupe`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence

import troupe
from troupe import _troupe, checkpoint, cuda, launch, planning, status, status_text, tls, workers


def _env(_: argparse.Namespace) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    rows = {
        "troupe": troupe.__version__,
        "extension": _troupe.__file__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {memory / 2**30:.1f} GiB",
        "cpu devices": "any number",
        "cuda devices": cuda.description(),
        "ops": str(len(_troupe.ops())),
    }
    for name, value in rows.items():
        print(f"{name:14}{value}")


def _plan(arguments: argparse.Namespace) -> None:
    if os.path.exists(arguments.model):
        print(_troupe.plan_text(arguments.model), end="")
    else:
        planning.run(arguments)


def _checkpoint(arguments: argparse.Namespace) -> None:
    tensors, optimizer, state = checkpoint.load(arguments.directory)
    print(", ".join(f"{name} {value}" for name, value in state.items()))
    for name, array in {**tensors, **optimizer}.items():
        print(f"{name:48} {array.dtype}{list(array.shape)}")


def _status(arguments: argparse.Namespace) -> int:
    runs = [run for run in status.read() if arguments.pid in (None, run["pid"])]
    if arguments.json:
        print(json.dumps(runs, indent=2))
    elif runs:
        print("\n\n".join(map(status_text.text_of, runs)))
    else:
        print("no run" if arguments.pid is None else f"process {arguments.pid} is no run", file=sys.stderr)
    return 0 if runs or arguments.pid is None else 1


def _worker(arguments: argparse.Namespace) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would wait for the run to end
    kind, _, count = arguments.devices.partition("=")
    if arguments.rank is not None and arguments.rank < 0:
        raise troupe.PlanError(f"--rank {arguments.rank} must be the worker's number, from 0")
    if kind != "cpu" or not count.isdigit() or int(count) < 1:
        raise troupe.PlanError(f"--devices {arguments.devices} must be cpu=COUNT, as in cpu=4")
    if arguments.token_stdin:
        offer = ["--join", arguments.join, "--devices", arguments.devices, "--host", arguments.host]
        offer += [] if arguments.rank is None else ["--rank", str(arguments.rank)]
        files = {"--tls-cert": arguments.tls_cert, "--tls-key": arguments.tls_key}
        given = [word for option, path in files.items() if path is not None for word in (option, path)]
        if given and arguments.tls_stdin:
            raise troupe.PlanError("--tls-stdin reads the certificate and the key, files give them: use one way")
        offer += ["--tls-stdin"] if arguments.tls_stdin else given
        launch.supervise(["-P", "-m", "troupe", "worker", *offer])
    if arguments.tls_stdin:
        raise troupe.PlanError("--tls-stdin needs --token-stdin: the certificate and key come after the token")
    identity = tls.read(arguments.tls_cert, arguments.tls_key, ("--tls-cert", "--tls-key"))
    workers.serve(arguments.join, int(count), arguments.host, arguments.rank, identity)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="troupe", description="Distributed training on actors.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    env = commands.add_parser("env", help="show what was found on this machine")
    env.set_defaults(run=_env)
    plan = commands.add_parser("plan", help="plan a published model on any mesh, or show a saved plan")
    planning.add_arguments(plan)
    plan.set_defaults(run=_plan)
    table = commands.add_parser("precision", help="list what every op computes on in a step in bf16 or f16")
    table.add_argument("precision", nargs="?", default="bf16", help="bf16 (the default) or f16")
    table.set_defaults(run=lambda arguments: print(troupe.precision_table(arguments.precision)))
    shown = commands.add_parser("checkpoint", help="list what a checkpoint holds")
    shown.add_argument("directory", help="a checkpoint, or a directory of them")
    shown.set_defaults(run=_checkpoint)
    running = commands.add_parser("status", help="show what this user's runs on this host are doing")
    running.add_argument("pid", nargs="?", type=int, help="of the script that drives a run; all runs by default")
    running.add_argument("--json", action="store_true", help="all of it, as a list of objects")
    running.set_defaults(run=_status)
    worker = commands.add_parser("worker", help="give this machine's devices to a run")
    worker.add_argument("--join", required=True, metavar="HOST:PORT", help="where the run's driver listens")
    worker.add_argument("--devices", default="cpu=1", help="how many of which kind: cpu=4 (cpu=1 by default)")
    worker.add_argument("--host", default="", metavar="NAME", help="what errors call this host (default: its name)")
    worker.add_argument(
        "--rank", type=int, metavar="K", help="its number among the run's workers, from 0 (default: one that is left)"
    )
    worker.add_argument(
        "--token-stdin",
        action="store_true",
        help="read the run's token from the first line of stdin, not from TROUPE_TOKEN, and end when stdin does",
    )
    worker.add_argument("--tls-cert", metavar="FILE", help="the run's certificate, when its connections are encrypted")
    worker.add_argument("--tls-key", metavar="FILE", help="the key of the certificate; both in PEM")
    worker.add_argument(
        "--tls-stdin", action="store_true", help="read both from the line after the token, as a string in JSON"
    )
    worker.set_defaults(run=_worker)
    launched = commands.add_parser("launch", help="run a script with worker processes, on this host or on several")
    launch.add_arguments(launched)
    launched.set_defaults(run=launch.start)
    parsed = parser.parse_args(arguments)
    try:
        return parsed.run(parsed) or 0
    except (troupe.PlanError, troupe.FaultError) as error:
        print(f"troupe: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
