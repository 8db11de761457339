#!/usr/bin/env bash
# On a machine with a GPU: builds the tests and the benchmark of the CUDA backend in build-gpu, and runs them, within ten
# minutes. Results go to build-gpu/results, or to $OUT where that is set: tests.json, kernels.json and what they printed.
# The last lines are the kernels' times, and "N passed, N failed, N skipped"; the exit code is not zero when something
# failed. Where there is no nvcc or no GPU it says so and ends with 0.
#   --build   builds and starts them also where there is no GPU: then all tests are skipped
# Where packages/ of tests/gpu/pack.sh lies in the root, GoogleTest and oneDNN are taken from there.
set -u
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"

LIMIT_S=600
BUILD_GPU="$ROOT/build-gpu"
PACKAGES="$ROOT/packages"
RESULTS="${OUT:-$BUILD_GPU/results}"
TARGETS=(ops_cuda_gpu_test ops_cuda_gpu_bench)

always=0
for argument in "$@"; do
  case "$argument" in
    --build) always=1 ;;
    *)
      complain "usage: tests/gpu/run.sh [--build]"
      exit 2
      ;;
  esac
done
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
configure() {
  local options=(-DTROUPE_TESTS=ON -DTROUPE_GPU_TESTS=ON -DTROUPE_CUDA=ON "-DTROUPE_CUDA_ARCH=$arch")
  if [ -d "$PACKAGES" ]; then
    local lib
    lib="$(echo "$PACKAGES"/lib/*)"
    options+=("-DGTest_DIR=$lib/cmake/GTest" "-DDNNL=$(echo "$lib"/libdnnl.so.*)"
      "-DCMAKE_CXX_FLAGS=-isystem $PACKAGES/include" "-DCMAKE_EXE_LINKER_FLAGS=-Wl,-rpath-link,$lib")
    export LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  elif command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    # Where it fails, CMake says what is missing.
    phase 180 "$RESULTS/packages.log" bash -c 'source "$0" && install_system_packages' "$ROOT/tests/environment.sh"
  fi
  cmake="$(find_cmake)" || return 1
  if command -v ninja >/dev/null; then options+=(-G Ninja); fi
  phase 120 "$RESULTS/configure.log" "$cmake" -S "$ROOT" -B "$BUILD_GPU" "${options[@]}"
}

if ! find_nvcc; then skip "there is no nvcc, neither on the PATH nor in /usr/local/cuda/bin"; fi
arch="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -dc '0-9')"
if [ -z "$arch" ]; then
  if [ "$always" -eq 0 ]; then skip "there is no GPU: nvidia-smi shows none"; fi
  arch=90
fi
PATH="/usr/bin:/bin:$PATH"
mkdir -p "$RESULTS" || exit 1
rm -f "$RESULTS"/{packages,configure,build,tests,kernels}.log "$RESULTS"/{tests,kernels}.json

if ! configure; then
  tail -n 40 "$RESULTS/configure.log" >&2 2>/dev/null
  complain "CMake could not configure build-gpu"
  exit 1
fi
if ! phase 420 "$RESULTS/build.log" "$cmake" --build "$BUILD_GPU" -j "$(nproc)" --target "${TARGETS[@]}"; then
  tail -n 60 "$RESULTS/build.log" >&2
  complain "the tests and the benchmark do not build, or not in time"
  exit 1
fi

phase 300 "$RESULTS/tests.log" "$BUILD_GPU/tests/gpu/ops_cuda_gpu_test" "--gtest_output=json:$RESULTS/tests.json"
tests_status=$?
if [ "$tests_status" -ne 0 ]; then grep -v '^\[ *\(OK\|RUN\|-*\) *\]' "$RESULTS/tests.log" | tail -n 100; fi
phase 120 "$RESULTS/kernels.log" "$BUILD_GPU/tests/gpu/ops_cuda_gpu_bench" "$RESULTS/kernels.json"
kernels_status=$?

say
cat "$RESULTS/kernels.log"
# By what was printed, which is there also when the process has ended too early.
count() { grep -c "^\[ *$1 *\] .* ([0-9]* ms)\$" "$RESULTS/tests.log"; }
failed="$(count FAILED)"
if [ "$failed" -eq 0 ] && [ "$tests_status" -ne 0 ]; then failed=1; fi
if [ "$kernels_status" -ne 0 ]; then failed=$((failed + 1)); fi
printf '\n%s passed, %s failed, %s skipped\n' "$(count OK)" "$failed" "$(count SKIPPED)"
[ "$failed" -eq 0 ]
