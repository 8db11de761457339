"""What a run is doing, for `troupe status`.

A process that drives devices keeps one small file, written anew by a rename every second, by a thread of its own: a
script that computes or hangs does not keep it from being written, a process that is stopped does. It lies in
$XDG_RUNTIME_DIR/troupe or /tmp/troupe-UID, which only the user may read, is called PID.json, and goes when the process
ends. Nothing else depends on it: where it cannot be written, there is none.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VERSION = 1
"""Of the file; `read` passes over others."""

EVERY_S = 1.0
IDLE_S = 2.0
"""A step in which no firing ends for so long is asked what it waits for."""


class Status:
    """What this process does. Set by the threads that do it; written by another."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._doing = ("script", self._began)
        self._facts: dict[str, Any] = {}
        self._looked = -EVERY_S
        self._stall: tuple[float, str] | None = None  # since when, and what was said about it
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """This process has devices. From now on there is a file."""
        if self._thread is None or not self._thread.is_alive():  # after a fork there is no thread
            path = _new_path()
            if path is None:
                return
            ended = threading.Event()
            self._thread = threading.Thread(target=self._write, args=(path, ended), name="troupe status", daemon=True)
            self._thread.start()
            atexit.register(_remove, path, os.getpid(), ended)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """What is done inside: "planning", "step", "data" (waiting for the script's), "saving"; else "script"."""
        before, self._doing = self._doing[0], (what, time.monotonic())
        try:
            yield
        finally:
            self._doing = (before, time.monotonic())

    def set(self, **facts: Any) -> None:
        """Facts about the run, by their names in the file."""
        self._facts |= facts

    def set_plan(self, compiled: Any, mesh: Any) -> None:
        """The plan that trains."""
        rows = zip(compiled.devices, compiled.memory, compiled.promised_peak, strict=True)
        self.set(
            plan={
                "name": compiled.name,
                "mesh": {axis: mesh.axis_size(axis) for axis, _ in mesh.axes},
                "predicted_step_s": compiled.predicted_step_s,
            },
            devices=[
                {"name": name, "memory_bytes": sum(kinds.values()), "promised_peak_bytes": peak}
                for name, kinds, peak in rows
            ],
        )

    def look(self, cluster: Any) -> None:
        """Asks the devices how far they are, at most once a second. By the thread that uses them."""
        now = time.monotonic()
        if now - self._looked < EVERY_S:
            return
        self._looked = now
        idle, read = cluster.progress()
        if idle < IDLE_S:
            self._stall = None
        elif self._stall is None:
            self._stall = (now - idle, cluster.stall())
        self.set(workers=cluster.workers(), read=read)

    def as_dict(self) -> dict[str, Any]:
        """What the file holds; see README.md."""
        now = time.monotonic()
        facts, (doing, since), stall = dict(self._facts), self._doing, self._stall
        read, step = facts.get("read", -1), facts.get("step", -1) + 1
        waits = None
        if doing == "data":
            batch = f"the script's data, the batch of step {facts.get('prepares', step)}"
            waits = {"seconds": now - since, "for": batch}
        elif doing == "step" and stall is not None:
            waits = {"seconds": now - stall[0], "for": stall[1]}
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "process_start": _start_of(os.getpid()),
            "host": socket.gethostname(),
            "command": sys.argv,
            "seconds": now - self._began,
            "updated": now,
            "doing": {"what": doing, "seconds": now - since},
            "step": facts.get("step"),
            "steps": facts.get("steps"),
            "loss": facts.get("loss"),
            "tokens_per_s": facts.get("tokens_per_s"),
            "plan": facts.get("plan"),
            "waits": waits,
            "read_ahead": max(read - step, 0) if read >= 0 else None,
            "workers": [
                {
                    "host": host,
                    "pid": process,
                    "devices": devices,
                    "alive_s": now - joined,
                    "heard_s": max(self._looked - heard, 0.0),
                    "gone": gone,
                }
                for host, process, devices, joined, heard, gone in facts.get("workers", ())
            ],
            "devices": [
                device | {"counted_peak_bytes": facts.get("peaks", {}).get(device["name"])}
                for device in facts.get("devices", ())
            ],
        }

    def _write(self, path: Path, ended: threading.Event) -> None:
        new = path.with_suffix(".new")
        while not ended.is_set():
            try:
                new.write_text(json.dumps(self.as_dict()), encoding="utf-8")
                new.rename(path)
            except OSError:
                pass  # perhaps the next time
            ended.wait(EVERY_S)


status = Status()
"""Of this process."""


def _remove(path: Path, process: int, ended: threading.Event) -> None:
    if os.getpid() == process:  # not of a child that was forked
        ended.set()
        path.unlink(missing_ok=True)


def directories() -> list[Path]:
    """Where status files may be, the one for new ones first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [*([Path(runtime, "troupe")] if runtime else []), Path(f"/tmp/troupe-{os.getuid()}")]


def _is_private(directory: Path) -> bool:
    """Whether it is a directory that this user alone can look into."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _new_path() -> Path | None:
    """Where this process's file goes; None when no directory will do."""
    for directory in directories():
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        if _is_private(directory):
            return directory / f"{os.getpid()}.json"
    return None


def _start_of(pid: int) -> int | None:
    """When a process began, in the kernel's ticks; None when there is none that lives."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19]) if fields[0] not in "ZX" else None


def read() -> list[dict[str, Any]]:
    """The status of each run of this user on this host, with "age_s", how long ago it was written. Files that processes
    left behind which were killed are removed."""
    found = []
    for directory in directories():
        if not _is_private(directory):
            continue
        for path in sorted(directory.glob("*.json")):
            try:
                status_of = json.loads(path.read_text(encoding="utf-8"))
                age = time.monotonic() - status_of["updated"]
                if _start_of(status_of["pid"]) != status_of["process_start"]:
                    path.unlink(missing_ok=True)
                    path.with_suffix(".new").unlink(missing_ok=True)
                elif status_of["version"] == VERSION:
                    found.append(status_of | {"age_s": age})
            except (OSError, ValueError, KeyError):
                continue
    return found
