"""A GPT over bytes or any other tokens: the mathematics, as if for one device."""

from __future__ import annotations

import numpy as np

import troupe as tr
from troupe import functional as F
from troupe import nn


def sinusoids(length: int, dim: int) -> np.ndarray:
    """Per position a vector of variance 1 / dim: sines and cosines of wavelengths 2 pi to 2 pi * length."""
    angles = np.arange(length)[:, None] * float(length) ** (-np.arange(0, dim, 2) / dim)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1) * (2 / dim) ** 0.5


class Attention(nn.Module):
    """Causal self-attention with `heads` heads; [batch, seq, dim] to the same."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        batch, seq, dim = x.shape
        q, k, v = (
            project(x).view(batch, seq, self.heads, dim // self.heads) for project in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, seq_dim=1)
        return self.out(mixed.reshape(batch, seq, dim))


class MLP(nn.Module):
    """Two linear layers with a GELU between; [..., dim] to the same."""

    def __init__(self, dim: int):
        super().__init__()
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """Attention, then MLP, each on a normalised copy and added to the stream."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.ln1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.ln2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim)

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    """ids [batch, seq], seq at most `context`, to logits [batch, seq, vocab]."""

    def __init__(self, vocab: int = 256, layers: int = 4, dim: int = 256, heads: int = 8, context: int = 256):
        super().__init__()
        self.context = context
        self.tok = nn.Embedding(vocab, dim)
        self.pos = nn.Embedding(context, dim)
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(layers)])
        self.ln = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """Weights normal with variance 1 / inputs, biases zero; attention looks near from the first step on.

        From random positions, queries and keys, attention first has to learn which positions are neighbours,
        and the loss waits at a bigram table's until it has. Here neighbours begin alike, as sinusoids, and keys
        as copies of the queries, so that what is alike attends to each other. Then all are trained as usual.
        """
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif ".ln" not in f".{name}":
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        self.pos.weight.copy_(sinusoids(*self.pos.weight.shape))
        for block in self.blocks:
            nn.init.like_(block.attn.k.weight, block.attn.q.weight)

    def forward(self, ids: tr.Tensor) -> tr.Tensor:
        x = self.tok(ids) + self.pos.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))
