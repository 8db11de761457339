"""Element types of tensors: short names inside, NumPy's and PyTorch's names accepted everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from troupe._troupe import PlanError

float32 = "f32"
float64 = "f64"
int32 = "i32"
int64 = "i64"
uint8 = "u8"
float16 = "f16"
bool_ = "bool"

_NUMPY: dict[str, np.dtype] = {
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "u8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
    "f16": np.dtype(np.float16),
}
_NAMES = {dtype: name for name, dtype in _NUMPY.items()}

FLOATS = ("f32", "f64")


def dtype_name(dtype: Any) -> str:
    """The short name ("f32") of a dtype given as a name, a NumPy dtype or a Python type.

    Raises PlanError for a type that tensors cannot have.
    """
    if isinstance(dtype, str) and dtype in _NUMPY:
        return dtype
    if dtype is float:
        return "f32"
    if dtype is int:
        return "i64"
    try:
        return _NAMES[np.dtype(dtype)]
    except (KeyError, TypeError):
        known = ", ".join(_NUMPY)
        raise PlanError(f"tensors of type {dtype} do not exist; the types are {known}") from None


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of a short name."""
    return _NUMPY[name]
