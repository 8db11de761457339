"""The layers, with PyTorch's arguments, parameter names and initialisation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from troupe import functional as F
from troupe.nn import init
from troupe.nn.module import Module
from troupe.nn.parameter import Parameter
from troupe.tensor import Tensor


class Linear(Module):
    """y[..., out] = x[..., in] · weight[out, in]ᵀ + bias[out]. Uniform in ±1/√in at the start."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: str = "f32"):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features) if in_features > 0 else 0.0
        self.weight = init.uniform_(Parameter.empty((out_features, in_features), dtype), -bound, bound)
        self.bias: Any = None
        if bias:
            self.bias = init.uniform_(Parameter.empty((out_features,), dtype), -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class Embedding(Module):
    """Rows of weight[count, dim] for integer ids of any shape: [..., dim]. Normal at the start."""

    def __init__(self, num_embeddings: int, embedding_dim: int, dtype: str = "f32"):
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = init.normal_(Parameter.empty((num_embeddings, embedding_dim), dtype))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


class EmbeddingBag(Module):
    """The "sum" or "mean" of the rows of weight[count, dim] for ids[..., bag]: [..., dim]. Normal at the start."""

    def __init__(self, num_embeddings: int, embedding_dim: int, mode: str = "mean", dtype: str = "f32"):
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.mode = num_embeddings, embedding_dim, mode
        self.weight = init.normal_(Parameter.empty((num_embeddings, embedding_dim), dtype))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding_bag(ids, self.weight, self.mode)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, mode={self.mode}"


class LayerNorm(Module):
    """Rows of the last dim at mean 0 and variance 1, times weight, plus bias; both [dim]."""

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, dtype: str = "f32"):
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        self.weight = init.ones_(Parameter.empty(shape, dtype))
        self.bias = init.zeros_(Parameter.empty(shape, dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{list(self.normalized_shape)}, eps={self.eps}"


class RMSNorm(Module):
    """Rows of the last dim over the root of their mean square, times weight[dim].

    eps is added to the mean square; None: the distance from 1 to the next number of the dtype.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: str = "f32",
    ):
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        self.weight: Any = None
        if elementwise_affine:
            self.weight = init.ones_(Parameter.empty(shape, dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        affine = self.weight is not None
        return f"{list(self.normalized_shape)}, eps={self.eps}, elementwise_affine={affine}"


class Dropout(Module):
    """In training, each element zero with probability p and the others divided by 1 - p."""

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class GELU(Module):
    """x times the normal distribution function of x; approximate="tanh" for the tanh form."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, self.approximate)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class SiLU(Module):
    """x / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class Identity(Module):
    """x itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class CrossEntropyLoss(Module):
    """`functional.cross_entropy` as a module."""

    def __init__(self, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__()
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, self.ignore_index, self.reduction)


class BCEWithLogitsLoss(Module):
    """`functional.binary_cross_entropy_with_logits` as a module. weight, pos_weight: numbers, or what broadcasts."""

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__()
        self.weight, self.reduction, self.pos_weight = weight, reduction, pos_weight

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(x, target, self.weight, self.reduction, self.pos_weight)


class MSELoss(Module):
    """`functional.mse_loss` as a module."""

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(x, target, self.reduction)


class ModuleList(Module):
    """A list of modules, named "0", "1", ..."""

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """Adds a module at the end."""
        setattr(self, str(len(self._modules)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Any:
        found = list(self._modules.values())[index]
        return self._of(found) if isinstance(found, list) else found

    @staticmethod
    def _of(modules: list[Module]) -> ModuleList:
        return ModuleList(modules)


class Sequential(ModuleList):
    """Modules one after another: each gets what the one before returns."""

    def __init__(self, *modules: Module):
        super().__init__(modules)

    @staticmethod
    def _of(modules: list[Module]) -> Sequential:
        return Sequential(*modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x
