"""Arrays in memory as training data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from troupe._troupe import PlanError
from troupe.batch import as_arrays, fields_of, rows_of
from troupe.data.source import FedData


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea, Flood 2014) of each number."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def shuffled_order(rows: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of the rows that depends on (seed, epoch) alone, on every machine and in every version."""
    key = _mix(_mix(np.array([seed], np.uint64)) ^ np.uint64(epoch))
    return np.argsort(_mix(key ^ _mix(np.arange(rows, dtype=np.uint64))), kind="stable")


class Arrays(FedData):
    """Rows of arrays, in batches. Each pass over the rows has an order of its own when shuffled."""

    def __init__(self, arrays: dict[str, np.ndarray], batch: int, shuffle: bool, seed: int):
        super().__init__(fields_of(arrays), batch)
        self._arrays = arrays
        self._rows = rows_of(arrays)
        self._shuffle = shuffle
        self._seed = seed
        self._order: tuple[int, np.ndarray] | None = None
        if not 0 < batch <= self._rows:
            raise PlanError(f"a batch of {batch} rows cannot be taken from arrays of {self._rows} rows")

    def order(self, epoch: int) -> np.ndarray:
        """The order of the rows in a pass."""
        if not self._shuffle:
            return np.arange(self._rows)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, shuffled_order(self._rows, self._seed, epoch))
        return self._order[1]

    def batch_at(self, step: int) -> dict[str, np.ndarray]:
        """The batch of a step. Rows that do not fill a batch at the end of a pass are left out of that pass."""
        epoch, index = divmod(step, self._rows // self.batch_rows)
        rows = self.order(epoch)[index * self.batch_rows : (index + 1) * self.batch_rows]
        return {name: np.ascontiguousarray(array[rows]) for name, array in self._arrays.items()}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for first in range(0, self._rows, self.batch_rows):
            yield {name: array[first : first + self.batch_rows] for name, array in self._arrays.items()}


def arrays(*, batch: int, shuffle: bool = True, seed: int = 0, **named: Any) -> Arrays:
    """Batches of `batch` rows from arrays with equally many rows: `arrays(x=images, y=labels, batch=128)`.

    The row at a place of a step's batch depends on (seed, step, place) alone. Evaluation takes the rows in order.
    Raises PlanError when the numbers of rows differ or are below `batch`.
    """
    return Arrays(as_arrays(named), batch, shuffle, seed)
