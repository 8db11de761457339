# What models/quickstart.sh, tests/run.sh and .ci/run share: system packages, the virtual environment, the build.
# Sourced by bash. Functions return non-zero, having said on stderr what is wrong and what to do.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
BUILD="$ROOT/build"

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "$*" >&2; }

# The names in tests/system-packages.txt, and in further files.
system_packages() { awk '!/^#/ && NF { print $1 }' "$ROOT/tests/system-packages.txt" "$@"; }

# Of these, the ones that are not installed.
missing_packages() {
  local installed
  installed="$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 2>/dev/null | awk '$2 == "installed" { print $1 }')"
  system_packages "$@" | grep -vxF -f <(printf '%s\n' "$installed")
  return 0
}

# install_system_packages [FILE...]: besides those of tests/system-packages.txt, those of the files.
install_system_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    complain "This is not a Debian system, so nothing is installed; the build needs what Debian 12 calls:" \
      "$(system_packages "$@" | tr '\n' ' ')"
    return 0
  fi
  local missing
  missing="$(missing_packages "$@" | tr '\n' ' ')"
  if [ -z "${missing// /}" ]; then return 0; fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      as_root=(sudo)
    else
      complain "System packages are missing and only root may install them. As root, run:"
      complain "  apt-get update && apt-get install -y --no-install-recommends $missing"
      return 1
    fi
  fi
  say "installing system packages: $missing"
  local log try
  log="$(mktemp)"
  # Another apt may hold a lock: wait for it, up to three minutes.
  for try in $(seq 1 18); do
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=180 update \
      </dev/null >"$log" 2>&1 && break
    grep -q 'Could not get lock\|Unable to lock' "$log" || break # no network: perhaps the lists there are will do
    [ "$try" -eq 1 ] && say "another process holds apt's lock; waiting for it"
    sleep 10
  done
  # shellcheck disable=SC2086
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
    -o DPkg::Lock::Timeout=180 install $missing </dev/null >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    complain "apt-get could not install the system packages. Please install: $missing"
    return 1
  fi
  rm -f "$log"
}

# A Python of at least 3.11 that can make virtual environments and has its headers; the system's own first.
find_python() {
  local python
  for python in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
    if "$python" - 2>/dev/null <<'END'; then
import ensurepip, os, sys, sysconfig, venv
sys.exit(sys.version_info < (3, 11) or not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
END
      command -v "$python"
      return 0
    fi
  done
  complain "No Python of at least 3.11 with venv and headers: install python3, python3-venv and python3-dev."
  return 1
}

# .venv with the pinned packages. Does nothing when tests/requirements.txt has not changed.
make_venv() {
  local key stamp="$VENV/.requirements"
  key="$(sha256sum <"$ROOT/tests/requirements.txt")"
  if [ -x "$VENV/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$key" ]; then return 0; fi
  if ! "$VENV/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    local python
    python="$(find_python)" || return 1
    say "making .venv with $python"
    rm -rf "$VENV"
    "$python" -m venv "$VENV" </dev/null || return 1
  fi
  say "installing Python packages into .venv"
  if ! quiet "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-input -r "$ROOT/tests/requirements.txt"; then
    complain "pip could not install tests/requirements.txt; is the package index reachable?"
    return 1
  fi
  printf '%s\n' "$key" >"$stamp"
}

# Runs a command without input; shows its output only when it fails.
quiet() {
  local log status=0
  log="$(mktemp)"
  "$@" </dev/null >"$log" 2>&1 || status=$?
  [ "$status" -eq 0 ] || tail -n 60 "$log" >&2
  rm -f "$log"
  return "$status"
}

# CMake and ninja of the system before any others on the PATH (version managers put shims there).
with_system_tools() { PATH="/usr/bin:/bin:$PATH" "$@"; }

# What the installed package depends on: every file that the build reads, and the environment it was made in.
sources_key() {
  (
    cd "$ROOT" || exit 1
    find CMakeLists.txt pyproject.toml cmake runtime sbp ops planner actors python -type f \
      ! -name '*.pyc' ! -name '*_test.cpp' ! -name '*.py' ! -name '*.md' ! -name '*.so' -print0 2>/dev/null |
      LC_ALL=C sort -z | xargs -0 sha256sum
    cat "$VENV/.requirements"
    "$VENV/bin/python" -V
  ) | sha256sum
}

# `import troupe` and the command `troupe` in .venv, built in $BUILD. An editable install: changed Python files are
# seen at once, changed C++ is built again by ninja. Does nothing when no source has changed.
build_package() {
  local key stamp="$VENV/.built" configuration built_with
  key="$(sources_key)"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] && [ -f "$BUILD/build.ninja" ]; then return 0; fi
  rm -f "$stamp"
  configuration="$(cat "$ROOT/pyproject.toml" "$VENV/.requirements" | sha256sum)"
  built_with="$(cat "$VENV/.configuration" 2>/dev/null)"
  if [ "$configuration" = "$built_with" ] && [ -f "$BUILD/build.ninja" ]; then
    say "building"
    with_system_tools quiet ninja -C "$BUILD" troupe_extension || return 1
    with_system_tools quiet cmake --install "$BUILD" \
      --prefix "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')" || return 1
  else
    say "building (the first time takes minutes)"
    with_system_tools quiet "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-input \
      --no-build-isolation --no-deps -e "$ROOT" || return 1
    printf '%s\n' "$configuration" >"$VENV/.configuration"
  fi
  printf '%s\n' "$key" >"$stamp"
}
