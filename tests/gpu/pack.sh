#!/usr/bin/env bash
# pack.sh FOLDER: gathers what tests/gpu/run.sh and tests/gpu/bench.sh need on a machine that has CUDA, CMake and a compiler
# but no packages: the sources, and in FOLDER/packages.tar.gz the libraries and headers of this machine, a Debian one, that
# the tests and the Python extension are built with, and nanobind. A Python with its headers and NumPy, and PyTorch, must be
# there.
set -u
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"

LIMIT_MIB=60

if [ $# -ne 1 ] || [ -e "$1" ]; then
  complain "usage: tests/gpu/pack.sh FOLDER, which must not be there yet"
  exit 2
fi
make_venv || exit 1
mkdir -p "$1/packages" || exit 1
folder="$(cd "$1" && pwd)"
(cd "$ROOT" && cp -R CMakeLists.txt cmake runtime sbp ops planner actors python models tests "$folder") || exit 1
find "$folder" -name __pycache__ -prune -exec rm -r '{}' +

# As they lie in /usr, with no links: libraries by the names that programs ask for.
lib="lib/$(gcc -dumpmachine)"
schemas() { # <folder>: their C++ code, which needs no compiler of schemas
  mkdir -p "$1" && capnp compile -oc++:"$1" --src-prefix "$ROOT" -I /usr/include "$ROOT"/runtime/plan/plan.capnp \
    "$ROOT"/runtime/comm/wire.capnp
}
cd /usr || exit 1
if ! cp -RL --parents include/gtest "$lib/cmake/GTest" "$lib"/libgtest{,_main}.a \
  include/dnnl* include/oneapi "$lib"/libdnnl.so.? "$lib/libOpenCL.so.1" \
  include/caf "$lib"/libcaf_{core,io}.so.*.* include/capnp include/kj "$lib"/lib{capnp,kj}-[0-9]*.so \
  include/uc[pst] "include/${lib#lib/}/openssl" include/openssl "$lib"/lib{ssl,crypto}.so.? "$folder/packages" ||
  ! cp -R "$ROOT/tests/gpu/cmake" "$folder/packages/$lib/cmake/CapnProto" ||
  ! schemas "$folder/packages/schemas"; then
  complain "This machine lacks some of it: run tests/environment.sh's install_system_packages."
  exit 1
fi
cp -R "$("$VENV/bin/python" -c 'import nanobind, os; print(os.path.dirname(nanobind.__file__))')" "$folder/packages" || exit 1
tar -C "$folder" -czf "$folder/packages.tar.gz" packages && rm -r "$folder/packages" || exit 1
mib="$(du -sm "$folder" | cut -f 1)"
say "$mib MiB in $folder"
if [ "$mib" -gt "$LIMIT_MIB" ]; then
  complain "that is more than $LIMIT_MIB MiB"
  exit 1
fi
