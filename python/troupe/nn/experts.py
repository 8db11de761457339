"""Mixtures of experts: each token goes to a few of many feed-forward networks."""

from __future__ import annotations

import math
from typing import Any

from troupe import functional as F
from troupe._troupe import PlanError
from troupe.nn import init
from troupe.nn.module import Module
from troupe.nn.parameter import Parameter
from troupe.tensor import Tensor


class ExpertLinear(Module):
    """A linear layer per expert, without bias: x[experts, batch, places, in] to [experts, batch, places, out].

    weight: [experts, out, in], uniform in ±1/√in at the start. `expert_parallel` splits it by its first dim.
    """

    def __init__(self, experts: int, in_features: int, out_features: int, dtype: str = "f32"):
        super().__init__()
        self.experts, self.in_features, self.out_features = experts, in_features, out_features
        bound = 1 / math.sqrt(in_features) if in_features > 0 else 0.0
        self.weight = init.uniform_(Parameter.empty((experts, out_features, in_features), dtype), -bound, bound)

    def forward(self, x: Tensor, counts: Tensor | None = None) -> Tensor:
        return F.expert_linear(x, self.weight, counts)

    def extra_repr(self) -> str:
        return f"experts={self.experts}, in_features={self.in_features}, out_features={self.out_features}"


class Experts(Module):
    """The MLP of Llama once per expert: down(silu(gate(x)) · up(x)) on buffers [experts, batch, places, dim]."""

    def __init__(self, experts: int, dim: int, hidden: int, dtype: str = "f32"):
        super().__init__()
        self.gate_proj = ExpertLinear(experts, dim, hidden, dtype)
        self.up_proj = ExpertLinear(experts, dim, hidden, dtype)
        self.down_proj = ExpertLinear(experts, hidden, dim, dtype)

    def forward(self, x: Tensor, counts: Tensor | None = None) -> Tensor:
        return self.down_proj(F.swiglu(self.gate_proj(x, counts), self.up_proj(x, counts)), counts)


class Router(Module):
    """Chooses k of the experts for each token: x[batch, seq, dim] to the weights and the numbers of the chosen, both
    [batch, seq, k], and the probabilities of all, [batch, seq, experts].

    The probabilities are softmax(x · weightᵀ), in float32 in every precision; the k largest are chosen, of equal ones
    the expert with the lower number. The weights are their probabilities, divided by their sum if `normalize`: by
    default where k > 1 (with one, nothing would be left to learn from).
    """

    def __init__(self, experts: int, dim: int, k: int, normalize: bool | None = None, dtype: str = "f32"):
        super().__init__()
        if not 1 <= k <= experts:
            raise PlanError(f"Router: k={k} of {experts} experts; 1 to {experts} can be chosen")
        self.k, self.normalize = k, k > 1 if normalize is None else normalize
        bound = 1 / math.sqrt(dim) if dim > 0 else 0.0
        self.weight = init.uniform_(Parameter.empty((experts, dim), dtype), -bound, bound)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probabilities = F.softmax(F.linear(x, self.weight, full=True), -1)
        weights, choices = F.topk(probabilities, self.k)
        if self.normalize:
            weights = weights / weights.sum(-1, keepdim=True)
        return weights, choices, probabilities

    def extra_repr(self) -> str:
        return f"experts={self.weight.shape[0]}, k={self.k}, normalize={self.normalize}"


class MoE(Module):
    """A mixture of experts in place of an MLP: x[batch, seq, dim] to the same, and the loss that balances the experts.

    Every token goes to k of the experts, whose outputs are added with the router's weights. An expert has a buffer of C
    places for each row of the batch. capacity_factor: C is that times k·seq/experts, rounded up; tokens beyond it are
    dropped (first choices go before second ones, then tokens in order) and only a residual connection carries them.
    None: C is seq, which is never too small. dropless=True with a factor: no token is dropped, and more than C are a
    FaultError. Without dropping the experts compute only on the places that are taken (a dim of C is a bound), for
    which their devices are told the counts, int32 [experts, batch]; with it, on all C.

    The balance loss of a row is experts · Σ_e f_e · p_e, with f_e the fraction of the row's k·seq choices that fell on
    e, dropped ones too, and p_e the mean over its tokens of e's probability; it is 1 where all experts are alike. That
    of the batch is the mean over its rows, so that its bits do not depend on how rows are spread over devices. With k =
    1 it is eq. 4-6 of Fedus et al. 2021 for batches of one row (a row is a group of Lepikhin et al. 2020).
    Implementations that take f and p over all tokens of a micro-batch, and all layers, before they multiply let rows
    make up for one another; Hugging Face's `load_balancing_loss_func` does so, and has f_e per token and not per
    choice, so that it is k where all experts are alike: a coefficient for it counts k times here. A model's loss adds
    it with a small coefficient.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        experts: int,
        k: int = 2,
        capacity_factor: float | None = None,
        dropless: bool = False,
        normalize: bool | None = None,
        dtype: str = "f32",
    ):
        super().__init__()
        if capacity_factor is not None and capacity_factor <= 0:
            raise PlanError(f"MoE: capacity_factor={capacity_factor} must be above 0")
        self.count, self.k = experts, k
        self.capacity_factor, self.dropless = capacity_factor, dropless or capacity_factor is None
        self.router = Router(experts, dim, k, normalize, dtype)
        self.experts = Experts(experts, dim, hidden, dtype)

    def capacity(self, seq: int) -> int:
        """The places of an expert's buffer for a row of `seq` tokens."""
        if self.capacity_factor is None:
            return seq
        return min(seq, math.ceil(self.capacity_factor * self.k * seq / self.count))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seq = x.shape[1]
        weights, choices, probabilities = self.router(x)
        sizes = {"experts": self.count, "capacity": self.capacity(seq)}
        counts, places = F.expert_places(choices, **sizes, dropless=self.dropless, factor=self.capacity_factor)
        buffer = F.dispatch(x, choices, places, **sizes)
        y = F.combine(self.experts(buffer, counts if self.dropless else None), choices, places, weights)
        shares = counts.T.to(probabilities.dtype) * (self.count / (self.k * seq))
        return y, (shares * probabilities.mean(1)).sum(1).mean()

    def extra_repr(self) -> str:
        return f"k={self.k}, capacity_factor={self.capacity_factor}, dropless={self.dropless}"
