"""Text to train on: files, cut into a part to train on and a tenth that is held out."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import troupe as tr
from troupe.data import Arrays, Tokens

HELD_OUT = 10
"""One file, or byte, in so many is held out."""


@dataclass(frozen=True)
class Text:
    """Bytes to train on, and held-out bytes."""

    train: Tokens
    held_out: Tokens


def standard_library() -> list[str]:
    """The source files of Python's own standard library."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = (
        p for p in root.rglob("*.py") if "site-packages" not in p.parts and "dist-packages" not in p.parts
    )
    return sorted(str(p) for p in files if p.is_file())


def files_under(path: str) -> list[str]:
    """A file, or all files below a directory, in order. Raises FaultError when there are none."""
    if os.path.isdir(path):
        found = sorted(str(p) for p in Path(path).rglob("*") if p.is_file() and ".git" not in p.parts)
    else:
        found = [path]
    if not found:
        raise tr.FaultError(f"there are no files in '{path}'")
    return found


def _is_held_out(path: str) -> bool:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).digest()[0] % HELD_OUT == 0


def load(path: str | None, seq: int, batch: int, seed: int) -> Text:
    """The bytes of the files at `path` (the standard library by default).

    Whole files are held out, chosen by a hash of what they contain; of fewer than 100 files, the last tenth of the
    bytes instead.
    """
    paths = files_under(path) if path is not None else standard_library()
    paths = [p for p in paths if not os.path.exists(p) or os.path.getsize(p) > 0]
    if len(paths) < 100:
        cut = 1 - 1 / HELD_OUT
        return Text(
            tr.data.tokens(paths, seq=seq, batch=batch, seed=seed, part=(0.0, cut)),
            tr.data.tokens(paths, seq=seq, batch=batch, part=(cut, 1.0)),
        )
    held_out = {p for p in paths if _is_held_out(p)}
    return Text(
        tr.data.tokens([p for p in paths if p not in held_out], seq=seq, batch=batch, seed=seed),
        tr.data.tokens(sorted(held_out), seq=seq, batch=batch),
    )


def spread_windows(tokens: np.ndarray, seq: int, count: int) -> np.ndarray:
    """The starts of at most `count` windows of seq + 2 tokens, spread evenly."""
    room = len(tokens) - (seq + 2)
    return np.unique(np.linspace(0, max(room, 0), min(count, max(room // seq, 1))).astype(np.int64))


def validation(tokens: np.ndarray, starts: np.ndarray, seq: int, batch: int) -> Arrays:
    """Windows as data: "x" and "y", both i32 [rows, seq]. A window's first token is left to the baselines' context."""
    rows = np.stack([tokens[start + 1 : start + seq + 2] for start in starts]).astype(np.int32)
    return tr.data.arrays(x=rows[:, :-1], y=rows[:, 1:], batch=min(batch, len(rows)), shuffle=False)
