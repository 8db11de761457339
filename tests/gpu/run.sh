#!/usr/bin/env bash
# On a machine with a GPU: builds the tests and the benchmark of the CUDA backend in build-gpu, and runs them, within ten
# minutes. Results go to build-gpu/results, or to $OUT where that is set: tests.json, kernels.json and what they printed.
# Then GPT-2 with PyTorch beside it, in the time that is left, where the Python extension can be built (bench.sh has more).
# The last lines are the kernels' times, that table, and "N passed, N failed, N skipped"; the exit code is not zero when
# something failed. Where there is no nvcc or no GPU it says so and ends with 0.
#   --build   builds and starts them also where there is no GPU: then all tests are skipped, and no model is trained
set -u
source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

TARGETS=(ops_cuda_gpu_test ops_cuda_gpu_bench)
FOR_GPT2_S=60 # it is not begun with less

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
find_gpu "$always"
rm -f "$RESULTS"/{packages,configure,build,tests,kernels}.log "$RESULTS"/{tests,kernels}.json
configure "$RESULTS/configure.log" && build 420 "$RESULTS/build.log" "${TARGETS[@]}" || exit 1

phase 300 "$RESULTS/tests.log" "$BUILD_GPU/tests/gpu/ops_cuda_gpu_test" "--gtest_output=json:$RESULTS/tests.json"
tests_status=$?
if [ "$tests_status" -ne 0 ]; then grep -v '^\[ *\(OK\|RUN\|-*\) *\]' "$RESULTS/tests.log" | tail -n 100; fi
phase 120 "$RESULTS/kernels.log" "$BUILD_GPU/tests/gpu/ops_cuda_gpu_bench" "$RESULTS/kernels.json"
kernels_status=$?
# The rest of the extension takes minutes, so it is built when the tests have been.
model_status=0 extension=0
if python="$(find_torch_python)" && build_extension "$python" 300; then extension=1; fi

say
cat "$RESULTS/kernels.log"
say
left="$(within 240)"
if [ "$extension" -eq 0 ]; then
  say "GPT-2 was not trained: its Python extension cannot be had here"
elif [ "$always" -eq 1 ]; then
  say "GPT-2 was not trained: --build only builds"
elif [ "$left" -lt "$FOR_GPT2_S" ]; then
  say "GPT-2 was not trained: of ten minutes $left s were left; tests/gpu/bench.sh gpt2-124m does"
else
  benchmark "$python" gpt2-124m "$left" --modes eager,compile
  model_status=$?
fi
# By what was printed, which is there also when the process has ended too early.
count() { grep -c "^\[ *$1 *\] .* ([0-9]* ms)\$" "$RESULTS/tests.log"; }
failed="$(count FAILED)"
if [ "$failed" -eq 0 ] && [ "$tests_status" -ne 0 ]; then failed=1; fi
for status in "$kernels_status" "$model_status"; do
  if [ "$status" -ne 0 ]; then failed=$((failed + 1)); fi
done
printf '\n%s passed, %s failed, %s skipped\n' "$(count OK)" "$failed" "$(count SKIPPED)"
[ "$failed" -eq 0 ]
