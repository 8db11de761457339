"""Files in memory, for secrets: no disk has them, no command line shows them, and they end with this process."""

from __future__ import annotations

import os


def keep(text: str) -> int:
    """A file with this text, by its descriptor; what this process executes in its own place has it too."""
    descriptor = os.memfd_create("troupe", 0)
    with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as file:
        file.write(text)
    return descriptor


def text_of(descriptor: int) -> str:
    """What was kept."""
    with open(path_of(descriptor), encoding="utf-8") as file:
        return file.read()


def path_of(descriptor: int) -> str:
    """Under this path other processes of the user can read it, as long as this one lives."""
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def tls_options(descriptor: int) -> list[str]:
    """How a worker is told of a file that has a certificate and its key."""
    return ["--tls-cert", path_of(descriptor), "--tls-key", path_of(descriptor)]
