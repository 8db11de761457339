#include "runtime/comm/host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <utility>

#include "runtime/base/error.h"

namespace troupe {
namespace {

std::string link_of(const char* path) {
  std::error_code error;
  return std::filesystem::read_symlink(path, error).string();
}

bool same_address(const sockaddr* a, const sockaddr* b) {
  if (a == nullptr || a->sa_family != b->sa_family) return false;
  if (a->sa_family == AF_INET) {
    const auto* x = reinterpret_cast<const sockaddr_in*>(a);
    const auto* y = reinterpret_cast<const sockaddr_in*>(b);
    return x->sin_addr.s_addr == y->sin_addr.s_addr;
  }
  if (a->sa_family != AF_INET6) return false;
  const auto* x = reinterpret_cast<const sockaddr_in6*>(a);
  const auto* y = reinterpret_cast<const sockaddr_in6*>(b);
  return std::memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
}

// The address that this host shows on the route there. Nothing is sent.
bool own_address(const addrinfo& to, sockaddr_storage& own) {
  const int file = socket(to.ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (file < 0) return false;
  socklen_t size = sizeof(own);
  const bool found =
      connect(file, to.ai_addr, to.ai_addrlen) == 0 && getsockname(file, reinterpret_cast<sockaddr*>(&own), &size) == 0;
  close(file);
  return found;
}

std::string device_with(const sockaddr_storage& address) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, freeifaddrs);
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    if (same_address(each->ifa_addr, reinterpret_cast<const sockaddr*>(&address))) return each->ifa_name;
  }
  return {};
}

[[noreturn]] void fail(const std::string& host, const std::string& why) {
  Fault fault;
  fault.what = "no network device leads to " + host + ": " + why;
  throw FaultError(std::move(fault));
}

}  // namespace

std::string host_identity() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  if (boot.empty()) boot = std::to_string(std::random_device()());  // then it shares with nobody
  return boot + " " + link_of("/proc/self/ns/pid") + " " + link_of("/proc/self/ns/net");
}

std::string network_devices(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_INET;  // as control messages go
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); error != 0) {
    fail(host, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  sockaddr_storage own{};
  if (!own_address(*found, own)) fail(host, std::strerror(errno));
  std::string devices = device_with(own);
  if (devices.empty()) fail(host, "the route's address is on no device");
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/class/infiniband", error)) {
    devices += "," + entry.path().filename().string() + ":1";
  }
  return devices;
}

}  // namespace troupe
