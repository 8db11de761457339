"""Functions on tensors with PyTorch's names, arguments and meaning. They record nodes; shapes are checked at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from troupe._troupe import PlanError
from troupe.convolution import (
    adaptive_avg_pool2d as adaptive_avg_pool2d,
    avg_pool2d as avg_pool2d,
    batch_norm as batch_norm,
    conv2d as conv2d,
    max_pool2d as max_pool2d,
)
from troupe.dtypes import numpy_dtype
from troupe.operators import dims_from_front, type_text
from troupe.tensor import Tensor
from troupe.trace import line_text, record


def linear(x: Any, weight: Any, bias: Any = None, *, full: bool = False) -> Tensor:
    """x[..., in] times weight[out, in] transposed, plus bias[out]; [..., out]. full: in float32 in every precision."""
    return record("linear", x, weight, *([] if bias is None else [bias]), **({"full": 1} if full else {}))


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """The matrix product over the last two dims, the others in parallel."""
    return record("matmul", a, b, trans_a=int(transpose_a), trans_b=int(transpose_b))


def embedding(ids: Any, weight: Any) -> Tensor:
    """Rows of weight[count, dim] for ids of any shape; [..., dim]."""
    return record("embedding", ids, weight)


def embedding_bag(ids: Any, weight: Any, mode: str = "mean") -> Tensor:
    """The "sum" or "mean" of the rows of weight[count, dim] for ids[..., bag]; [..., dim]."""
    if mode not in ("sum", "mean"):
        raise PlanError(f"embedding_bag: mode={mode!r}; it is 'sum' or 'mean' {line_text()}")
    if ids.ndim < 2:
        raise PlanError(f"embedding_bag: {type_text(ids)} must have two dims or more, the last of a bag {line_text()}")
    rows = embedding(ids, weight)
    return rows.sum(-2) if mode == "sum" else rows.mean(-2)


def layer_norm(
    x: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Rows of the last dim at mean 0 and variance 1, times weight, plus bias. Only the last dim can be normalised."""
    if list(normalized_shape) != [x.shape[-1]]:
        raise PlanError(
            f"layer_norm: the last dim is normalised, {type_text(x)} has {x.shape[-1]} there, but "
            f"normalized_shape is {list(normalized_shape)} {line_text()}"
        )
    if weight is None:
        weight = record("fill", value=1.0, shape=[x.shape[-1]], dtype=x.dtype)
    if bias is None:
        bias = record("fill", value=0.0, shape=[x.shape[-1]], dtype=x.dtype)
    return record("layer_norm", x, weight, bias, eps=eps)[0]


