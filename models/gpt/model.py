"""A GPT over bytes or any other tokens: the mathematics, as if for one device."""

from __future__ import annotations

import troupe as tr
from troupe import functional as F
from troupe import nn


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
        self._initialise(layers)

    def _initialise(self, layers: int) -> None:
        """As GPT-2: normal with deviation 0.02, smaller where a block writes to the stream, biases zero."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(parameter, std=0.02 / (2 * layers) ** 0.5)
            elif ".ln" not in f".{name}":
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: tr.Tensor) -> tr.Tensor:
        x = self.tok(ids) + self.pos.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))
