#include "python/bindings/backend.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include "ops/op.h"
#include "python/bindings/bindings.h"
#include "runtime/device/load_backend.h"

namespace troupe::python {

Backend::Backend(const std::string& library) : backend_(load_backend(library)) {
  add_cpu_kernels(kernels_);
  backend_->add_kernels(kernels_);
}

void bind_backend(nb::module_& module) {
  nb::class_<Backend>(module, "Backend", "The library that drives CUDA devices.")
      .def_static("load", [](const std::string& library) { return std::make_shared<Backend>(library); })
      .def_prop_ro("description", [](const Backend& self) { return self.devices().description(); })
      .def_prop_ro("queue_bytes", [](const Backend& self) { return self.devices().queue_bytes(); })
      // Of each device: its name, bytes of memory, bytes that are free now.
      .def_prop_ro("devices", [](const Backend& self) {
        nb::list result;
        for (const DeviceInfo& device : self.devices().devices()) {
          result.append(nb::make_tuple(device.name, device.memory_bytes, device.free_bytes));
        }
        return result;
      });
}

}  // namespace troupe::python
