#include "runtime/comm/ucx_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>

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

UcxLibrary load() {
  // It reads these when it is loaded. The user's own settings hold.
  setenv("UCX_ERROR_SIGNALS", "", 0);
  setenv("UCX_MEM_EVENTS", "n", 0);
  setenv("UCX_LOG_LEVEL", "fatal", 0);  // what fails is reported by us
  void* ucp = dlopen("libucp.so.0", RTLD_NOW | RTLD_LOCAL);
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
