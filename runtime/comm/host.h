// Who a process is, for processes of other hosts.
#pragma once

#include <cstdint>
#include <string>

namespace troupe {

// Equal for processes that can map each other's shared memory: of one kernel, in the same namespaces of processes and of
// networks.
std::string host_identity();

// The network devices by which this process reaches an address, as UCX names them ("eth0,mlx5_0:1"): the one of the
// route, and those of RDMA. FaultError when there is no route.
std::string network_devices(const std::string& host, uint16_t port);

}  // namespace troupe
