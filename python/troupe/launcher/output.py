"""What workers write, line by line."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
from collections.abc import Iterable

from .remote import STARTED


class Output:
    """Of a worker: `started` once it has said so, `closed` once it writes no more, its last line of stderr."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.started, self.closed = threading.Event(), threading.Event()
        self.last = ""
        self.pipes = {process.stdout: _Lines(name, 1, self._heard), process.stderr: _Lines(name, 2, self._said)}

    def _heard(self, line: bytes) -> bool:
        if line != STARTED.encode() or self.started.is_set():
            return True
        self.started.set()
        return False

    def _said(self, line: bytes) -> bool:
        self.last = line.decode(errors="replace").strip() or self.last
        return True


def forward(outputs: Iterable[Output]) -> None:
    """Copies what workers write to our own stdout and stderr, whole lines at a time with the worker's name before them,
    until all have closed theirs."""
    with selectors.DefaultSelector() as pipes:
        for output in outputs:
            for pipe in output.pipes:
                pipes.register(pipe, selectors.EVENT_READ, output)
        while pipes.get_map():
            for key, _ in pipes.select():
                read = os.read(key.fd, 1 << 16)
                key.data.pipes[key.fileobj].add(read)
                if not read:
                    pipes.unregister(key.fileobj)
                    del key.data.pipes[key.fileobj]
                    if not key.data.pipes:
                        key.data.closed.set()


class _Lines:
    """Writes lines with a prefix to a file descriptor, where `pass_on` says so."""

    def __init__(self, name: str, to: int, pass_on) -> None:
        self._prefix, self._to, self._pass_on = f"[{name}] ".encode(), to, pass_on
        self._begun = b""

    def add(self, read: bytes) -> None:
        """What was read; nothing at the end, when the line that was begun is written as it is."""
        *lines, self._begun = (self._begun + read).split(b"\n")
        if not read and self._begun:
            lines.append(self._begun)
        text = b"".join(self._prefix + line + b"\n" for line in lines if self._pass_on(line))
        try:
            while text:
                text = text[os.write(self._to, text) :]
        except OSError:
            pass  # nobody reads our output any more; the worker goes on
