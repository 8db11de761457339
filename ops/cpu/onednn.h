// What every user of oneDNN shares. Internal to ops/cpu.
#pragma once

#include <dnnl.hpp>

namespace troupe::cpu {

inline const dnnl::engine& onednn_engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// This thread's.
inline dnnl::stream& onednn_stream() {
  static thread_local dnnl::stream own(onednn_engine());
  return own;
}

}  // namespace troupe::cpu
