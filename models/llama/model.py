"""Llama (Touvron et al. 2023): the mathematics, as if for one device.

Parameters have the names, shapes and meaning of the published checkpoints in Hugging Face's form.
"""

from __future__ import annotations

from dataclasses import dataclass

import troupe as tr
from troupe import functional as F
from troupe import nn


@dataclass(frozen=True)
class Configuration:
    """What makes one Llama differ from another."""

    vocab: int
    layers: int
    dim: int
    heads: int
    kv_heads: int
    """Heads of keys and values; each serves heads / kv_heads heads of queries."""
    hidden: int
    """The width of the MLP."""
    context: int
    """How many tokens the model is trained to see; the mathematics has no bound."""
    theta: float = 10000.0
    """The base of the rotary positions."""
    eps: float = 1e-5

    def parameter_count(self) -> int:
        """How many numbers the model holds."""
        attention = 2 * self.dim * (self.dim // self.heads) * (self.heads + self.kv_heads)
        block = attention + 3 * self.dim * self.hidden + 2 * self.dim
        return self.layers * block + 2 * self.vocab * self.dim + self.dim


class Attention(nn.Module):
    """Causal self-attention of grouped queries with rotary positions; [batch, seq, dim] to the same."""

    def __init__(self, dim: int, heads: int, kv_heads: int, theta: float):
        super().__init__()
        self.heads, self.kv_heads, self.theta = heads, kv_heads, theta
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim // heads * kv_heads, bias=False)
        self.v_proj = nn.Linear(dim, dim // heads * kv_heads, bias=False)
        self.o_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        batch, seq, dim = x.shape
        q = self.q_proj(x).view(batch, seq, self.heads, dim // self.heads)
        k = self.k_proj(x).view(batch, seq, self.kv_heads, dim // self.heads)
        v = self.v_proj(x).view(batch, seq, self.kv_heads, dim // self.heads)
        q, k = F.rope(q, self.theta, seq_dim=1), F.rope(k, self.theta, seq_dim=1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, seq_dim=1)
        return self.o_proj(mixed.reshape(batch, seq, dim))


class MLP(nn.Module):
    """A gated unit between linear layers; [..., dim] to the same."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.gate_proj = nn.Linear(dim, hidden, bias=False)
        self.up_proj = nn.Linear(dim, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        return self.down_proj(F.swiglu(self.gate_proj(x), self.up_proj(x)))


class Block(nn.Module):
    """Attention, then MLP, each on a normalised copy and added to the stream."""

    def __init__(self, of: Configuration):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(of.dim, of.eps)
        self.self_attn = Attention(of.dim, of.heads, of.kv_heads, of.theta)
        self.post_attention_layernorm = nn.RMSNorm(of.dim, of.eps)
        self.mlp = MLP(of.dim, of.hidden)

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    """Ids [batch, seq] to what the last block leaves, normalised: [batch, seq, dim]."""

    block: type[nn.Module] = Block

    def __init__(self, of: Configuration):
        super().__init__()
        self.embed_tokens = nn.Embedding(of.vocab, of.dim)
        self.layers = nn.ModuleList([self.block(of) for _ in range(of.layers)])
        self.norm = nn.RMSNorm(of.dim, of.eps)

    def forward(self, ids: tr.Tensor) -> tr.Tensor:
        x = self.embed_tokens(ids)
        for block in self.layers:
            x = block(x)
        return self.norm(x)


class Llama(nn.Module):
    """ids [batch, seq] to logits [batch, seq, vocab]."""

    trunk: type[nn.Module] = Trunk

    def __init__(self, of: Configuration):
        super().__init__()
        self.context = of.context
        self.model = self.trunk(of)
        self.lm_head = nn.Linear(of.dim, of.vocab, bias=False)
        for parameter in self.parameters():
            if len(parameter.shape) > 1:  # a norm's scale is a row of ones
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: tr.Tensor) -> tr.Tensor:
        return self.lm_head(self.model(ids))
