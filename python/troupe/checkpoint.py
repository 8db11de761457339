"""Checkpoints: directories of safetensors files with JSON beside them, that appear whole or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from troupe import _troupe
from troupe._troupe import FaultError, PlanError
from troupe.nn.module import Module

VERSION = 1
_NUMBERED = re.compile(r"step-(\d+)")


def save(
    path: str,
    tensors: Mapping[str, np.ndarray],
    optimizer: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
) -> None:
    """Writes a checkpoint directory, replacing one that is there. Raises FaultError."""
    parent = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(parent, exist_ok=True)
    except OSError as error:
        raise FaultError(f"checkpoint '{path}' cannot be written: {error}") from error
    files = {
        "model.safetensors": dict(tensors),
        "optimizer.safetensors": dict(optimizer),
        "state.json": json.dumps({"version": VERSION, **state}, indent=2) + "\n",
    }
    _troupe.save_directory(os.path.abspath(path), files)


def load(path: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
    """(model tensors, optimizer tensors, state) of a checkpoint directory, or of the newest one inside a directory.

    Raises FaultError when there is none or it cannot be read.
    """
    found = newest(path)
    if found is None:
        raise FaultError(f"'{path}' is no checkpoint: it has no state.json, and no directories step-N either")
    try:
        with open(os.path.join(found, "state.json"), encoding="utf-8") as file:
            state = json.load(file)
    except (OSError, ValueError) as error:
        raise FaultError(f"checkpoint '{found}' cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        version = state.get("version") if isinstance(state, dict) else None
        raise FaultError(f"checkpoint '{found}' has version {version}; this build reads version {VERSION}")
    tensors = _troupe.load_tensors(os.path.join(found, "model.safetensors"))
    optimizer = _troupe.load_tensors(os.path.join(found, "optimizer.safetensors"))
    return tensors, optimizer, state


def load_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, or of a directory with "model.safetensors" or, as large checkpoints are
    published, with several files and "model.safetensors.index.json", which says which tensor is in which. bfloat16
    becomes float32.

    Raises FaultError when there is nothing to read or it cannot be read.
    """
    if not os.path.isdir(path):
        return _troupe.load_tensors(os.fspath(path))
    index = os.path.join(path, "model.safetensors.index.json")
    if not os.path.exists(index):
        return _troupe.load_tensors(os.path.join(path, "model.safetensors"))
    try:
        with open(index, encoding="utf-8") as file:
            files: dict[str, str] = json.load(file)["weight_map"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FaultError(f"'{index}' is no index of safetensors files: {error!r}") from error
    tensors: dict[str, np.ndarray] = {}
    for name in sorted(set(files.values())):
        tensors |= _troupe.load_tensors(os.path.join(path, name))
    for name, file_name in files.items():
        if name not in tensors:
            raise FaultError(f"'{index}' says that tensor '{name}' is in '{file_name}', but it is not")
    return tensors


def newest(path: str) -> str | None:
    """The checkpoint directory that `path` is or, if it holds several named step-N, the newest; None without any."""
    full = os.path.abspath(path)
    _troupe.recover_directory(full)
    if os.path.exists(os.path.join(full, "state.json")):
        return full
    names = os.listdir(full) if os.path.isdir(full) else []
    numbered = sorted((int(match.group(1)), name) for name in names if (match := _NUMBERED.fullmatch(name)))
    return os.path.join(full, numbered[-1][1]) if numbered else None


def is_numbered(name: str) -> bool:
    """True for the name of a checkpoint in a directory of several."""
    return _NUMBERED.fullmatch(name) is not None


def numbered_path(directory: str, step: int) -> str:
    """Where the checkpoint after `step` steps lies in a directory of checkpoints."""
    return os.path.join(directory, f"step-{step:08d}")


def check_same_model(path: str, model: Module, tensors: Mapping[str, np.ndarray]) -> None:
    """Raises PlanError, naming the first tensor that differs, when the tensors are not this model's."""
    own = {name: (parameter.shape, parameter.dtype) for name, parameter in model._state()}
    for name in (*own, *tensors):
        if name not in tensors:
            raise PlanError(f"checkpoint '{path}' is of another model: it has no tensor '{name}'")
        if name not in own:
            raise PlanError(
                f"checkpoint '{path}' is of another model: its tensor '{name}' is not in the model"
            )
        if tuple(tensors[name].shape) != own[name][0]:
            raise PlanError(
                f"checkpoint '{path}' is of another model: '{name}' has shape {list(tensors[name].shape)}, "
                f"the model has {list(own[name][0])}"
            )
