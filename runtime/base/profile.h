// The profile: what planning knows about speed. Built-in defaults describe a two-core server; a measured profile can
// replace them. Times are seconds, sizes bytes, rates per second.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/id.h"

namespace troupe {

struct Link {
  double bytes_per_s = 0;
  double latency_s = 0;
  bool operator==(const Link&) const = default;
};

// Where two devices meet: in one device, under one switch, in one host, at the bus between a device and the memory of
// its host, or over the network. Traffic and cost are counted per kind.
enum class LinkKind : uint8_t { local, within_switch, within_host, host_memory, between_hosts };
constexpr int kLinkKinds = 5;
const char* name_of(LinkKind kind);

// Where each device of the plan's device table stands.
struct Topology {
  struct Place {
    int host = 0;
    int switch_in_host = 0;  // kHostMemory: no device but memory of the host
    bool operator==(const Place&) const = default;
  };
  static constexpr int kHostMemory = -1;
  std::vector<Place> places;  // by DeviceId
  Link links[kLinkKinds] = {{12e9, 0}, {10e9, 1e-6}, {10e9, 1e-6}, {10e9, 1e-6}, {3e9, 5e-6}};

  // All devices in one host under one switch.
  static Topology one_host(int devices);
  // Hosts of so many GPUs: NVLink between those of a host (450 GB/s each way), 16 lanes of PCIe 5 each to the host's
  // memory (55 GB/s each way), a 400 Gbit/s port each to the network.
  static Topology hosts(int devices, int per_host);
  LinkKind between(DeviceId a, DeviceId b) const;
  const Link& link(DeviceId a, DeviceId b) const { return links[static_cast<int>(between(a, b))]; }
  bool operator==(const Topology&) const = default;
};

struct Profile {
  double matmul_flops_per_s = 130e9;      // one CPU device, float32
  double low_matmul_flops_per_s = 260e9;  // the same of bf16 and f16: AVX512-BF16 does two products for one of float32
  double memory_bytes_per_s = 12e9;       // one CPU device, streaming
  double firing_s = 1e-6;                 // cost of one firing that does nothing
  int cores = 2;                          // executors that run at the same time; 0: one per device
  // One H200: dense products at 80 % of 494 TFLOP/s in TF32, which stands for float32, and of 989 TFLOP/s in bf16 and
  // f16; copies at 90 % of 4.8 TB/s (NVIDIA's data sheet, and the shares of it that well-tuned kernels reach).
  static Profile h200();
  bool operator==(const Profile&) const = default;
};

}  // namespace troupe
