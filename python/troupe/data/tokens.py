"""Files of tokens as training data for language models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from troupe import _troupe
from troupe._troupe import PlanError
from troupe.batch import Field
from troupe.data.numbers import whole
from troupe.data.paths import Paths, found_files
from troupe.data.source import Data


class Tokens(Data):
    """Windows of tokens: "x" [batch, seq], and "y", the same one token later."""

    def __init__(
        self, paths: list[str], seq: int, batch: int, seed: int, dtype: str, part: tuple[float, float]
    ):
        self.paths = paths
        self.seq = seq
        self.batch_rows = batch
        self.fields = {"x": Field("i32", (seq,)), "y": Field("i32", (seq,))}
        self._seed = seed
        self._files = _troupe.Tokens(paths, dtype, *part)
        _troupe.TokenWindows.shuffled(len(self._files), seq, batch, seed)

    def __len__(self) -> int:
        return len(self._files)

    def tokens(self, begin: int = 0, count: int | None = None) -> np.ndarray:
        """Tokens one after another, over all files."""
        return self._files.at(begin, len(self) - begin if count is None else count)

    def batch_at(self, step: int) -> dict[str, np.ndarray]:
        """The batch of a step of training."""
        windows = _troupe.TokenWindows.shuffled(len(self), self.seq, self.batch_rows, self._seed)
        return self._cut(windows, step)

    def _cut(self, windows: Any, step: int) -> dict[str, np.ndarray]:
        rows = self._files.windows_at(windows, self.seq, step)
        return {"x": np.ascontiguousarray(rows[:, :-1]), "y": np.ascontiguousarray(rows[:, 1:])}

    def sources(self) -> dict[str, Any]:
        return {
            name: self._files.source(self.seq, self.batch_rows, self._seed, shift)
            for shift, name in enumerate(("x", "y"))
        }

    def prepare(self, step: int) -> bool:
        return True

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        windows = _troupe.TokenWindows.sequential(len(self), self.seq, self.batch_rows)
        for step in range(windows.steps()):
            yield self._cut(windows, step)


def tokens(
    paths: Paths,
    *,
    seq: int,
    batch: int,
    seed: int = 0,
    dtype: str = "u8",
    part: tuple[float, float] = (0.0, 1.0),
) -> Tokens:
    """Training data from files of raw tokens (`dtype` "u8", "u16" or "i32", little-endian; any file is one of bytes).

    `paths` is a path, a pattern such as "corpus/*.bin", or a list of either. A step's batch has `batch` windows of
    `seq` + 1 consecutive tokens from places drawn by (seed, step, row) alone, read where they are needed: "x" is the
    first `seq` of them and "y" the last, both i32[batch, seq]. Evaluation goes through the tokens once, in order.
    `part`: only these of the tokens, as fractions of all: (0.0, 0.9) for training, (0.9, 1.0) held out.
    Raises FaultError for a file that cannot be read, PlanError for fewer than seq + 1 tokens, and for a `seq`, `batch`
    or `seed` that is no such number.
    """
    if not 0 <= part[0] < part[1] <= 1:
        raise PlanError(f"part={part} must be two rising numbers from 0 to 1")
    seq, batch = whole("tokens: seq", seq, 1, 63), whole("tokens: batch", batch, 1, 63)
    return Tokens(found_files(paths), seq, batch, whole("tokens: seed", seed, 0, 64), dtype, part)
