"""The certificate and key of a run whose connections between processes are encrypted, where files have them."""

from __future__ import annotations

from troupe import _troupe
from troupe._troupe import PlanError


def read(certificate: str | None, key: str | None, names: tuple[str, str]) -> tuple[str, str] | None:
    """What these files hold, in PEM, checked; None when none is given. Errors, PlanError, call them by the names of
    what gave them."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, other = names if key is None else reversed(names)
        raise PlanError(f"{given} needs {other} too: a certificate and its key, in PEM (one file may have both)")
    pair = _text(names[0], certificate), _text(names[1], key)
    try:
        _troupe.check_tls_identity(pair)
    except PlanError as error:
        raise PlanError(f"{names[0]} {certificate}, {names[1]} {key}: {error}") from None
    return pair


def _text(name: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{name} '{path}' cannot be read: {getattr(error, 'strerror', None) or error}") from None
