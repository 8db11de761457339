"""Where batches come from: what every kind of data offers to training and evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from troupe import _troupe
from troupe._troupe import PlanError
from troupe.batch import Fields, as_arrays, fields_of, rows_of


class Data:
    """Batches by step number. `batch_rows` rows per step, each as `fields` says."""

    fields: Fields
    batch_rows: int

    def sources(self) -> dict[str, Any]:
        """What the plan reads from, by the arrays' names."""
        raise NotImplementedError

    def prepare(self, step: int) -> bool:
        """Makes the batch of a step available to the sources; False when the data has ended before it."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """One pass in order, for evaluation; the last batch may be short."""
        raise NotImplementedError


class FedData(Data):
    """Data whose batches Python hands over, a step at a time."""

    def __init__(self, fields: Fields, batch_rows: int):
        self.fields = fields
        self.batch_rows = batch_rows
        self._feed = _troupe.Feed.make()
        self._given: set[int] = set()

    def sources(self) -> dict[str, Any]:
        return {name: self._feed.source(name) for name in self.fields}

    def batch_at(self, step: int) -> dict[str, np.ndarray] | None:
        """The batch of a step; None after the end. Steps are asked for in order, and again after a resume."""
        raise NotImplementedError

    def prepare(self, step: int) -> bool:
        if step in self._given:
            return True
        arrays = self.batch_at(step)
        if arrays is None:
            return False
        self.give(step, arrays)
        return True

    def give(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Hands over the batch of a step; what lies before the step before it is forgotten."""
        check_batch(arrays, self.fields, self.batch_rows)
        self.put(step, arrays)

    def put(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """The same without looking at the shapes."""
        self._feed.drop_before(step - 1)
        self._given = {s for s in self._given if s >= step - 1} | {step}
        self._feed.put(step, dict(arrays))


def check_batch(arrays: Mapping[str, np.ndarray], fields: Fields, rows: int) -> None:
    """Raises PlanError when a batch is not like the one a plan was made for."""
    found = fields_of(arrays)
    if found == fields and rows_of(arrays) == rows:
        return
    for name in (*fields, *found):
        if found.get(name) != fields.get(name):
            expected = (
                f"{fields[name].dtype}[{rows},...{list(fields[name].shape)}]" if name in fields else "nothing"
            )
            got = (
                f"{found[name].dtype}[{rows_of(arrays)},...{list(found[name].shape)}]"
                if name in found
                else "nothing"
            )
            raise PlanError(f"batch array '{name}': the plan was made for {expected}, the batch has {got}")
    raise PlanError(f"the plan was made for batches of {rows} rows, this one has {rows_of(arrays)}")


class SingleBatches(FedData):
    """Batches given one by one to `TrainStep.__call__`."""

    def batch_at(self, step: int) -> dict[str, np.ndarray] | None:
        return None


class IterableData(FedData):
    """Any iterable of dicts of arrays. It is begun again when it ends, if it can be; a resume skips what was read."""

    def __init__(self, batches: Iterable[Mapping[str, Any]]):
        self._batches = batches
        self._iterator = iter(batches)
        first = next(self._iterator, None)
        if first is None:
            raise PlanError("the data is empty: its first batch is missing")
        self._first: dict[str, np.ndarray] | None = as_arrays(first)
        self._next = 0
        super().__init__(fields_of(self._first), rows_of(self._first))

    def _draw(self) -> dict[str, np.ndarray] | None:
        if self._first is not None:
            arrays, self._first = self._first, None
            return arrays
        batch = next(self._iterator, None)
        if batch is None and self._iterator is not self._batches:
            self._iterator = iter(self._batches)
            batch = next(self._iterator, None)
        return as_arrays(batch) if batch is not None else None

    def batch_at(self, step: int) -> dict[str, np.ndarray] | None:
        if step < self._next:
            raise PlanError(
                f"the data is an iterator that has passed step {step}; give a list, tr.data.arrays or "
                f"tr.data.tokens to go back"
            )
        while self._next < step:
            if self._draw() is None:
                return None
            self._next += 1
        arrays = self._draw()
        self._next += arrays is not None
        return arrays

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for batch in self._batches:
            yield as_arrays(batch)


def as_data(data: Any) -> Data:
    """Data as it is, or an iterable of dicts of arrays wrapped."""
    return data if isinstance(data, Data) else IterableData(data)
