"""What tensors and parameters can do: the operators and methods PyTorch users expect.

Nothing is computed when an operator runs; it records a node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from troupe._troupe import PlanError
from troupe.dtypes import FLOATS, dtype_name
from troupe.trace import line_text, record

if TYPE_CHECKING:
    from troupe.tensor import Tensor

Number = int | float


def _list_of(numbers: Sequence[Any]) -> list[int]:
    """Whole numbers given one by one or as one list."""
    if len(numbers) == 1 and not isinstance(numbers[0], (int, np.integer)):
        numbers = numbers[0]
    return [int(n) for n in numbers]


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, np.integer, np.floating)) and not isinstance(x, bool)


def dims_from_front(rank: int, dim: int | Sequence[int] | None, what: str) -> list[int]:
    """Dims counted from the front; all of them for None. Raises PlanError for a dim that is not there."""
    if dim is None:
        return list(range(rank))
    result = []
    for d in [dim] if isinstance(dim, (int, np.integer)) else dim:
        if not -rank <= d < rank:
            raise PlanError(f"{what}: there is no dim {d} in a tensor of {rank} dims {line_text()}")
        result.append(int(d) % rank)
    return result


class TensorOperators:
    """What tensors and parameters can do. Methods take and return tensors; shapes as in PyTorch."""

    shape: tuple[int, ...]
    dtype: str
    __array_priority__ = 1000
    __array_ufunc__ = None

    @property
    def ndim(self) -> int:
        """The number of dims."""
        return len(self.shape)

    def dim(self) -> int:
        """The number of dims."""
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dim."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor without dims")
        return self.shape[0]

    # Arithmetic.

    def _filled(self, value: Any) -> Any:
        """A number as a tensor without dims of this dtype; tensors as they are."""
        return record("fill", value=float(value), shape=[], dtype=self.dtype) if _is_number(value) else value

    def _scalar_form(self, other: Any) -> bool:
        return _is_number(other) and self.dtype in FLOATS

    def __add__(self, other: Any) -> Tensor:
        if self._scalar_form(other):
            return record("add_scalar", self, value=float(other))
        return record("add", self, self._filled(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tensor:
        if self._scalar_form(other):
            return record("add_scalar", self, value=-float(other))
        return record("sub", self, self._filled(other))

    def __rsub__(self, other: Any) -> Tensor:
        if self._scalar_form(other):
            return record("rsub_scalar", self, value=float(other))
        return record("sub", self._filled(other), self)

    def __mul__(self, other: Any) -> Tensor:
        if self._scalar_form(other):
            return record("mul_scalar", self, value=float(other))
        return record("mul", self, self._filled(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Tensor:
        if self._scalar_form(other):
            return record("mul_scalar", self, value=1.0 / other)
        return record("div", self, self._filled(other))

    def __rtruediv__(self, other: Any) -> Tensor:
        if self._scalar_form(other):
            return record("rdiv_scalar", self, value=float(other))
        return record("div", self._filled(other), self)

    def __pow__(self, exponent: Number) -> Tensor:
        if not _is_number(exponent):
            raise PlanError(
                f"pow: the exponent is a number; for a tensor write exp(exponent * x.log()) {line_text()}"
            )
        return record("square", self) if exponent == 2 else record("pow_scalar", self, value=float(exponent))

    def __neg__(self) -> Tensor:
        return record("neg", self)

    def __abs__(self) -> Tensor:
        return record("abs", self)

    def __matmul__(self, other: Any) -> Tensor:
        return record("matmul", self, other, trans_a=0, trans_b=0)

    def __rmatmul__(self, other: Any) -> Tensor:
        return record("matmul", other, self, trans_a=0, trans_b=0)

    matmul = __matmul__
    add = __add__
    sub = __sub__
    mul = __mul__
    div = __truediv__
    pow = __pow__
    neg = __neg__
    abs = __abs__

    # Comparison: tensors of bool.

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return record("equal", self, self._filled(other))

    def __lt__(self, other: Any) -> Tensor:
        return record("less", self, self._filled(other))

    def __gt__(self, other: Any) -> Tensor:
        return record("less", self._filled(other), self)

    __hash__ = object.__hash__

    # One element at a time.

    def exp(self) -> Tensor:
        """e to the power of each element."""
        return record("exp", self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return record("log", self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return record("sqrt", self)

    def rsqrt(self) -> Tensor:
        """One over the square root."""
        return record("rsqrt", self)

    def square(self) -> Tensor:
        """Each element times itself."""
        return record("square", self)

    def sin(self) -> Tensor:
        """The sine."""
        return record("sin", self)

    def cos(self) -> Tensor:
        """The cosine."""
        return record("cos", self)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
        return record("tanh", self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return record("sigmoid", self)

    def relu(self) -> Tensor:
        """max(x, 0)."""
        return record("relu", self)

    def clamp(self, min: Number | None = None, max: Number | None = None) -> Tensor:
        """Each element, at least `min` and at most `max`."""
        result: Any = self
        if min is not None:
            result = record("maximum_scalar", result, value=float(min))
        if max is not None:
            result = record("minimum_scalar", result, value=float(max))
        return result

    def to(self, dtype: Any) -> Tensor:
        """The same numbers as another dtype."""
        name = dtype_name(dtype)
        return record("cast", self, dtype=name)

    def float(self) -> Tensor:
        """As float32."""
        return self.to("f32")

    def long(self) -> Tensor:
        """As int64."""
        return self.to("i64")

    def softmax(self, dim: int) -> Tensor:
        """Softmax along `dim`."""
        return record("softmax", self, dim=dims_from_front(self.ndim, dim, "softmax")[0])

    def log_softmax(self, dim: int) -> Tensor:
        """The logarithm of the softmax along `dim`."""
        return record("log_softmax", self, dim=dims_from_front(self.ndim, dim, "log_softmax")[0])

    # Shapes.

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in row-major order with another shape (sizes, or one list of them); one may be -1."""
        sizes = _list_of(shape)
        known = math.prod(s for s in sizes if s != -1)
        if sizes.count(-1) == 1 and known and self.numel() % known == 0:
            sizes[sizes.index(-1)] = self.numel() // known
        if math.prod(sizes) != self.numel() or min(sizes, default=0) < 0:
            raise PlanError(
                f"reshape: {type_text(self)} has {self.numel()} elements and cannot become {sizes} {line_text()}"
            )
        return record("reshape", self, shape=sizes)

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Dims start_dim..end_dim become one."""
        first, last = dims_from_front(self.ndim, [start_dim, end_dim], "flatten")
        return self.reshape(
            *self.shape[:first], math.prod(self.shape[first : last + 1]), *self.shape[last + 1 :]
        )

    def permute(self, *dims: Any) -> Tensor:
        """Dims in another order (dims, or one list of them)."""
        return record("transpose", self, perm=dims_from_front(self.ndim, _list_of(dims), "permute"))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two dims exchanged."""
        a, b = dims_from_front(self.ndim, [dim0, dim1], "transpose")
        order = list(range(self.ndim))
        order[a], order[b] = b, a
        return record("transpose", self, perm=order)

    @property
    def T(self) -> Tensor:
        """A matrix with its two dims exchanged."""
        return self.transpose(-2, -1)

    mT = T

    def unsqueeze(self, dim: int) -> Tensor:
        """A new dim of size 1 before position `dim`."""
        at = dims_from_front(self.ndim + 1, dim, "unsqueeze")[0]
        return self.reshape(*self.shape[:at], 1, *self.shape[at:])

    def squeeze(self, dim: int) -> Tensor:
        """Without the dim `dim`, whose size is 1."""
        at = dims_from_front(self.ndim, dim, "squeeze")[0]
        return (
            self.reshape(*self.shape[:at], *self.shape[at + 1 :])
            if self.shape[at] == 1
            else self.reshape(*self.shape)
        )

    def expand(self, *shape: int) -> Tensor:
        """Dims of size 1 repeated to the sizes of `shape`; -1 keeps a size."""
        lead = len(shape) - self.ndim
        sizes = [self.shape[i - lead] if s == -1 and i >= lead else s for i, s in enumerate(shape)]
        return record("expand", self, shape=sizes)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """At most `chunks` parts along `dim`, all but the last of equal size."""
        size = self.shape[dims_from_front(self.ndim, dim, "chunk")[0]]
        return self.split(-(-size // chunks), dim)

    def split(self, size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Parts along `dim`: of `size` elements each (the last may be shorter), or of the listed sizes."""
        at = dims_from_front(self.ndim, dim, "split")[0]
        whole = self.shape[at]
        sizes = [min(size, whole - i) for i in range(0, whole, size)] if isinstance(size, int) else list(size)
        parts = record("split", self, dim=at, sizes=sizes)
        return parts if isinstance(parts, tuple) else (parts,)

    def __getitem__(self, index: Any) -> Tensor:
        items = list(index) if isinstance(index, tuple) else [index]
        if Ellipsis in [i for i in items if i is Ellipsis]:
            at = next(n for n, i in enumerate(items) if i is Ellipsis)
            given = sum(1 for i in items if i is not None and i is not Ellipsis)
            items[at : at + 1] = [slice(None)] * (self.ndim - given)
        result: Any = self
        shape: list[int] = []
        dim = 0
        for item in items:
            if item is None:
                shape.append(1)
                continue
            if dim >= self.ndim:
                raise PlanError(f"indexing: {len(items)} indices for {type_text(self)} {line_text()}")
            size = self.shape[dim]
            if isinstance(item, (int, np.integer)):
                if not -size <= item < size:
                    raise PlanError(
                        f"indexing: there is no element {item} in dim {dim} of {type_text(self)} {line_text()}"
                    )
                start = int(item) % size
                result = record("slice", result, dim=dim, start=start, stop=start + 1)
            elif isinstance(item, slice):
                start, stop, step = item.indices(size)
                if step != 1:
                    raise PlanError(
                        f"indexing: a slice with a step of {step} is not possible; reshape, then take one "
                        f"element of a dim {line_text()}"
                    )
                stop = max(start, stop)
                if (start, stop) != (0, size):
                    result = record("slice", result, dim=dim, start=start, stop=stop)
                shape.append(stop - start)
            else:
                raise PlanError(
                    f"indexing by {type(item).__name__}: an index is a number or a slice; to look rows up "
                    f"use functional.embedding, to select use functional.where {line_text()}"
                )
            dim += 1
        shape += self.shape[dim:]
        if result is self or list(result.shape) != shape:
            result = result.reshape(*shape)
        return result

    # Reductions.

    def sum(self, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """The sum over `dim` (all dims when None)."""
        return record("reduce_sum", self, dims=dims_from_front(self.ndim, dim, "sum"), keep=int(keepdim))

    def mean(self, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """The mean over `dim`. Over all dims it is a (sum, weight) pair, exact on every mesh."""
        if self.dtype not in FLOATS:
            raise PlanError(
                f"mean: {type_text(self)} is no floating point tensor; write x.float().mean() {line_text()}"
            )
        if dim is None and not keepdim:
            return record("weighted_mean", self.sum(), record("count", self, dtype=self.dtype))
        return record("reduce_mean", self, dims=dims_from_front(self.ndim, dim, "mean"), keep=int(keepdim))

    def amax(self, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """The largest element over `dim`."""
        return record("reduce_max", self, dims=dims_from_front(self.ndim, dim, "amax"), keep=int(keepdim))

    def amin(self, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """The smallest element over `dim`."""
        return record("reduce_min", self, dims=dims_from_front(self.ndim, dim, "amin"), keep=int(keepdim))


def type_text(tensor: TensorOperators) -> str:
    """ "f32[8,16]"."""
    return f"{tensor.dtype}[{','.join(str(s) for s in tensor.shape)}]"
