"""Checkpoints in Hugging Face's form (MixtralForCausalLM), which have a matrix per expert where the model stacks them.

    model.load_state_dict(from_published(tr.load_tensors("Mixtral-8x7B-v0.1")))
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

import troupe as tr

PARTS = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
"""What an expert's matrices are called there, and here."""
MATRICES = {part: matrix for matrix, part in PARTS.items()}

_THERE = re.compile(r"(.*)\.block_sparse_moe\.experts\.(\d+)\.(w[123])\.weight")
_HERE = re.compile(r"(.*)\.moe\.experts\.(\w+)\.weight")


def from_published(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state dict of a `Mixtral`. Raises PlanError when a layer lacks an expert below its last one, or its experts
    have different shapes."""
    state: dict[str, np.ndarray] = {}
    experts: dict[str, dict[int, str]] = {}
    for name, tensor in tensors.items():
        if match := _THERE.fullmatch(name):
            layer, expert, matrix = match.groups()
            experts.setdefault(f"{layer}.moe.experts.{PARTS[matrix]}.weight", {})[int(expert)] = name
        else:
            state[name.replace("block_sparse_moe.gate", "moe.router")] = tensor
    for name, by_number in experts.items():
        state[name] = _stacked(tensors, [by_number[expert] for expert in sorted(by_number)], max(by_number) + 1)
    return state


def to_published(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a published checkpoint, from the state dict of a `Mixtral`; matrices are views of it."""
    tensors: dict[str, np.ndarray] = {}
    for name, tensor in state.items():
        if match := _HERE.fullmatch(name):
            layer, part = match.groups()
            prefix = f"{layer}.block_sparse_moe.experts"
            tensors |= {f"{prefix}.{e}.{MATRICES[part]}.weight": matrix for e, matrix in enumerate(tensor)}
        else:
            tensors[name.replace("moe.router", "block_sparse_moe.gate")] = tensor
    return tensors


def _stacked(tensors: Mapping[str, np.ndarray], names: list[str], count: int) -> np.ndarray:
    """The matrices of `count` experts; these names are in the order of the experts."""
    if len(names) < count:
        raise tr.PlanError(f"the checkpoint has '{names[-1]}', and of the {count} experts up to it only {len(names)}")
    for name in names:
        if tensors[name].shape != tensors[names[0]].shape:
            raise tr.PlanError(
                f"the experts of a layer differ: '{name}' has shape {list(tensors[name].shape)}, '{names[0]}' "
                f"{list(tensors[names[0]].shape)}"
            )
    return np.stack([tensors[name] for name in names])
