#!/usr/bin/env bash
# Checks that the C++ files are formatted as .clang-format says; --fix formats them.
set -u
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
make_venv || exit 1
cd "$ROOT" || exit 1
mode=(--dry-run --Werror)
[ "${1:-}" = "--fix" ] && mode=(-i)
log="$(mktemp)"
find runtime sbp ops planner actors python tests \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  LC_ALL=C sort -z | xargs -0 -n 8 -P 2 "$VENV/bin/clang-format" --style=file "${mode[@]}" 2>"$log"
status=$?
if [ "$status" -ne 0 ]; then
  sed -n 's/^\([^: ]*\):[0-9]*:[0-9]*: \(error\|warning\):.*/\1/p' "$log" | LC_ALL=C sort | uniq -c |
    awk '{ print $2 ": not formatted in " $1 " places" }'
  grep -v 'error:\|warning:\|^ ' "$log" | grep -i 'no such\|cannot\|invalid' | head -n 5
fi
rm -f "$log"
[ "$status" -eq 0 ]
