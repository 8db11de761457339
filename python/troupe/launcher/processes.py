"""Children that do not outlive the process that starts them, and how processes end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

_LIBC = ctypes.CDLL(None)  # loaded here: nothing should be, between fork and exec
_PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str], environment: dict[str, str], mask: Iterable[int] = (), **options: Any
) -> subprocess.Popen[bytes]:
    """A child that does not outlive this process, even a killed one; `mask` are the signals that it blocks.

    The kernel then kills it. SIGTERM would leave a driver that handles it time to clean up, but no devices: its workers
    are gone; and one that ignores it, or hangs, would stay for ever.
    """
    parent = os.getpid()

    def bind() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return subprocess.Popen(command, env={**os.environ, **environment}, preexec_fn=bind, **options)


def ended(status: int) -> str:
    """What a return code of subprocess says, in words."""
    if status >= 0:
        return f"ended with exit status {status}"
    names = {s.value: f" ({s.name})" for s in signal.Signals}
    return f"was killed by signal {-status}{names.get(-status, '')}"


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def say(text: str) -> None:
    """Tells the user."""
    print(f"troupe launch: {text}", file=sys.stderr, flush=True)
