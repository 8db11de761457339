"""Text, or any sequence of tokens, sampled from a language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from troupe._troupe import PlanError
from troupe.evaluation import evaluating
from troupe.nn.module import Module
from troupe.step import TrainStep


SHORTEST = 32
"""Texts are padded to this length and then to powers of two, so that few plans serve all lengths."""


def generate(
    model: TrainStep | Module,
    prompt: Sequence[int] | np.ndarray | bytes,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    context: int | None = None,
) -> np.ndarray:
    """The prompt and `max_new_tokens` sampled tokens after it, as an i32 array.

    model: maps ids [1, length] to logits [1, length, classes], each position from those before it alone. prompt: at
    least one token id (bytes are ids). temperature: 0 takes the most likely token. top_k: samples among so many.
    context: how many tokens the model can see (its attribute `context` by default, if it has one); of a longer text it
    sees the last ones. The model runs on its session's devices, with training behaviour off.
    """
    module = model.model if isinstance(model, TrainStep) else model
    if isinstance(model, TrainStep):
        _ = model.session
    ids = np.frombuffer(prompt, np.uint8) if isinstance(prompt, bytes) else np.asarray(prompt)
    if ids.ndim != 1 or len(ids) == 0 or not np.issubdtype(ids.dtype, np.integer):
        raise PlanError(f"the prompt is a list of at least one token id, not {ids.dtype}{list(ids.shape)}")
    if temperature < 0 or max_new_tokens < 0 or (top_k is not None and top_k < 1):
        raise PlanError(
            f"temperature={temperature}, max_new_tokens={max_new_tokens} and top_k={top_k} must not be "
            f"negative, and top_k at least 1"
        )
    total = len(ids) + max_new_tokens
    limit = context if context is not None else getattr(module, "context", total)
    random = np.random.Generator(np.random.Philox(key=seed))
    tokens = np.zeros(total, np.int32)
    tokens[: len(ids)] = ids
    with evaluating(module):
        for end in range(len(ids), total):
            length = min(int(limit), max(SHORTEST, 1 << (end - 1).bit_length()), total)
            first = max(0, end - length)
            window = tokens[first : first + length].reshape(1, -1)
            logits: Any = module(window)
            tokens[end] = _sample(logits[0, end - first - 1].astype(np.float64), temperature, top_k, random)
    return tokens


def _sample(logits: np.ndarray, temperature: float, top_k: int | None, random: np.random.Generator) -> int:
    if temperature == 0:
        return int(np.argmax(logits))
    logits = logits / temperature
    if top_k is not None and top_k < len(logits):
        logits = np.where(logits >= np.partition(logits, -top_k)[-top_k], logits, -np.inf)
    probabilities = np.exp(logits - logits.max())
    return int(np.searchsorted(np.cumsum(probabilities), random.random() * probabilities.sum(), side="right"))
