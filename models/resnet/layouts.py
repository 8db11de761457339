"""How a residual network lies on a mesh."""

from __future__ import annotations

import troupe as tr


def data_parallel(axis: str = "dp") -> tr.recipes.Recipe:
    """Pieces of the batch side by side; each has its own batch norm statistics."""
    return tr.recipes.data_parallel(axis)


def shared_statistics(axis: str = "sp") -> tr.recipes.Recipe:
    """The samples of every piece split along `axis`, with batch norm statistics of the whole piece: for pieces that are
    too large for one device, or where a device's own samples are too few for statistics."""
    return tr.recipes.sample_parallel(axis)


def split_head(axis: str = "tp") -> tr.recipes.Recipe:
    """The last layer split along `axis` by classes, for very many of them; the loss is then computed in parts."""
    return tr.recipes.megatron(axis, column=("fc",), row=())
