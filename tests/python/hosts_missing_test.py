"""Where hosts.py cannot make hosts, it says why, so that tests over several are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import hosts
import pytest

# Makes namespaces and removes them, and fails at one thing.
IP = """#!/bin/sh
echo "$@" >> CALLS
case "$*" in
  "netns FAILING"*) echo "mount of /sys failed: Operation not permitted" >&2; exit 1;;
esac
"""


@pytest.mark.parametrize(
    ("failing", "expected", "last"),
    [
        ("nothing", None, "delete"),
        ("add", "needs network namespaces: mount of /sys failed: Operation not permitted", "add"),
        ("exec", "needs `ip netns exec`: mount of /sys failed: Operation not permitted", "delete"),
    ],
)
def test_what_fails_is_the_reason(tmp_path: Path, monkeypatch, failing, expected, last):
    calls = tmp_path / "calls"
    for name in ("ip", "ssh", "sshd", "ssh-keygen"):
        (tmp_path / name).write_text(IP.replace("FAILING", failing).replace("CALLS", str(calls)))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert hosts.missing() == expected
    assert calls.read_text().splitlines()[-1].split()[1] == last  # nothing stays