def rms_norm(x: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Tensor:
    """Rows of the last dim over the root of their mean square, times weight. Only the last dim can be normalised.

    eps is added to the mean square; None: the distance from 1 to the next number of x's dtype.
    """
    if list(normalized_shape) != [x.shape[-1]]:
        raise PlanError(
            f"rms_norm: the last dim is normalised, {type_text(x)} has {x.shape[-1]} there, but "
            f"normalized_shape is {list(normalized_shape)} {line_text()}"
        )
    if weight is None:
        weight = record("fill", value=1.0, shape=[x.shape[-1]], dtype=x.dtype)
    if eps is None:
        eps = float(np.finfo(numpy_dtype(x.dtype)).eps)
    return record("rms_norm", x, weight, eps=float(eps))[0]


def normalize(x: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x over its length along `dim`, or over eps where that is larger: the root of the sum of squares (p=2)."""
    if p != 2:
        raise PlanError(f"normalize: p={p}; only the length of squares, p=2, is possible {line_text()}")
    at = dims_from_front(len(x.shape), dim, "normalize")[0]
    if at == len(x.shape) - 1:
        return record("normalize", x, eps=float(eps))[0]
    return record("normalize", x.transpose(at, -1), eps=float(eps))[0].transpose(at, -1)


def softmax(x: Any, dim: int) -> Tensor:
    """exp(x) over its sum along `dim`."""
    return x.softmax(dim)


def log_softmax(x: Any, dim: int) -> Tensor:
    """The logarithm of the softmax along `dim`."""
    return x.log_softmax(dim)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x; approximate="tanh" for the tanh form."""
    if approximate not in ("none", "tanh"):
        raise PlanError(f"gelu: approximate={approximate!r}; it is 'none' or 'tanh' {line_text()}")
    return record("gelu", x, approximate=int(approximate == "tanh"))


def relu(x: Any) -> Tensor:
    """max(x, 0)."""
    return record("relu", x)


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent."""
    return record("tanh", x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    return record("sigmoid", x)


def silu(x: Any) -> Tensor:
    """x / (1 + exp(-x))."""
    return record("silu", x)


def softplus(x: Any) -> Tensor:
    """ln(1 + exp(x)), without overflow, and without losing what is small."""
    return record("softplus", x)


def swiglu(gate: Any, up: Any) -> Tensor:
    """silu(gate) · up in one pass over memory, and so are its gradients; both have one shape."""
    return record("swiglu", gate, up)


def exp(x: Any) -> Tensor:
    """e to the power of each element."""
    return record("exp", x)


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return record("log", x)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b; shapes are broadcast."""
    return record("where", condition, a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of each pair of elements."""
    return record("minimum", a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of each pair of elements."""
    return record("maximum", a, b)


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors one after another along `dim`."""
    if not tensors:
        raise PlanError(f"cat: the list of tensors is empty {line_text()}")
    return record("concat", *tensors, dim=dims_from_front(tensors[0].ndim, dim, "cat")[0])


def stack(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors of equal shape along a new dim."""
    return cat([t.unsqueeze(dim) for t in tensors], dim)


def zeros(*shape: int, dtype: str = "f32") -> Tensor:
    """A tensor of zeros."""
    return record("fill", value=0.0, shape=list(shape), dtype=dtype)


def ones(*shape: int, dtype: str = "f32") -> Tensor:
    """A tensor of ones."""
    return record("fill", value=1.0, shape=list(shape), dtype=dtype)


def full(shape: Sequence[int], value: float, dtype: str = "f32") -> Tensor:
    """A tensor of one value."""
    return record("fill", value=float(value), shape=list(shape), dtype=dtype)


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Each element zero with probability p, the others divided by 1 - p. Drawn from (seed, path, step, piece, element),
    so that every layout draws the same."""
    if not 0 <= p < 1:
        raise PlanError(f"dropout: p is {p}; it is at least 0 and below 1 {line_text()}")
    if not training or p == 0:
        return x
    return record("dropout", x, p=float(p))


def rope(x: Any, theta: float = 10000.0, *, seq_dim: int = 2) -> Tensor:
    """Rotary positions: in each row of x's last dim, numbers j and j + d/2 are a pair and turned by p · theta^(-2j/d).

    The place p, counted from 0, is the index along `seq_dim`: 2 for [batch, heads, seq, d], 1 for
    [batch, seq, heads, d]. The pairs are those of the Llama checkpoints in Hugging Face's form ("rotate half").
    """
    return record("rope", x, theta=float(theta), seq_dim=seq_dim)


def topk(x: Any, k: int) -> tuple[Tensor, Tensor]:
    """The k largest elements along the last dim, largest first, and their places (i32); of equal ones the lower
    first."""
    return record("top_k", x, k=int(k))


def expert_places(
    choices: Any, experts: int, capacity: int, dropless: bool = False, factor: float | None = None
) -> tuple[Tensor, Tensor]:
    """counts[experts, batch]: how many tokens of each row of choices[batch, seq, k] (i32) chose each expert;
    places[batch, seq, k]: where in the expert's buffer each goes, first choices first, or -1 beyond `capacity`.

    dropless: a count above `capacity` is a FaultError, which names `factor`.
    """
    options = {} if factor is None else {"capacity_factor": float(factor)}
    return record("expert_places", choices, experts=experts, capacity=capacity, dropless=int(dropless), **options)


def dispatch(x: Any, choices: Any, places: Any, experts: int, capacity: int) -> Tensor:
    """x[batch, seq, dim] in the buffers of the chosen experts: [experts, batch, capacity, dim], zero where no token
    is."""
    return record("dispatch", x, choices, places, experts=experts, capacity=capacity)


def combine(buffer: Any, choices: Any, places: Any, weights: Any) -> Tensor:
    """[batch, seq, dim]: for each token the sum of weights[batch, seq, k] times its rows of the experts' buffers."""
    return record("combine", buffer, choices, places, weights)


def expert_linear(x: Any, weight: Any, counts: Any = None) -> Tensor:
    """x[experts, batch, places, in] times each expert's weight[out, in] transposed; weight[experts, out, in].

    counts[experts, batch] (i32): only so many places are computed, the others are zero.
    """
    return record("expert_linear", x, weight, *([] if counts is None else [counts]))


def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    seq_dim: int = 2,
) -> Tensor:
    """softmax(q kᵀ · scale) v without ever storing the scores; scale is 1/√d when None.

    q, k, v: [batch, heads, seq, d], or [batch, seq, heads, d] with seq_dim=1. The result has the shape of q. k and v
    may have fewer heads (grouped queries): each then serves heads/kv_heads of q that follow one another.

    attn_mask: bool[batch, 1, 1, keys], true for the keys that queries of this batch may see (false for padding); it
    goes together with `is_causal`. A query that sees no key gives zeros. Other masks of PyTorch's are a PlanError.

    dropout_p: of the softmax's results; the scores are then stored. It goes neither with `is_causal` nor with fewer
    heads of k and v.
    """
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else float(scale)
    if dropout_p:
        if is_causal or q.shape[3 - seq_dim] != k.shape[3 - seq_dim]:
            raise PlanError(
                f"scaled_dot_product_attention: dropout_p={dropout_p} goes neither with is_causal nor with fewer heads "
                f"of k and v; use dropout on the result instead {line_text()}"
            )
        return _attention_with_dropout(q, k, v, attn_mask, dropout_p, scale, seq_dim)
    operands = (q, k, v) if attn_mask is None else (q, k, v, attn_mask)
    return record("attention", *operands, causal=int(is_causal), scale=scale, seq_dim=seq_dim)[0]


def _attention_with_dropout(q: Any, k: Any, v: Any, mask: Any, p: float, scale: float, seq_dim: int) -> Tensor:
    if seq_dim == 1:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    scores = matmul(q, k, transpose_b=True) * scale
    if mask is None:
        weights = softmax(scores, -1)
    else:  # a row of -inf alone would be NaN
        weights = softmax(where(mask, scores, full([], -1e30, scores.dtype)), -1)
        weights = where(mask, weights, full([], 0.0, scores.dtype))
    mixed = matmul(dropout(weights, p), v)
    return mixed.transpose(1, 2) if seq_dim == 1 else mixed


def cross_entropy(logits: Any, labels: Any, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """The negative log likelihood of labels[...] under softmax(logits[..., classes]).

    The classes are the last dim. (PyTorch's class dim is 1: for two dims they are the same, and flattened logits and
    labels mean the same here.) Rows whose label is `ignore_index` do not count. reduction: "mean" over the rows that
    count, "sum", or "none" for a loss per row.
    """
    if reduction not in ("mean", "sum", "none"):
        raise PlanError(
            f"cross_entropy: reduction={reduction!r}; it is 'mean', 'sum' or 'none' {line_text()}"
        )
    rows = record("cross_entropy", logits, labels, ignore_index=int(ignore_index))[0]
    if reduction == "none":
        return rows
    total = rows.sum()
    if reduction == "sum":
        return total
    return record(
        "weighted_mean",
        total,
        record("count_labels", labels, ignore_index=int(ignore_index), dtype=logits.dtype),
    )


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The square of the difference: its mean over all elements, its "sum", or "none" for each element."""
    if tuple(x.shape) != tuple(target.shape):
        raise PlanError(
            f"mse_loss: {type_text(x)} and the target {type_text(target)} must have one shape {line_text()}"
        )
    if reduction not in ("mean", "sum", "none"):
        raise PlanError(f"mse_loss: reduction={reduction!r}; it is 'mean', 'sum' or 'none' {line_text()}")
    squares = (x - target).square()
    if reduction == "none":
        return squares
    return squares.mean() if reduction == "mean" else squares.sum()


def binary_cross_entropy_with_logits(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """-pos_weight · target · ln(sigmoid(x)) - (1 - target) · ln(1 - sigmoid(x)), times weight, for targets from 0 to 1:
    its mean over all elements, its "sum", or "none" for each element. pos_weight and weight are broadcast."""
    if tuple(x.shape) != tuple(target.shape) or x.dtype != target.dtype:
        raise PlanError(
            f"binary_cross_entropy_with_logits: {type_text(x)} and the target {type_text(target)} must have one "
            f"shape and one dtype {line_text()}"
        )
    if reduction not in ("mean", "sum", "none"):
        raise PlanError(
            f"binary_cross_entropy_with_logits: reduction={reduction!r}; it is 'mean', 'sum' or 'none' {line_text()}"
        )
    # Each logarithm by itself: none is the difference of larger numbers.
    hit = target * softplus(-x)
    each = (hit if pos_weight is None else hit * pos_weight) + (1.0 - target) * softplus(x)
    if weight is not None:
        each = each * weight
    if reduction == "none":
        return each
    return each.mean() if reduction == "mean" else each.sum()
