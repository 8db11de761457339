"""Losses and metrics as sums over weights, so that uneven masks mean the same however the batch is cut.

A piece contributes its sum and its weight; both are added over all pieces of the step, and the division comes once, at
the end. Only then is a mean over a batch independent of the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from troupe._troupe import PlanError
from troupe.dtypes import FLOATS
from troupe.operators import type_text
from troupe.tensor import Tensor
from troupe.trace import record


@dataclass(frozen=True)
class Term:
    """sum / weight, where the weight is a tensor to be added up or a number known beforehand; of a tensor, known_weight
    says how large it can be."""

    sum: Tensor
    weight: Tensor | None
    known_weight: float


@dataclass(frozen=True)
class Cut:
    """How the step's batch goes through the graph: `rounds` times `ranks` pieces, of which `pieces` are not empty."""

    pieces: int
    ranks: int


def terms_of(value: Tensor, cut: Cut, what: str) -> list[Term]:
    """A scalar as a sum of terms, one for each weight; records what scales them.

    Means over all elements and `cross_entropy` are weighted means. A sum over all elements is a sum over the batch. Any
    other scalar counts as the mean over the pieces. Raises PlanError for what is no floating point scalar.
    """
    if not isinstance(value, Tensor):
        raise PlanError(f"{what} must be a scalar tensor, got {type(value).__name__}")
    if value.shape != () or value.dtype not in FLOATS:
        raise PlanError(
            f"{what} must be a floating point scalar, but '{value.name}' is {type_text(value)}; reduce it "
            f"with .mean() or .sum()"
        )
    # What no data enters is the same for every piece and counts once with each; alone it is computed once per step.
    terms = _split(value, cut if _from_batch(value) else Cut(1, 1))
    known = [term for term in terms if term.weight is None]
    summed = [term for term in terms if term.weight is not None]
    by_weight: dict[int, Term] = {}
    for term in summed:
        assert term.weight is not None
        key = term.weight.id
        by_weight[key] = replace(term, sum=by_weight[key].sum + term.sum) if key in by_weight else term
    return _merge_known(known) + list(by_weight.values())


def _merge_known(terms: list[Term]) -> list[Term]:
    if len(terms) < 2:
        return terms
    total = terms[0].sum * (1 / terms[0].known_weight)
    for term in terms[1:]:
        total = total + term.sum * (1 / term.known_weight)
    return [Term(total, None, 1.0)]


def _split(value: Tensor, cut: Cut) -> list[Term]:
    trace = value.trace
    op, operands, attrs = trace.graph.producer(value.id)
    inputs = [Tensor(trace, operand) for operand in operands]
    if op == "weighted_mean":
        weight_op, counted, _ = trace.graph.producer(inputs[1].id)
        if weight_op == "count":
            of = Tensor(trace, counted[0])
            ranks = cut.ranks if _from_batch(of) else 1  # a batch's elements are those of a round
            return [Term(inputs[0], None, of.numel() * cut.pieces / ranks)]
        sum_op, summed, _ = trace.graph.producer(inputs[0].id)
        most = Tensor(trace, summed[0]).numel() * cut.pieces / cut.ranks if sum_op == "reduce_sum" else cut.pieces
        return [Term(inputs[0], inputs[1], most)]
    if op in ("add", "sub"):
        right = _split(inputs[1], cut)
        return _split(inputs[0], cut) + (right if op == "add" else _scaled(right, -1.0))
    if op == "mul_scalar":
        return _scaled(_split(inputs[0], cut), attrs["value"])
    if op == "neg":
        return _scaled(_split(inputs[0], cut), -1.0)
    if op == "reduce_sum":
        return [Term(value, None, 1.0)]
    return [Term(value, None, float(cut.pieces))]


def _from_batch(value: Tensor) -> bool:
    graph, seen, left = value.trace.graph, set(), [value.id]
    while left:
        here = left.pop()
        if here in seen:
            continue
        seen.add(here)
        op, operands, _ = graph.producer(here)
        if op == "source":
            return True
        left += operands
    return False


def _scaled(terms: list[Term], factor: float) -> list[Term]:
    return [replace(term, sum=term.sum * factor) for term in terms]


def total_weight(term: Term) -> Tensor:
    """The weight of the whole step; recorded in the update."""
    if term.weight is not None:
        return term.weight
    return record("fill", value=term.known_weight, shape=[], dtype=term.sum.dtype)


def mean_of(terms: list[Term]) -> Tensor:
    """The value over the whole step; recorded in the update, where sums are totals."""
    result = record("div", terms[0].sum, total_weight(terms[0]))
    for term in terms[1:]:
        result = result + record("div", term.sum, total_weight(term))
    return result
