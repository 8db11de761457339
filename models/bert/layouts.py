"""How BERT lies on a mesh."""

from __future__ import annotations

import troupe as tr
from troupe import recipes

COLUMN = ("query", "key", "value", "intermediate.dense")
"""Linear layers split by their outputs: whole heads, parts of the width between the two linear layers of a block."""
ROW = ("output.dense",)
"""Linear layers split by their inputs; each follows columns that are split alike."""


def tensor_parallel(axis: str = "tp") -> recipes.Recipe:
    """Attention split by heads, the linear layers by their width and the words along `axis`.

    Each device holds a part of the vocabulary: of the table that embeds words and, tied to it, decodes them. It looks
    up its own words, and makes the logits and the parts of the loss that concern them.
    """
    words = {"bert.embeddings.word_embeddings.weight": tr.S(0), "cls.predictions.bias": tr.S(0)}
    return recipes.megatron(axis, COLUMN, ROW) + recipes.parameters(axis, words)
