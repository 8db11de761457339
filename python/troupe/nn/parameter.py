"""Parameters: tensors that outlive a step. Where the numbers lie changes; the object stays.

A parameter begins as a recipe (how it is to be initialised), becomes a NumPy array when someone needs numbers, and lies
on the devices of a session once its model is bound to one.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from troupe import _troupe
from troupe._troupe import PlanError
from troupe.dtypes import FLOATS, dtype_name, numpy_dtype
from troupe.operators import TensorOperators

if TYPE_CHECKING:
    from troupe.nn.module import Module
    from troupe.session import Session


@dataclass(frozen=True)
class Initial:
    """How a parameter is initialised: an op that needs no operands, and its attributes; its random numbers are those of
    the parameter `of`, if there is one."""

    op: str
    attrs: tuple[tuple[str, float], ...]
    of: Parameter | None = None


_seed = 0


def manual_seed(seed: int) -> None:
    """The seed of parameters that are initialised outside a TrainStep (which has a seed of its own)."""
    global _seed
    _seed = int(seed)


def default_seed() -> int:
    """What `manual_seed` was last told."""
    return _seed


class Parameter(TensorOperators):
    """A tensor that outlives a step, trained when `requires_grad`. `Parameter(array)` starts with the array's numbers.

    While a model is traced it can be used like a tensor. Outside, `numpy()` gives its numbers.
    """

    def __init__(self, data: Any, requires_grad: bool = True):
        array = np.array(data)
        if isinstance(data, (int, float, list, tuple)) and array.dtype == np.float64:
            array = array.astype(np.float32)
        self._setup(array.shape, dtype_name(array.dtype), requires_grad)
        self._array: np.ndarray | None = np.ascontiguousarray(array).reshape(array.shape)

    def _setup(self, shape: Sequence[int], dtype: str, requires_grad: bool) -> None:
        if requires_grad and dtype not in FLOATS:
            raise PlanError(
                f"a parameter of type {dtype} cannot be trained; give requires_grad=False or a float dtype"
            )
        self.shape = tuple(int(s) for s in shape)
        self.dtype = dtype
        self.requires_grad = requires_grad
        self._array = None
        self._initial = Initial("fill", (("value", 0.0),))
        self._owner: tuple[weakref.ref[Module], str] | None = None
        self._session: weakref.ref[Session] | None = None
        self.bound_name = ""

    @classmethod
    def empty(cls, shape: Sequence[int], dtype: Any = "f32", requires_grad: bool = True) -> Parameter:
        """A parameter without numbers yet; zeros unless an `nn.init` function says otherwise."""
        result = cls.__new__(cls)
        result._setup(shape, dtype_name(dtype), requires_grad)
        return result

    @property
    def path(self) -> str:
        """The dotted name under the outermost module that holds this parameter; the key of its random numbers."""
        if self._owner is None:
            return "parameter"
        module, name = self._owner[0](), self._owner[1]
        prefix = module.path if module is not None else ""
        return f"{prefix}.{name}" if prefix else name

    def initialise(self, initial: Initial) -> None:
        """Numbers are drawn by `initial` when they are first needed; those there are forgotten."""
        if self.session is not None:
            self.copy_(_draw(initial, self.shape, self.dtype, (initial.of or self).path, _seed))
        else:
            self._array, self._initial = None, initial

    @property
    def initial(self) -> Initial:
        """How it was last told to be initialised."""
        return self._initial

    def materialise(self, seed: int) -> np.ndarray:
        """The numbers on the host, drawn now if they were not yet."""
        if self._array is None:
            keyed = self._initial.of or self
            self._array = _draw(self._initial, self.shape, self.dtype, keyed.path, seed)
        return self._array

    @property
    def session(self) -> Session | None:
        """The session whose devices hold the numbers; None while they are on the host."""
        session = self._session() if self._session is not None else None
        return session if session is not None and not session.closed else None

    def bind(self, session: Session, name: str) -> None:
        """From now on the numbers lie in the session's variable `name`."""
        self._session, self.bound_name, self._array = weakref.ref(session), name, None

    def release(self, array: np.ndarray) -> None:
        """From now on the numbers lie on the host again."""
        self._session, self._array = None, array

    def numpy(self) -> np.ndarray:
        """The numbers as a NumPy array: a copy of what the devices hold, or the host's own."""
        session = self.session
        if session is not None:
            return session.read(self.bound_name)
        return self.materialise(_seed)

    def copy_(self, array: Any) -> Parameter:
        """Takes the numbers of an array of the same shape. Raises PlanError when the shape differs."""
        values = np.asarray(array)
        if values.shape != self.shape:
            raise PlanError(
                f"parameter '{self.path}' has shape {list(self.shape)}, the array {list(values.shape)}"
            )
        values = np.ascontiguousarray(values, numpy_dtype(self.dtype)).reshape(self.shape)
        session = self.session
        if session is not None:
            session.write(self.bound_name, values)
        else:
            self._array = values.copy()
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.numpy().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __repr__(self) -> str:
        return f"Parameter({self.path}: {self.dtype}[{','.join(str(s) for s in self.shape)}])"


def _draw(initial: Initial, shape: tuple[int, ...], dtype: str, name: str, seed: int) -> np.ndarray:
    attrs: dict[str, Any] = {**dict(initial.attrs), "shape": list(shape), "dtype": dtype}
    return _troupe.run_op(initial.op, attrs, name, seed)
