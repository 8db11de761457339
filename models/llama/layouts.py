"""How Llama lies on a mesh."""

from __future__ import annotations

import troupe as tr

COLUMN = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "lm_head")
"""Linear layers split by their outputs: whole heads, parts of the MLP's width, parts of the vocabulary."""
ROW = ("o_proj", "down_proj")
"""Linear layers split by their inputs; each follows columns that are split alike."""


def tensor_parallel(axis: str = "tp") -> tr.recipes.Recipe:
    """Attention split by heads and the MLP by its width along `axis`.

    The number of key heads should be a multiple of the axis's size: otherwise attention cannot be split by heads, and
    the planner finds another split, which communicates more.
    """
    return tr.recipes.megatron(axis, column=COLUMN, row=ROW)
