"""What workers write, line by line."""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Iterable


def forward(workers: Iterable[tuple[str, subprocess.Popen[bytes]]]) -> None:
    """Copies what processes write to our own stdout and stderr, whole lines at a time with the process's name before
    them, until all have closed theirs."""
    with selectors.DefaultSelector() as pipes:
        for name, process in workers:
            prefix = f"[{name}] ".encode()
            for pipe, to in ((process.stdout, 1), (process.stderr, 2)):
                pipes.register(pipe, selectors.EVENT_READ, _Lines(prefix, to))
        while pipes.get_map():
            for key, _ in pipes.select():
                read = os.read(key.fd, 1 << 16)
                key.data.add(read)
                if not read:
                    pipes.unregister(key.fileobj)


class _Lines:
    """Writes lines with a prefix to a file descriptor."""

    def __init__(self, prefix: bytes, to: int) -> None:
        self._prefix, self._to = prefix, to
        self._begun = b""

    def add(self, read: bytes) -> None:
        """What was read; nothing at the end, when the line that was begun is written as it is."""
        *lines, self._begun = (self._begun + read).split(b"\n")
        if not read and self._begun:
            lines.append(self._begun)
        text = b"".join(self._prefix + line + b"\n" for line in lines)
        try:
            while text:
                text = text[os.write(self._to, text) :]
        except OSError:
            pass  # nobody reads our output any more; the worker goes on
