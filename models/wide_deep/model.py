"""Wide & Deep (Cheng et al. 2016): a linear model over crossed features, and an MLP over embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from troupe import functional as F
from troupe import nn
from troupe.tensor import Tensor


@dataclass(frozen=True)
class Configuration:
    """rows: of each categorical field's table, which its ids are hashed to. numeric: how many numbers a sample has.
    crosses: how many crossed features; their ids are hashed to one table of cross_rows. dim: of an embedding. hidden:
    the widths of the MLP."""

    rows: tuple[int, ...]
    numeric: int
    crosses: int
    cross_rows: int
    dim: int
    hidden: tuple[int, ...] = (1024, 512, 256)


class WideDeep(nn.Module):
    """ids[batch, fields], numbers[batch, numeric] and crosses[batch, crosses] to the logit of a click, [batch]."""

    def __init__(self, configuration: Configuration):
        super().__init__()
        c = configuration
        self.tables = nn.ModuleList(nn.Embedding(rows, c.dim) for rows in c.rows)
        for table in self.tables:
            nn.init.normal_(table.weight, std=c.dim**-0.5)
        self.wide = nn.EmbeddingBag(c.cross_rows, 1, mode="sum")
        nn.init.zeros_(self.wide.weight)
        sizes = (len(c.rows) * c.dim + c.numeric, *c.hidden)
        self.deep = nn.ModuleList(nn.Linear(i, o) for i, o in zip(sizes, sizes[1:], strict=False))
        self.head = nn.Linear(sizes[-1], 1)

    def forward(self, ids: Tensor, numbers: Tensor, crosses: Tensor) -> Tensor:
        x = F.cat([*(table(ids[:, field]) for field, table in enumerate(self.tables)), numbers], 1)
        for layer in self.deep:
            x = F.relu(layer(x))
        return (self.head(x) + self.wide(crosses)).squeeze(1)
