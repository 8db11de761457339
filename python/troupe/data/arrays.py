"""Arrays as training data, in memory or in files of NumPy's .npy format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from troupe import _troupe
from troupe._troupe import PlanError
from troupe.batch import Field, as_arrays, check_rows, field_of
from troupe.data.numbers import whole
from troupe.data.paths import are_paths, found_files
from troupe.data.source import FedData


def _field(column: np.ndarray | _troupe.ArrayFiles) -> Field:
    if isinstance(column, np.ndarray):
        return field_of(column)
    return Field(column.dtype, tuple(column.row_shape))


class Arrays(FedData):
    """Rows of arrays, in batches. Each pass over the rows has an order of its own when shuffled.

    Rows of arrays in files are read where they are needed, those of arrays in memory are handed over.
    """

    def __init__(
        self, columns: dict[str, np.ndarray | _troupe.ArrayFiles], batch: int, shuffle: bool, seed: int
    ):
        super().__init__({name: _field(column) for name, column in columns.items()}, batch)
        rows = {name: len(column) for name, column in columns.items()}
        check_rows(rows)
        self._rows = next(iter(rows.values()))
        self._memory = {name: c for name, c in columns.items() if isinstance(c, np.ndarray)}
        self._files = {name: c for name, c in columns.items() if not isinstance(c, np.ndarray)}
        self._order = _troupe.RowOrder(self._rows, batch, seed, shuffle)

    def sources(self) -> dict[str, Any]:
        return {
            **{name: self._feed.source(name) for name in self._memory},
            **{name: each.source(self._order) for name, each in self._files.items()},
        }

    def prepare(self, step: int) -> bool:
        if self._memory and step not in self._given:
            self.put(step, self._from_memory(step))
        return True

    def _from_memory(self, step: int) -> dict[str, np.ndarray]:
        rows = self._order.at(step)
        return {name: np.ascontiguousarray(array[rows]) for name, array in self._memory.items()}

    def batch_at(self, step: int) -> dict[str, np.ndarray]:
        """The batch of a step. Rows that do not fill a batch at the end of a pass are left out of that pass."""
        read = {name: each.batch(self._order, step) for name, each in self._files.items()}
        return {**self._from_memory(step), **read}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for first in range(0, self._rows, self.batch_rows):
            count = min(self.batch_rows, self._rows - first)
            read = {name: each.rows(first, count) for name, each in self._files.items()}
            yield {**{name: array[first : first + count] for name, array in self._memory.items()}, **read}


def arrays(*, batch: int, shuffle: bool = True, seed: int = 0, **named: Any) -> Arrays:
    """Batches of `batch` rows from arrays with equally many rows: `arrays(x="images.npy", y=labels, batch=128)`.

    Each is an array in memory, or the path of a file that np.save wrote, a pattern or a list of either: files whose rows
    follow one another. Rows of files are read by the workers that need them, each for itself, so their paths must be the
    same everywhere. The row at a place of a step's batch depends on (seed, step, place) alone. Evaluation takes the
    rows in order. Raises PlanError when the numbers of rows differ or are below `batch`, or `batch`, `shuffle` or `seed`
    is none, FaultError for a file that cannot be read or whose elements tensors cannot have.
    """
    batch, seed = whole("arrays: batch", batch, 1, 63), whole("arrays: seed", seed, 0, 64)
    if not isinstance(shuffle, (bool, np.bool_)):
        raise PlanError(f"arrays: shuffle={shuffle!r} must be True or False")
    files = {name: _troupe.ArrayFiles(found_files(value)) for name, value in named.items() if are_paths(value)}
    memory = {name: value for name, value in named.items() if name not in files}
    columns = {**files, **(as_arrays(memory) if memory or not files else {})}
    return Arrays({name: columns[name] for name in named}, batch, bool(shuffle), seed)
