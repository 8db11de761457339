#include "runtime/comm/ucx_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "runtime/base/error.h"

namespace troupe {
namespace {

[[noreturn]] void refuse() {
  Fault fault;
  const char* why = dlerror();
  fault.what = std::string("UCX, which carries tensors between hosts, cannot be loaded (Debian's package: libucx0): ") +
               (why == nullptr ? "unknown reason" : why);
  throw FaultError(std::move(fault));
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) refuse();
}

// Settings that UCX reads from the environment when it is loaded, and then only. The user's own hold.
constexpr std::array kSettings = {
    "UCX_ERROR_SIGNALS=",   // it handles no signal,
    "UCX_DEBUG_SIGNO=0",    // also not SIGHUP,
    "UCX_MEM_EVENTS=n",     // does not patch the functions that map memory,
    "UCX_LOG_LEVEL=fatal",  // and leaves it to us to report what fails
};

// Adds the settings to the environment, as long as it lives, in an array that lives for ever: other threads may be
// reading the environment, in the array that it was or in this one.
class Settings {
 public:
  explicit Settings(std::vector<char*>& with) : before_(environ), with_(with) {
    for (char** each = before_; each != nullptr && *each != nullptr; ++each) with_.push_back(*each);
    for (const char* setting : kSettings) {
      const std::string name(setting, std::strchr(setting, '='));
      if (std::getenv(name.c_str()) == nullptr) with_.push_back(const_cast<char*>(setting));
    }
    with_.push_back(nullptr);
    environ = with_.data();
  }
  ~Settings() {
    if (environ == with_.data()) environ = before_;  // otherwise somebody has changed it since
  }
  Settings(const Settings&) = delete;

 private:
  char** before_;
  std::vector<char*>& with_;
};

UcxLibrary load() {
  void* ucp = nullptr;
  {
    static std::deque<std::vector<char*>> tries;  // one that failed may be made again
    const Settings settings(tries.emplace_back());
    ucp = dlopen("libucp.so.0", RTLD_NOW | RTLD_LOCAL);
  }
  if (ucp == nullptr) refuse();
  UcxLibrary ucx{};
  find(ucp, "ucp_config_read", ucx.config_read);
  find(ucp, "ucp_config_modify", ucx.config_modify);
  find(ucp, "ucp_config_release", ucx.config_release);
  find(ucp, "ucp_init_version", ucx.init_version);
  find(ucp, "ucp_cleanup", ucx.cleanup);
  find(ucp, "ucp_worker_create", ucx.worker_create);
  find(ucp, "ucp_worker_destroy", ucx.worker_destroy);
  find(ucp, "ucp_worker_query", ucx.worker_query);
  find(ucp, "ucp_worker_release_address", ucx.worker_release_address);
  find(ucp, "ucp_worker_set_am_recv_handler", ucx.worker_set_am_recv_handler);
  find(ucp, "ucp_worker_get_efd", ucx.worker_get_efd);
  find(ucp, "ucp_worker_arm", ucx.worker_arm);
  find(ucp, "ucp_worker_progress", ucx.worker_progress);
  find(ucp, "ucp_ep_create", ucx.ep_create);
  find(ucp, "ucp_ep_close_nbx", ucx.ep_close);
  find(ucp, "ucp_am_send_nbx", ucx.am_send);
  find(ucp, "ucp_am_recv_data_nbx", ucx.am_recv_data);
  find(ucp, "ucp_mem_map", ucx.mem_map);
  find(ucp, "ucp_mem_unmap", ucx.mem_unmap);
  find(ucp, "ucp_request_check_status", ucx.request_check_status);
  find(ucp, "ucp_request_free", ucx.request_free);
  find(ucp, "ucs_status_string", ucx.status_string);  // of a library that it depends on
  return ucx;
}

}  // namespace

const UcxLibrary& ucx_library() {
  static const UcxLibrary library = load();
  return library;
}

}  // namespace troupe
