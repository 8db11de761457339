"""What a batch consists of: named arrays whose dim 0 is the batch dim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from troupe._troupe import PlanError
from troupe.dtypes import dtype_name


@dataclass(frozen=True)
class Field:
    """The dtype and the shape of one row of an array of the batch."""

    dtype: str
    shape: tuple[int, ...]


Fields = dict[str, Field]


def as_arrays(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The batch as contiguous NumPy arrays. Raises PlanError when arrays differ in their number of rows."""
    if not isinstance(batch, Mapping) or not batch:
        raise PlanError(f"a batch is a dict of arrays, not {type(batch).__name__}")
    arrays = {name: np.ascontiguousarray(value) for name, value in batch.items()}
    for name, array in arrays.items():
        if array.ndim == 0:
            raise PlanError(f"batch array '{name}' has no dims; dim 0 is the batch dim")
        dtype_name(array.dtype)
    check_rows({name: len(array) for name, array in arrays.items()})
    return arrays


def check_rows(rows: Mapping[str, int]) -> None:
    """Raises PlanError when arrays differ in their number of rows."""
    if len(set(rows.values())) > 1:
        raise PlanError(
            "the arrays of a batch differ in their rows: "
            + ", ".join(f"'{name}' has {count}" for name, count in rows.items())
        )


def rows_of(arrays: Mapping[str, np.ndarray]) -> int:
    """The number of rows of a batch."""
    return len(next(iter(arrays.values())))


def field_of(array: np.ndarray) -> Field:
    """What the array's rows look like."""
    return Field(dtype_name(array.dtype), array.shape[1:])


def fields_of(arrays: Mapping[str, np.ndarray]) -> Fields:
    """What each array's rows look like."""
    return {name: field_of(array) for name, array in arrays.items()}


def tokens_of(fields: Fields, rows: int) -> int:
    """How many tokens a batch has: the elements of its first integer array of two dims, else its rows."""
    for field in fields.values():
        if field.dtype in ("i32", "i64") and len(field.shape) == 1:
            return rows * field.shape[0]
    return rows
