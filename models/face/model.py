"""Face recognition: an embedding of images and a margin softmax over identities, as if for one device.

The identities may be millions: their weights are the largest part of the model by far (models/face/layouts.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import troupe as tr
from troupe import functional as F
from troupe import nn, ops


@dataclass(frozen=True)
class Margin:
    """What the logit of the right class is: scale · (cos(m1 · angle + m2) - m3); of the others scale · cos(angle)."""

    scale: float
    m1: float = 1.0
    m2: float = 0.0
    m3: float = 0.0


ARCFACE = Margin(scale=64.0, m2=0.5)
"""Deng et al. 2019."""
COSFACE = Margin(scale=64.0, m3=0.35)
"""Wang et al. 2018."""


@dataclass(frozen=True)
class Configuration:
    """What makes one recogniser differ from another."""

    inputs: int
    """The numbers of an image."""
    hidden: tuple[int, ...]
    """The widths between the layers of the backbone."""
    dim: int
    """The numbers of an embedding."""
    classes: int
    """The identities to train on."""
    margin: Margin = ARCFACE

    def parameter_count(self) -> int:
        """How many numbers the model holds."""
        sizes = (self.inputs, *self.hidden)
        layers = sum((inputs + 3) * outputs for inputs, outputs in zip(sizes, sizes[1:]))
        return layers + (sizes[-1] + 1) * self.dim + self.classes * self.dim


class Backbone(nn.Module):
    """Images [batch, inputs] to embeddings [batch, dim]."""

    def __init__(self, of: Configuration):
        super().__init__()
        sizes = (of.inputs, *of.hidden)
        self.layers = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU())
                for inputs, outputs in zip(sizes, sizes[1:])
            ]
        )
        self.embed = nn.Linear(sizes[-1], of.dim)

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.embed(x)


class MarginHead(nn.Module):
    """Embeddings [batch, dim] and labels [batch] to logits [batch, classes]; a class is the direction of its weight."""

    def __init__(self, dim: int, classes: int, margin: Margin):
        super().__init__()
        self.margin = margin
        self.weight = nn.init.normal_(nn.Parameter.empty((classes, dim)), std=0.01)

    def forward(self, embeddings: tr.Tensor, labels: tr.Tensor) -> tr.Tensor:
        cosines = F.linear(F.normalize(embeddings), F.normalize(self.weight))
        m = self.margin
        return ops.margin_logits(cosines, labels, scale=m.scale, m1=m.m1, m2=m.m2, m3=m.m3)[0]


class Recogniser(nn.Module):
    """Images [batch, inputs] to embeddings [batch, dim] of length 1: two of one identity have a cosine near 1."""

    def __init__(self, of: Configuration):
        super().__init__()
        self.backbone = Backbone(of)
        self.head = MarginHead(of.dim, of.classes, of.margin)

    def forward(self, x: tr.Tensor) -> tr.Tensor:
        return F.normalize(self.backbone(x))


def identity_loss(model: Recogniser, batch: Mapping[str, tr.Tensor]) -> tr.Tensor:
    """The mean cross-entropy of the identities "y" of the images "x"."""
    return F.cross_entropy(model.head(model.backbone(batch["x"]), batch["y"]), batch["y"])
