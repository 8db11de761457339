// On which executor each stream of a plan runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/plan/plan.h"

namespace troupe {

// -1, or no function: devices are dealt out in blocks of about the same predicted work.
using PlaceOfStream = std::function<int(const Plan&, StreamId)>;

// Device i of a run, "cpu:i", and its host arena, "host:i", belong to the worker that offers the i-th device; there, to
// one of its executors, in blocks. -1 for a device that nobody offers.
struct WorkerShare;
int executor_of_device(const std::string& device, const std::vector<WorkerShare>& workers);
// The index of that worker; -1 likewise.
int process_of_device(const std::string& device, const std::vector<WorkerShare>& workers);

// By stream. A pure function, so that every process of a run finds the same.
std::vector<int> place_streams(const Plan& plan, int executors, const PlaceOfStream& place);

}  // namespace troupe
