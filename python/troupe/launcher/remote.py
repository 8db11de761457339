"""What runs on another host beside a worker, and ends it when the launcher is gone."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence

from . import memory
from .processes import start

TLS_STDIN = "--tls-stdin"
"""The last word of a worker's command whose certificate and key come on stdin too."""

STARTED = "troupe worker: started"
"""The line of stdout that tells the launcher that this host is reached and has this Python and this package."""


def supervise(command: Sequence[str]) -> int:
    """Runs a worker with the token that is the first line of stdin; its exit status, 128 + the signal that killed it.

    The second line, where it is asked for, is a string in JSON: certificate and key in PEM, which only memory keeps.
    stdin then stays open as long as the launcher lives: it ends with the connection, whatever ended that, and the
    worker is killed with it, also one that is stopped.
    """
    print(STARTED, flush=True)
    token = _line()  # srun sends its stdin only when it has reached all nodes
    if not token:
        print("troupe worker: the token of the run did not come on stdin (--token-stdin)", file=sys.stderr)
        return 2
    if command[-1] == TLS_STDIN:
        identity = memory.keep(json.loads(_line() or '""'))
        os.set_inheritable(identity, False)
        command = [*command[:-1], *memory.tls_options(identity)]
    options = {"TROUPE_TOKEN": token, "PYTHONUNBUFFERED": "1"}
    worker = start([sys.executable, *command], options, stdin=subprocess.DEVNULL)
    ended = os.pidfd_open(worker.pid)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(ended, select.POLLIN)
    while not any(descriptor == ended for descriptor, _ in poll.poll()):
        if not _read(4096):
            worker.kill()
            break
    status = worker.wait()
    return 128 - status if status < 0 else status


def _line() -> str:
    """Of stdin; nothing of what comes after is taken."""
    text = b""
    while not text.endswith(b"\n") and (more := _read(1)):
        text += more
    return text.decode("ascii", "replace").strip()


def _read(most: int) -> bytes:
    try:
        return os.read(0, most)
    except OSError:  # the connection was reset
        return b""
