// What kernels say of data that they cannot take: see KernelReport.
#pragma once

#include "ops/cuda/device.h"
#include "runtime/device/kernel.h"

namespace troupe::cuda {

struct Reporter {
  KernelReport* report;  // null: nobody asks
  int32_t task;
  int32_t operand;

  // The first to say something is heard. By any threads.
  __device__ void say(int64_t element, int64_t value) const {
    if (report == nullptr || atomicCAS(&report->said, 0u, KernelReport::kReporting) != 0) return;
    report->task = task;
    report->operand = operand;
    report->element = element;
    report->value = value;
    __threadfence_system();
    *static_cast<volatile uint32_t*>(&report->said) = KernelReport::kReported;
  }
};

inline Reporter reporter_of(const KernelArgs& args, int operand) { return {args.report, args.task, operand}; }

}  // namespace troupe::cuda
