"""The published residual networks (He et al. 2015, table 1), with the stride in a block's 3x3 convolution as
torchvision has it."""

from __future__ import annotations

from functools import partial

from models.resnet.model import Configuration, ResNet
from troupe import functional as F
from troupe.batch import Field
from troupe.optim import SGD
from troupe.published import Published

PUBLISHED = {
    "resnet-18": Configuration(bottleneck=False, blocks=(2, 2, 2, 2)),
    "resnet-34": Configuration(bottleneck=False, blocks=(3, 4, 6, 3)),
    "resnet-50": Configuration(bottleneck=True, blocks=(3, 4, 6, 3)),
    "resnet-101": Configuration(bottleneck=True, blocks=(3, 4, 23, 3)),
    "resnet-152": Configuration(bottleneck=True, blocks=(3, 8, 36, 3)),
}


def make(name: str) -> Published:
    """The model, not yet initialised, and what it is trained on: images of 224 x 224."""
    return Published(
        ResNet(PUBLISHED[name]),
        {"x": Field("f32", (3, 224, 224)), "y": Field("i32", ())},
        lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
        optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-4),
    )
