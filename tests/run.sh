#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. The last line is "N passed, N failed, N skipped"; the exit
# code is not zero when something failed.
#   --fast   without the sanitizer builds, the live comparison with PyTorch and the tests marked as slow
# TROUPE_PEER_PYTHON names a Python that has PyTorch, for the tests that compare with it (.ci/run makes one).
set -u
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

fast=0
for argument in "$@"; do
  case "$argument" in
    --fast) fast=1 ;;
    *)
      complain "usage: tests/run.sh [--fast]"
      exit 2
      ;;
  esac
done
cd "$ROOT" || exit 1
if [ "$fast" -eq 1 ]; then
  unset TROUPE_PEER_PYTHON
elif [ -z "${TROUPE_PEER_PYTHON:-}" ] && [ -x .venv-peer/bin/python ]; then
  export TROUPE_PEER_PYTHON="$ROOT/.venv-peer/bin/python"
fi
REPORTS="$BUILD/reports"
passed=0 failed=0 skipped=0

begin() {
  phase="$1"
  started="$(date +%s)"
  printf '\n== %s\n' "$phase"
}
end() { say "-- $phase: $(($(date +%s) - started)) s"; }
finish() {
  printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" -eq 0 ]
  exit
}
pass() { passed=$((passed + 1)); }
fail() {
  failed=$((failed + 1))
  say "FAILED: $*"
}
skip() {
  skipped=$((skipped + 1))
  say "skipped: $*"
}
# Adds the counts of a JUnit file, and names what failed or was skipped; counts one failure when the phase left none.
add_report() { # <file> <exit status of the phase> [its name]
  local counts name="${3:-$phase}"
  if ! counts="$("$VENV/bin/python" tests/count.py "$1" "$REPORTS/lines" 2>/dev/null)"; then
    fail "$name left no report (exit status $2)"
    return
  fi
  cat "$REPORTS/lines"
  local p f s
  read -r p f s <<<"$counts"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  if [ "$2" -ne 0 ] && [ "$f" -eq 0 ]; then fail "$name ended with exit status $2"; fi
}

begin "system and Python packages"
if ! { install_system_packages && make_venv; }; then
  fail "$phase"
  end
  finish
fi
end
mkdir -p "$REPORTS"
rm -f "$REPORTS"/*

begin "build"
package=0
if build_package; then
  pass
  package=1
else
  fail "the Python package does not build"
fi
built=0
if [ ! -f "$BUILD/build.ninja" ]; then
  with_system_tools quiet cmake -S . -B "$BUILD" -G Ninja -DTROUPE_TESTS=ON
fi
if with_system_tools quiet ninja -k 0 -C "$BUILD"; then
  pass
  built=1
else
  fail "C++ does not build"
fi
end

begin "C++ tests"
if [ "$built" -eq 1 ] || compgen -G "$BUILD/*_test" >/dev/null; then
  with_system_tools timeout -k 10 1500 ctest --test-dir "$BUILD" -j 2 --output-on-failure --progress \
    --output-junit "$REPORTS/cpp.xml" </dev/null >"$REPORTS/cpp.log" 2>&1
  status=$?
  [ "$status" -eq 0 ] || tail -n 200 "$REPORTS/cpp.log"
  add_report "$REPORTS/cpp.xml" "$status"
else
  fail "$phase: nothing was built"
fi
end

begin "layers"
timeout -k 10 120 "$VENV/bin/python" -m pytest -q --junitxml "$REPORTS/layers.xml" tests/layering_test.py </dev/null
add_report "$REPORTS/layers.xml" $?
end

begin "formatting"
if tests/format.sh; then pass; else fail "formatting: tests/format.sh --fix corrects it"; fi
end

# A process per file: one that crashes takes no other's results along. Two at a time, the longest first, as far as known.
test_file() { # <file>
  local log="$REPORTS/$(printf '%s' "$1" | tr / .)"
  timeout -k 10 900 "$VENV/bin/python" -m pytest -q --no-header -m "$WHICH" --junitxml "$log.xml" "$1" \
    </dev/null >"$log.log" 2>&1
  printf '%s\n' "$?" >"$log.status"
  tail -n 1 "$log.log" | sed "s|^|$1: |"
}
python_test_files() {
  printf '%s\n' tests/python/parity_test.py
  find tests python \( -name '*_test.py' -o -name 'test_*.py' \) \
    ! -path tests/layering_test.py ! -path tests/python/parity_test.py | LC_ALL=C sort
}
begin "Python tests"
if [ "$package" -eq 1 ]; then
  export -f test_file
  WHICH=""
  if [ "$fast" -eq 1 ]; then WHICH="not slow"; fi
  export VENV REPORTS WHICH
  python_test_files | xargs -P 2 -I '{}' bash -c 'test_file {}'
  while read -r file; do
    log="$REPORTS/$(printf '%s' "$file" | tr / .)"
    status="$(cat "$log.status" 2>/dev/null || echo none)"
    [ "$status" = 0 ] || tail -n 200 "$log.log"
    add_report "$log.xml" "$status" "$file"
  done < <(python_test_files)
else
  fail "$phase: there is no package to import"
fi
end

# Builds the folders that need no CAF with a sanitizer, and runs their tests, or those of some folders, or of those the
# tests whose names begin so.
sanitize() { # <name> <sanitizers> [folder[:name]]...
  begin "$1 sanitizer"
  local tree="$ROOT/build-$1" status folder name targets=() which="."
  for folder in "${@:3}"; do
    name="${folder%%:*}"
    targets+=("${name//\//_}_test")
  done
  if [ $# -gt 2 ]; then which="^($(printf '%s\n' "${@:3}" | sed 's/:/: */; t; s/$/:/' | paste -sd '|'))"; fi
  # The thread sanitizer of g++ 12 aborts where address space layout is random over 32 bits; setarch -R turns that off.
  local run=(timeout -k 10 1500)
  if setarch -R true 2>/dev/null; then run+=(setarch -R); fi
  if with_system_tools quiet cmake -S . -B "$tree" -G Ninja -DTROUPE_CORE_ONLY=ON "-DTROUPE_SANITIZE=$2" &&
    with_system_tools quiet "${run[@]}" ninja -k 0 -C "$tree" "${targets[@]}"; then
    pass
    # Not detect_stack_use_after_return: with it g++ 12 aligns a frame to 32 bytes where its vectors need 64.
    UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_stack_use_after_return=0 \
      with_system_tools "${run[@]}" ctest --test-dir "$tree" -R "$which" --no-tests=error -j 2 --output-on-failure --progress \
      --output-junit "$REPORTS/$1.xml" </dev/null >"$REPORTS/$1.log" 2>&1
    status=$?
    [ "$status" -eq 0 ] || tail -n 200 "$REPORTS/$1.log"
    add_report "$REPORTS/$1.xml" "$status"
  else
    fail "the build with -fsanitize=$2"
  fi
  end
}
if [ "$fast" -eq 1 ]; then
  phase="sanitizers"
  skip "address and undefined-behaviour sanitizer (--fast)"
  skip "thread sanitizer (--fast)"
else
  sanitize address address,undefined
  # Of runs of whole plans a part, and of pure functions those tests that start threads.
  sanitize thread thread actors/engine "tests/walk:(Walk|Gpt|Experts|Zero)" planner:Emit ops/cpu:Gemm
fi
finish
