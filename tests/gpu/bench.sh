#!/usr/bin/env bash
# bench.sh MODEL: on a machine with a GPU, builds Troupe's Python extension in build-gpu and trains a model with it and with
# PyTorch in one run, within ten minutes. A table comes last; MODEL.json in build-gpu/results, or $OUT, has everything. The
# exit code is not zero where something failed or the losses differ. Where there is no nvcc or no GPU, or no Python that has
# PyTorch, NumPy and headers (TROUPE_PEER_PYTHON may name one), it says so and ends with 0.
# MODEL: gpt2-124m, gpt2-1.5b, llama-1b, moe, resnet50 or gpt-small; tests/bench/workloads.py has their sizes.
#   --build   builds also where there is no GPU, and trains nothing
set -u
source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

always=0 model=""
for argument in "$@"; do
  case "$argument" in
    --build) always=1 ;;
    -*) model="" && break ;;
    *) model="$model$argument" ;;
  esac
done
case "$model" in
  gpt2-124m | gpt2-1.5b | llama-1b | moe | resnet50 | gpt-small) ;;
  *)
    complain "usage: tests/gpu/bench.sh [--build] gpt2-124m | gpt2-1.5b | llama-1b | moe | resnet50 | gpt-small"
    exit 2
    ;;
esac

find_gpu "$always"
python="$(find_torch_python)" || skip "there is no Python to measure with"
build_extension "$python" 420 || exit 1
if [ "$always" -eq 1 ]; then skip "$model was not trained: --build only builds"; fi
benchmark "$python" "$model" 600
status=$?
if [ "$status" -ne 0 ]; then tail -n 20 "$RESULTS/$model.log" >&2; fi
exit "$status"
