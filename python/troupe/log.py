"""Where a run's metrics go: functions that `tr.train` calls with each step's."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import IO, Any

import numpy as np

from troupe.metrics import Metrics


class Jsonl:
    """A file with one JSON object per step."""

    def __init__(self, path: str | os.PathLike[str]):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self._file = open(path, "a", encoding="utf-8")

    def __call__(self, metrics: Metrics) -> None:
        self._file.write(
            json.dumps({n: v for n, v in metrics.items() if not isinstance(v, np.ndarray)}) + "\n"
        )
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def jsonl(path: str | os.PathLike[str]) -> Jsonl:
    """Appends each step's scalars to a file, one JSON object per line."""
    return Jsonl(path)


class Progress:
    """A line on the console: a bar, the loss, the speed, the time left, and what `show` was told."""

    WIDTH = 24

    def __init__(self, steps: int, stream: IO[str] | None = None):
        self._steps = steps
        self._stream = stream if stream is not None else sys.stdout
        self._live = self._stream.isatty()
        self._shown: dict[str, str] = {}
        self._began: tuple[float, int] | None = None
        self._printed = 0.0
        self._speed = 0.0

    def show(self, **values: Any) -> None:
        """Numbers or texts that stay in the line from now on."""
        self._shown |= {name: f"{v:.3f}" if isinstance(v, float) else str(v) for name, v in values.items()}

    def __call__(self, metrics: Metrics) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began = (now - metrics.seconds, metrics.step)
        self._speed = (
            metrics.tokens_per_s if not self._speed else 0.9 * self._speed + 0.1 * metrics.tokens_per_s
        )
        done = metrics.step + 1
        if done < self._steps and now - self._printed < (0.1 if self._live else 10.0):
            return
        self._printed = now
        made = done - self._began[1]
        left = (now - self._began[0]) / made * (self._steps - done)
        filled = self.WIDTH * done // max(self._steps, 1)
        parts = [
            f"[{'#' * filled}{'.' * (self.WIDTH - filled)}] {done}/{self._steps}",
            f"loss {metrics.loss:.3f}",
            *(f"{name} {value}" for name, value in self._shown.items()),
            f"{self._speed:,.0f} tokens/s",
            f"{int(left) // 60}:{int(left) % 60:02d} left",
        ]
        line = "  ".join(parts)
        self._stream.write(f"\r\x1b[K{line}" if self._live else f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Ends the line."""
        if self._live:
            self._stream.write("\n")
            self._stream.flush()


def progress(steps: int, stream: IO[str] | None = None) -> Progress:
    """Shows the progress towards `steps` steps on the console; on anything but a terminal, a line every ten seconds."""
    return Progress(steps, stream)
