"""Mixtral (Jiang et al. 2024): Llama with a mixture of experts in place of each block's MLP, as if for one device.

What is Llama's is taken from there. The experts of a block lie in three tensors [experts, out, in], where the published
checkpoints have three matrices per expert (checkpoint.py takes them from one form to the other).
"""

from __future__ import annotations

from dataclasses import dataclass

import troupe as tr
from models.llama import model as llama
from troupe import nn


@dataclass(frozen=True)
class Configuration(llama.Configuration):
    """A Llama's, and its experts; `hidden` is the width of each."""

    experts: int = 8
    chosen: int = 2
    """How many experts work on a token."""
    capacity_factor: float | None = None
    dropless: bool = True
    """See nn.MoE."""

    def parameter_count(self) -> int:
        """How many numbers the model holds."""
        block = 3 * (self.experts - 1) * self.dim * self.hidden + self.experts * self.dim
        return super().parameter_count() + self.layers * block

    def active_count(self) -> int:
        """How many of them work on one token."""
        return self.parameter_count() - 3 * self.layers * (self.experts - self.chosen) * self.dim * self.hidden


class Block(nn.Module):
    """Attention, then experts, each on a normalised copy and added to the stream; returns it and the balance loss."""

    def __init__(self, of: Configuration):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(of.dim, of.eps)
        self.self_attn = llama.Attention(of.dim, of.heads, of.kv_heads, of.theta)
        self.post_attention_layernorm = nn.RMSNorm(of.dim, of.eps)
        self.moe = nn.MoE(of.dim, of.hidden, of.experts, of.chosen, of.capacity_factor, of.dropless)

    def forward(self, x: tr.Tensor) -> tuple[tr.Tensor, tr.Tensor]:
        x = x + self.self_attn(self.input_layernorm(x))
        y, balance = self.moe(self.post_attention_layernorm(x))
        return x + y, balance


class Trunk(llama.Trunk):
    """Ids [batch, seq] to what the last block leaves, normalised: [batch, seq, dim], and the mean balance loss."""

    block = Block

    def forward(self, ids: tr.Tensor) -> tuple[tr.Tensor, tr.Tensor]:
        x = self.embed_tokens(ids)
        losses = []
        for block in self.layers:
            x, balance = block(x)
            losses.append(balance)
        return self.norm(x), sum(losses[1:], losses[0]) / len(losses)


class Mixtral(llama.Llama):
    """ids [batch, seq] to logits [batch, seq, vocab]."""

    trunk = Trunk

    def forward(self, ids: tr.Tensor) -> tr.Tensor:
        return self.with_balance(ids)[0]

    def with_balance(self, ids: tr.Tensor) -> tuple[tr.Tensor, tr.Tensor]:
        """The logits, and the loss that keeps the experts of all layers evenly loaded, 1 where they are."""
        x, balance = self.model(ids)
        return self.lm_head(x), balance
