# What tests/gpu/run.sh and tests/gpu/bench.sh share: they build in build-gpu on a machine with a GPU, within LIMIT_S seconds
# from their start, and write to $RESULTS: build-gpu/results, or $OUT where that is set. Sourced by bash.
# Where packages.tar.gz of tests/gpu/pack.sh lies in the root, libraries are taken from there.
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"

LIMIT_S=600
BUILD_GPU="$ROOT/build-gpu"
PACKAGES="$BUILD_GPU/packages"
PACKAGE="$BUILD_GPU/package" # where Python finds Troupe
RESULTS="${OUT:-$BUILD_GPU/results}"

skip() {
  say "skipped: $*"
  exit 0
}
find_nvcc() {
  local nvcc
  for nvcc in "${CUDA_HOME:-}/bin/nvcc" "${CUDA_PATH:-}/bin/nvcc" "$(command -v nvcc)" /usr/local/cuda/bin/nvcc; do
    if [ -x "$nvcc" ]; then return 0; fi
  done
  return 1
}
# Of the system's and the first on the PATH, one that is new enough.
find_cmake() {
  local cmake
  for cmake in /usr/bin/cmake "$(command -v cmake)"; do
    if "$cmake" --version 2>/dev/null | awk 'NR == 1 { split($3, v, "."); exit !(v[1] * 1000 + v[2] >= 3025) }'; then
      printf '%s\n' "$cmake"
      return 0
    fi
  done
  complain "There is no CMake of at least 3.25."
  return 1
}
# A Python in which the extension can be built and PyTorch is: of TROUPE_PEER_PYTHON, and those on the PATH as it was at the
# start. Where there is none, prints nothing and says on stderr what each one lacks.
find_torch_python() {
  local python why=""
  for python in ${TROUPE_PEER_PYTHON:+"$TROUPE_PEER_PYTHON"} python3 python python3.14 python3.13 python3.12 python3.11; do
    python="$(PATH="$FIRST_PATH" command -v "$python")" || continue
    if why+="$python: $("$python" - 2>&1 <<'END_OF_PYTHON'
import importlib.util, os, sys, sysconfig
lacks = [name for name in ("torch", "numpy") if importlib.util.find_spec(name) is None]
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    lacks.append("its headers (Python.h)")
if sys.version_info < (3, 11):
    lacks.append("version 3.11")
print("lacks", ", ".join(lacks))
sys.exit(bool(lacks))
END_OF_PYTHON
    )"$'\n'; then
      printf '%s\n' "$python"
      return 0
    fi
  done
  complain "There is no Python to build for that has PyTorch, NumPy and its headers:"
  complain "${why:-none is on the PATH}"
  return 1
}
# Seconds that are left, but at most so many.
within() {
  local left=$((LIMIT_S - SECONDS))
  if [ "$left" -gt "$1" ]; then left="$1"; fi
  if [ "$left" -lt 1 ]; then left=1; fi
  printf '%s\n' "$left"
}
phase() { # <most seconds> <log> <command>...
  local began="$SECONDS" status=0
  timeout -k 5 "$(within "$1")" "${@:3}" </dev/null >"$2" 2>&1 || status=$?
  say "-- $(basename "$2" .log): $((SECONDS - began)) s, exit status $status"
  return "$status"
}
# What is built for: the GPU's architecture, or 90 if $1 is 1 and there is none. Ends the script where nothing can be.
find_gpu() {
  if ! find_nvcc; then skip "there is no nvcc, neither on the PATH nor in /usr/local/cuda/bin"; fi
  arch="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -dc '0-9')"
  if [ -z "$arch" ]; then
    if [ "$1" -eq 0 ]; then skip "there is no GPU: nvidia-smi shows none"; fi
    arch=90
  fi
  FIRST_PATH="$PATH"
  PATH="/usr/bin:/bin:$PATH"
  mkdir -p "$RESULTS" "$BUILD_GPU" || exit 1
}
configure() { # <log> [<Python>]: with a Python, also its extension
  local options=(-DTROUPE_TESTS=ON -DTROUPE_GPU_TESTS=ON -DTROUPE_CUDA=ON "-DTROUPE_CUDA_ARCH=$arch")
  if [ -f "$ROOT/packages.tar.gz" ]; then
    if [ ! "$PACKAGES" -nt "$ROOT/packages.tar.gz" ]; then
      rm -rf "$PACKAGES"
      tar -C "$BUILD_GPU" -xzf "$ROOT/packages.tar.gz" && touch "$PACKAGES" || return 1
    fi
    local lib include="$PACKAGES/include"
    lib="$(echo "$PACKAGES"/lib/*)"
    # --disable-new-dtags: libraries find one another there too, and no environment variable leads Python to them.
    options+=("-DGTest_DIR=$lib/cmake/GTest" "-DDNNL=$(echo "$lib"/libdnnl.so.*)"
      "-DCapnProto_DIR=$lib/cmake/CapnProto" "-DUCX_INCLUDE=$include" "-DCAF_INCLUDE=$include"
      "-DCAF_CORE=$(echo "$lib"/libcaf_core.so.*)" "-DCAF_IO=$(echo "$lib"/libcaf_io.so.*)"
      "-DOPENSSL_INCLUDE_DIR=$include" "-DOPENSSL_SSL_LIBRARY=$(echo "$lib"/libssl.so.*)"
      "-DOPENSSL_CRYPTO_LIBRARY=$(echo "$lib"/libcrypto.so.*)" "-Dnanobind_DIR=$PACKAGES/nanobind/cmake"
      "-DCMAKE_CXX_FLAGS=-isystem $include -isystem $include/$(basename "$lib")"
      "-DCMAKE_EXE_LINKER_FLAGS=-Wl,-rpath-link,$lib -Wl,--disable-new-dtags"
      "-DCMAKE_MODULE_LINKER_FLAGS=-Wl,--disable-new-dtags" "-DCMAKE_BUILD_RPATH=$lib" "-DCMAKE_INSTALL_RPATH=$lib")
  elif command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    # Where it fails, CMake says what is missing.
    phase 180 "$RESULTS/packages.log" bash -c 'source "$0" && install_system_packages' "$ROOT/tests/environment.sh"
  fi
  if [ -n "${2:-}" ]; then options+=(-DTROUPE_PYTHON=ON "-DPython_EXECUTABLE=$2"); fi
  cmake="$(find_cmake)" || return 1
  if command -v ninja >/dev/null; then options+=(-G Ninja); fi
  if ! phase 120 "$1" "$cmake" -S "$ROOT" -B "$BUILD_GPU" "${options[@]}"; then
    tail -n 40 "$1" >&2
    complain "CMake could not configure build-gpu"
    return 1
  fi
}
build() { # <most seconds> <log> <target>...
  if ! phase "$1" "$2" "$cmake" --build "$BUILD_GPU" -j "$(nproc)" --target "${@:3}"; then
    tail -n 60 "$2" >&2
    complain "${*:3}: not built, or not in time"
    return 1
  fi
}
# Puts the extension for a Python, and what of it is Python, to $PACKAGE.
build_extension() { # <Python> <most seconds>
  configure "$RESULTS/configure-extension.log" "$1" && build "$2" "$RESULTS/build-extension.log" troupe_extension || return 1
  rm -rf "$PACKAGE"
  mkdir -p "$PACKAGE" && cp -R "$ROOT/python/troupe" "$PACKAGE" &&
    phase 60 "$RESULTS/install.log" "$cmake" --install "$BUILD_GPU" --prefix "$PACKAGE" &&
    PYTHONPATH="$PACKAGE" phase 60 "$RESULTS/import.log" "$1" -c 'import troupe' || {
    tail -n 20 "$RESULTS"/{install,import}.log >&2
    complain "the Python extension cannot be imported"
    return 1
  }
}
# Trains a model in turn with PyTorch; the table comes last.
benchmark() { # <Python> <model> <most seconds> [option]...
  local limit
  limit="$(within "$3")"
  PYTHONPATH="$PACKAGE" timeout -k 5 "$limit" "$1" "$ROOT/tests/bench/gpu.py" "$2" --peer-python "$1" --out "$RESULTS" \
    --limit "$((limit > 20 ? limit - 10 : limit))" "${@:4}" </dev/null 2>"$RESULTS/$2.log"
}
