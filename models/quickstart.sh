#!/usr/bin/env bash
# Trains a byte-level GPT on four CPU devices, from a fresh Debian 12: installs what is missing, builds, trains.
# Options are those of models/gpt/train.py (--help shows them).
set -u
source "$(dirname "${BASH_SOURCE[0]}")/../tests/environment.sh"

install_system_packages && make_venv && build_package || exit 1
exec "$VENV/bin/python" "$ROOT/models/gpt/train.py" "$@"
