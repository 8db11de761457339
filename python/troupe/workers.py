"""The workers of other processes that a script uses when `troupe launch` started it."""

from __future__ import annotations

import atexit
import gc
import json
import math
import os
from pathlib import Path
from typing import Any

from troupe import _troupe, cuda, tls
from troupe._troupe import PlanError
from troupe.mesh import Mesh

JOIN_PATIENCE_S = 60.0
"""So long a driver waits for its workers to join."""

HEARTBEAT_S = 1.0
"""A worker that says nothing for so long is given up; TROUPE_HEARTBEAT_S says otherwise."""

_SLICE_S = 0.1
_TLS = ("TROUPE_TLS_CERT", "TROUPE_TLS_KEY")  # files; the control connections are encrypted when they are given

_workers: Any = None  # of the run; the connection outlives the models that use it


def new_devices(mesh: Mesh) -> Any:
    """Devices for a session: of this process, or of the workers that the launcher starts once they can reach this one.

    Raises FaultError when not all of them have joined in time, PlanError while another model uses them and for CUDA
    devices of workers.
    """
    global _workers
    launched = _workers is not None or "TROUPE_RUN_DIR" in os.environ
    if mesh.kind == "cuda":
        if launched:
            raise PlanError(f"{mesh}: workers offer CPU devices only; run a script for CUDA devices without `troupe launch`")
        return _troupe.Session(mesh.size, backend=cuda.backend())
    if _workers is None:
        if not launched:
            return _troupe.Session(mesh.size)
        _workers = _gather(Path(os.environ["TROUPE_RUN_DIR"]))
        for name in ("TROUPE_RUN_DIR", "TROUPE_WORKERS", "TROUPE_TOKEN", "TROUPE_LISTEN", *_TLS):
            os.environ.pop(name, None)  # what the script starts is not part of the run
    try:
        return _troupe.Session(_workers)
    except PlanError:
        gc.collect()  # a session that nobody refers to any more, but that its plans refer to
        return _troupe.Session(_workers)


def _gather(directory: Path) -> Any:
    count, token = _number("TROUPE_WORKERS", int), os.environ["TROUPE_TOKEN"]
    identity = tls.read(*map(os.environ.get, _TLS), _TLS)
    workers = _troupe.Workers.make(count, token, heartbeat(), *listen(), identity)
    atexit.register(workers.dismiss)
    written = directory / "driver.json.new"
    written.write_text(json.dumps({"address": workers.address, "pid": os.getpid()}))
    written.rename(directory / "driver.json")
    while not workers.gather(_SLICE_S, JOIN_PATIENCE_S):
        pass  # between slices Ctrl-C gets through
    return workers


def listen() -> tuple[str, int]:
    """The address and port to listen on, of TROUPE_LISTEN=ADDRESS or ADDRESS:PORT; port 0 is any that is free."""
    text = os.environ.get("TROUPE_LISTEN", "127.0.0.1")
    address, colon, port = text.partition(":")
    if not address or (colon and not (port.isdecimal() and 0 < int(port) < 1 << 16)):
        raise PlanError(f"the environment's TROUPE_LISTEN='{text}' must be ADDRESS or ADDRESS:PORT, as in 10.0.0.1:4000")
    return address, int(port or 0)


def heartbeat() -> float:
    """Seconds of silence after which a worker is given up."""
    if "TROUPE_HEARTBEAT_S" not in os.environ:
        return HEARTBEAT_S
    seconds = _number("TROUPE_HEARTBEAT_S", float)
    if not 0.5 <= seconds < math.inf:
        raise PlanError(f"TROUPE_HEARTBEAT_S={seconds} must be at least 0.5 seconds")
    return seconds


def _number(name: str, kind: type) -> Any:
    text = os.environ.get(name, "")
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not value > 0:
        raise PlanError(f"the environment's {name}='{text}' must be a positive number")
    return value


def serve(
    join: str, devices: int, host: str = "", rank: int | None = None, identity: tuple[str, str] | None = None
) -> None:
    """Gives so many devices of this process to the run whose driver listens at `join` ("HOST:PORT"), until it is over.

    Errors call this host `host`, or by its own name. Its number among the run's workers is `rank`, or one that is left.
    The run's token is in the environment, TROUPE_TOKEN; `identity` is its certificate and key where its connections are
    encrypted. Raises FaultError when the driver cannot be reached,
    refuses this worker or goes away.
    """
    token = os.environ.get("TROUPE_TOKEN")
    if token is None:
        raise PlanError("TROUPE_TOKEN is not set; it is the token of the run, which `troupe launch` gives its workers")
    _troupe.serve(join, token, devices, host, rank, JOIN_PATIENCE_S, identity)
