"""Llama's formulas in float64, for any layer behind its attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from models.llama.model import Configuration


def gated(y: np.ndarray, gate: np.ndarray, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """down (silu(gate y) * up y) for y [..., dim]."""
    opened = y @ gate.T
    return (opened / (1 + np.exp(-opened)) * (y @ up.T)) @ down.T


def llama_logits(
    weights: Mapping[str, np.ndarray], ids: np.ndarray, of: Configuration, feed_forward: Callable
) -> np.ndarray:
    """Logits of ids [seq] from weights with Llama's names; feed_forward(weights, a block's path, y [seq, dim]) is what
    stands behind each block's attention."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    d = of.dim // of.heads

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + of.eps) * w[f"{name}.weight"]

    def turned(x):  # [heads, seq, d]: a pair as one complex number
        angle = np.arange(len(ids))[:, None] * of.theta ** (-np.arange(d // 2) / (d // 2))
        pairs = (x[..., : d // 2] + 1j * x[..., d // 2 :]) * np.exp(1j * angle)
        return np.concatenate((pairs.real, pairs.imag), -1)

    x = w["model.embed_tokens.weight"][ids]
    for i in range(of.layers):
        block = f"model.layers.{i}"
        y = norm(x, f"{block}.input_layernorm")
        q, k, v = (
            (y @ w[f"{block}.self_attn.{part}_proj.weight"].T).reshape(len(ids), -1, d).swapaxes(0, 1) for part in "qkv"
        )
        k, v = (np.repeat(t, of.heads // of.kv_heads, 0) for t in (turned(k), v))
        scores = turned(q) @ k.swapaxes(1, 2) / np.sqrt(d) + np.triu(np.full((len(ids),) * 2, -np.inf), 1)
        weight = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weight / weight.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), of.dim)
        x = x + mixed @ w[f"{block}.self_attn.o_proj.weight"].T
        y = norm(x, f"{block}.post_attention_layernorm")
        x = x + feed_forward(w, block, y)
    return norm(x, "model.norm") @ w["lm_head.weight"].T
