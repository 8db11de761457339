"""Files of data, by their paths or by patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from typing import Any

from troupe._troupe import FaultError

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def are_paths(value: Any) -> bool:
    """Whether it is a path or a list of paths."""
    each = value if isinstance(value, (list, tuple)) and value else [value]
    return all(isinstance(path, (str, os.PathLike)) for path in each)


def found_files(paths: Paths) -> list[str]:
    """The files of a path, a pattern such as "corpus/*.bin", or a list of either. Those of a pattern are sorted.

    Raises FaultError for a pattern that no file matches.
    """
    found: list[str] = []
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        text = os.fspath(path)
        matches = sorted(glob.glob(text)) if glob.has_magic(text) and not os.path.exists(text) else [text]
        if not matches:
            raise FaultError(f"no file matches '{text}'")
        found += matches
    return found
