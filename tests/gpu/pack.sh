#!/usr/bin/env bash
# pack.sh FOLDER: gathers what tests/gpu/run.sh needs on a machine that has CUDA, CMake and a compiler but no packages: the
# sources, and in FOLDER/packages GoogleTest and oneDNN (on which the CPU's kernels compute) of this machine, a Debian one.
set -u
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"

LIMIT_MIB=60

if [ $# -ne 1 ] || [ -e "$1" ]; then
  complain "usage: tests/gpu/pack.sh FOLDER, which must not be there yet"
  exit 2
fi
mkdir -p "$1/packages" || exit 1
folder="$(cd "$1" && pwd)"
(cd "$ROOT" && cp -R CMakeLists.txt cmake runtime sbp ops tests "$folder") || exit 1
find "$folder" -name __pycache__ -prune -exec rm -r '{}' +

# As they lie in /usr, with no links: libraries by the names that programs ask for.
lib="lib/$(gcc -dumpmachine)"
cd /usr || exit 1
if ! cp -RL --parents include/gtest "$lib/cmake/GTest" "$lib"/libgtest{,_main}.a include/dnnl* include/oneapi \
  "$lib"/libdnnl.so.? "$lib/libOpenCL.so.1" "$folder/packages"; then
  complain "This machine lacks some of it: run tests/environment.sh's install_system_packages."
  exit 1
fi
mib="$(du -sm "$folder" | cut -f 1)"
say "$mib MiB in $folder"
if [ "$mib" -gt "$LIMIT_MIB" ]; then
  complain "that is more than $LIMIT_MIB MiB"
  exit 1
fi
