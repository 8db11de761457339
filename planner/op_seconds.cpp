#include "planner/op_seconds.h"

#include <algorithm>

namespace troupe {

double op_seconds(const OpDef& op, const OpArgs& args, double bytes, const Profile& profile) {
  const double traffic = bytes / profile.memory_bytes_per_s;
  if (op.flops == nullptr) return traffic;
  const bool low =
      std::any_of(args.inputs.begin(), args.inputs.end(), [](const TensorType& t) { return is_low(t.dtype); });
  const double rate = low ? profile.low_matmul_flops_per_s : profile.matmul_flops_per_s;
  return std::max(traffic, op.flops(args) / rate);
}

}  // namespace troupe
