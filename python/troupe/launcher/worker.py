"""A worker as its launcher sees it: a child, which is the worker itself or the command that reaches its host, or with
srun the hosts of all."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
from collections.abc import Iterable

from .output import Output
from .processes import ended, start
from .starts import Start

_SSH_FAILED = 255  # ssh's own exit status
_LAST_WORDS_S = 1.0  # what a child wrote before it ended is read by then


class Worker:
    """Starts when it is made. `token` is the run's and `identity` its certificate and key, if it has one: no command
    line shows them. `mask` are the signals to block."""

    def __init__(self, how: Start, token: str, identity: str | None, mask: Iterable[int]) -> None:
        self._how = how
        self.name = how.name
        self.process = start(
            how.command,
            {"PYTHONUNBUFFERED": "1"} | ({} if how.hosts else {"TROUPE_TOKEN": token}),
            mask,
            bufsize=0,
            stdin=subprocess.PIPE if how.hosts else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the driver, which then tells its workers what to do
        )
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended already; its status says why
                lines = [token] if identity is None else [token, json.dumps(identity)]
                os.write(self.process.stdin.fileno(), "".join(f"{line}\n" for line in lines).encode())
        self.output = Output(how, self.process)

    @property
    def missing(self) -> str:
        """The hosts on which it has not said yet that it runs; one of this host runs as soon as it is made."""
        return ", ".join(self.output.missing)

    def failure(self) -> str | None:
        """What became of one that has ended as it should not; None while it runs, or when it ended well."""
        status = self.process.poll()
        if status is None:
            return None
        if not self._how.hosts:
            return f"{self.name} (pid {self.process.pid}) {ended(status)}" if status else None
        self.output.closed.wait(_LAST_WORDS_S)
        why = self.output.why()
        if self.missing:
            return f"{self.missing}: no worker was started: {why} ({self._tried()} {ended(status)})"
        program = self._how.command[0]
        if self._how.labelled:
            return f"a worker failed: {why} ({program} {ended(status)})" if status else None
        if status == _SSH_FAILED or status < 0:
            return f"{self.name}: the connection to its worker broke: {why} ({program} {ended(status)})"
        return f"{self.name}: its worker {ended(128 - status if status > 128 else status)}" if status else None

    def late(self, seconds: float) -> str:
        """What to say of one that is still missing after so long."""
        return f"{self.missing}: no worker has started within {seconds:g} s: {self.output.why()} (tried {self._tried()})"

    @property
    def killed(self) -> bool:
        """Whether it has ended by a signal. srun, which ends the others when one has failed, tells of the first."""
        status = self.process.poll()
        over_ssh = self._how.hosts and not self._how.labelled
        return status is not None and (status < 0 or (bool(over_ssh) and 128 < status < _SSH_FAILED))

    def _tried(self) -> str:
        return f"`{shlex.join(self._how.command)}`"
