"""What workers write, line by line."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import threading
from collections.abc import Callable, Iterable

from .remote import STARTED
from .starts import Start


class Output:
    """Of a command that starts workers: `missing` are the hosts whose worker has not said yet that it runs, `closed` is
    set once nothing more is written."""

    def __init__(self, how: Start, process: subprocess.Popen[bytes]) -> None:
        self.missing, self.closed = list(how.hosts), threading.Event()
        self._how = how
        self._said: dict[str, str] = {}  # by host, or by the name of the command
        self.pipes = {process.stdout: _Lines(1, self._of_stdout), process.stderr: _Lines(2, self._of_stderr)}

    def why(self) -> str:
        """What the missing hosts or else the command said of it: the last line of stderr, srun's own first error."""
        said = [self._said[name] for name in (*self.missing, self._how.name) if name in self._said]
        return said[0] if said else "it said nothing"

    def _of_stdout(self, line: bytes) -> bytes:
        name, text = self._split(line)
        if text == STARTED.encode() and name in self.missing:
            self.missing.remove(name)
            return b""
        return _prefixed(name, text)

    def _of_stderr(self, line: bytes) -> bytes:
        name, text = self._split(line)
        said = text.decode(errors="replace").strip()
        if said and not (self._how.labelled and self._follows_error(name, said)):
            self._said[name] = said
        return _prefixed(name, text)

    def _follows_error(self, name: str, said: str) -> bool:
        """Whether it only tells how srun ends the tasks after the error that it named first."""
        return said.startswith("slurmstepd") or (name == self._how.name and "error:" in self._said.get(name, ""))

    def _split(self, line: bytes) -> tuple[str, bytes]:
        """Whose line it is, and the line itself."""
        found = re.fullmatch(rb" *(\d+): (.*)", line) if self._how.labelled else None
        if found and int(found[1]) < len(self._how.hosts):
            return self._how.hosts[int(found[1])], found[2]
        return self._how.name, line


def _prefixed(name: str, line: bytes) -> bytes:
    return f"[{name}] ".encode() + line + b"\n"


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
    """Writes to a file descriptor what `written` makes of each line."""

    def __init__(self, to: int, written: Callable[[bytes], bytes]) -> None:
        self._to, self._written = to, written
        self._begun = b""

    def add(self, read: bytes) -> None:
        """What was read; nothing at the end, when the line that was begun is written as it is."""
        *lines, self._begun = (self._begun + read).split(b"\n")
        if not read and self._begun:
            lines.append(self._begun)
        text = b"".join(map(self._written, lines))
        try:
            while text:
                text = text[os.write(self._to, text) :]
        except OSError:
            pass  # nobody reads our output any more; the worker goes on
