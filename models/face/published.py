"""Recognisers of the sizes of published training sets.

The identities are those of MS1MV3 (Guo et al. 2016, cleaned), Glint360K (An et al. 2021) and WebFace42M (Zhu et al.
2021); the backbone of linear layers stands for the published convolutions.
"""

from __future__ import annotations

from functools import partial

from models.face.layouts import class_parallel
from models.face.model import Configuration, Recogniser, identity_loss
from troupe.batch import Field
from troupe.optim import SGD
from troupe.published import Published

IMAGE = 3 * 112 * 112
BACKBONE = {"inputs": IMAGE, "hidden": (1024, 1024), "dim": 512}

PUBLISHED = {
    "face-ms1mv3": Configuration(**BACKBONE, classes=93_431),
    "face-glint360k": Configuration(**BACKBONE, classes=360_232),
    "face-webface42m": Configuration(**BACKBONE, classes=2_059_906),
}


def make(name: str) -> Published:
    """The model, not yet initialised, and what it is trained on."""
    of = PUBLISHED[name]
    return Published(
        Recogniser(of),
        {"x": Field("f32", (of.inputs,)), "y": Field("i32", ())},
        identity_loss,
        optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=5e-4),
        recipes={"class_parallel": class_parallel},
    )
