"""BERT (Devlin et al. 2019) with its masked-LM head: the mathematics, as if for one device.

Parameters have the names, shapes and meaning of the published checkpoints in Hugging Face's form (BertForMaskedLM).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import troupe as tr
from troupe import functional as F
from troupe import nn


@dataclass(frozen=True)
class Configuration:
    """What makes one BERT differ from another."""

    vocab: int
    layers: int
    dim: int
    heads: int
    hidden: int
    """The width between the two linear layers of a block."""
    context: int
    """How many positions there are."""
    segments: int = 2
    dropout: float = 0.1
    """Of embeddings, of attention's weights, and of what each block adds to its stream."""
    eps: float = 1e-12

    def parameter_count(self) -> int:
        """How many numbers the model holds; the decoder's matrix is the table of words."""
        table = (self.vocab + self.context + self.segments + 2) * self.dim
        square = (self.dim + 1) * self.dim
        layer = 4 * square + 2 * self.dim * self.hidden + self.hidden + self.dim + 4 * self.dim
        return table + self.layers * layer + square + 2 * self.dim + self.vocab


class Embeddings(nn.Module):
    """The sum of a word's, a place's and a segment's vector, normalised: ids [batch, seq] to [batch, seq, dim]."""

    def __init__(self, of: Configuration):
        super().__init__()
        self.word_embeddings = nn.Embedding(of.vocab, of.dim)
        self.position_embeddings = nn.Embedding(of.context, of.dim)
        self.token_type_embeddings = nn.Embedding(of.segments, of.dim)
        self.LayerNorm = nn.LayerNorm(of.dim, of.eps)
        self.dropout = nn.Dropout(of.dropout)

    def forward(self, ids: tr.Tensor, segments: tr.Tensor | None) -> tr.Tensor:
        segment = self.token_type_embeddings.weight[0] if segments is None else self.token_type_embeddings(segments)
        x = self.word_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]] + segment
        return self.dropout(self.LayerNorm(x))


class SelfAttention(nn.Module):
    """Every position looks at all that the mask lets it see; [batch, seq, dim] to the same."""

    def __init__(self, of: Configuration):
        super().__init__()
        self.heads, self.dropout = of.heads, of.dropout
        self.query = nn.Linear(of.dim, of.dim)
        self.key = nn.Linear(of.dim, of.dim)
        self.value = nn.Linear(of.dim, of.dim)

    def forward(self, x: tr.Tensor, mask: tr.Tensor | None) -> tr.Tensor:
        batch, seq, dim = x.shape
        q, k, v = (
            project(x).view(batch, seq, self.heads, dim // self.heads)
            for project in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout, seq_dim=1)
        return mixed.reshape(batch, seq, dim)


class Output(nn.Module):
    """A linear layer whose result is added to the stream, which is then normalised."""

    def __init__(self, inputs: int, of: Configuration):
        super().__init__()
        self.dense = nn.Linear(inputs, of.dim)
        self.LayerNorm = nn.LayerNorm(of.dim, of.eps)
        self.dropout = nn.Dropout(of.dropout)

    def forward(self, x: tr.Tensor, stream: tr.Tensor) -> tr.Tensor:
        return self.LayerNorm(stream + self.dropout(self.dense(x)))


class Attention(nn.Module):
    """Self-attention, added to the stream."""

    def __init__(self, of: Configuration):
        super().__init__()
        self.self = SelfAttention(of)
        self.output = Output(of.dim, of)

    def forward(self, x: tr.Tensor, mask: tr.Tensor | None) -> tr.Tensor:
        return self.output(self.self(x, mask), x)


class Intermediate(nn.Module):
    """A linear layer and a GELU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        return F.gelu(self.dense(x))


class Layer(nn.Module):
    """Attention, then two linear layers, each normalised after it was added."""

    def __init__(self, of: Configuration):
        super().__init__()
        self.attention = Attention(of)
        self.intermediate = Intermediate(of.dim, of.hidden)
        self.output = Output(of.hidden, of)

    def forward(self, x: tr.Tensor, mask: tr.Tensor | None) -> tr.Tensor:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """Layers one after another."""

    def __init__(self, of: Configuration):
        super().__init__()
        self.layer = nn.ModuleList([Layer(of) for _ in range(of.layers)])

    def forward(self, x: tr.Tensor, mask: tr.Tensor | None) -> tr.Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Trunk(nn.Module):
    """Ids [batch, seq] to what the last layer leaves: [batch, seq, dim]."""

    def __init__(self, of: Configuration):
        super().__init__()
        self.embeddings = Embeddings(of)
        self.encoder = Encoder(of)

    def forward(self, ids: tr.Tensor, segments: tr.Tensor | None, mask: tr.Tensor | None) -> tr.Tensor:
        return self.encoder(self.embeddings(ids, segments), mask)


class Transform(Intermediate):
    """A linear layer, a GELU and a norm."""

    def __init__(self, of: Configuration):
        super().__init__(of.dim, of.dim)
        self.LayerNorm = nn.LayerNorm(of.dim, of.eps)

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        return self.LayerNorm(super().forward(x))


class Predictions(nn.Module):
    """Logits of the word at every position; the decoder's matrix is the table of words."""

    def __init__(self, of: Configuration, words: nn.Parameter):
        super().__init__()
        self.transform = Transform(of)
        self.decoder = nn.Linear(of.dim, of.vocab)
        self.decoder.weight = words
        self.bias = self.decoder.bias

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        return self.decoder(self.transform(x))


class Bert(nn.Module):
    """ids [batch, seq] to logits [batch, seq, vocab].

    segments: of each token, 0 or 1 (all 0 by default). mask: bool[batch, seq], false for padding, which no token sees.
    """

    def __init__(self, of: Configuration):
        super().__init__()
        self.context = of.context
        self.bert = Trunk(of)
        self.cls = nn.Module()
        self.cls.predictions = Predictions(of, self.bert.embeddings.word_embeddings.weight)
        for name, parameter in self.named_parameters():
            if len(parameter.shape) == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(
        self, ids: tr.Tensor, segments: tr.Tensor | None = None, mask: tr.Tensor | None = None
    ) -> tr.Tensor:
        keys = None if mask is None else mask.view(mask.shape[0], 1, 1, mask.shape[1])
        return self.cls.predictions(self.bert(ids, segments, keys))


def masked_lm_loss(model: Bert, batch: Mapping[str, tr.Tensor]) -> tr.Tensor:
    """The mean cross-entropy of the words "y" at the places where it is not -100."""
    return F.cross_entropy(model(batch["x"], batch["segments"], batch["mask"]), batch["y"])
