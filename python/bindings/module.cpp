// The extension module: the runtime as Python sees it. The package `troupe` is its only user.

#include "python/bindings/bindings.h"
#include "runtime/base/error.h"

NB_MODULE(_troupe, module) {
  namespace nb = nanobind;
  module.doc() = "The runtime of Troupe, for the package troupe.";
  nb::exception<troupe::PlanError>(module, "PlanError", PyExc_ValueError).attr("__doc__") =
      "A mistake in a model or in what is asked of it, found while tracing or planning.";
  nb::exception<troupe::FaultError>(module, "FaultError", PyExc_RuntimeError).attr("__doc__") =
      "A failure of the world while a plan runs: an unreadable file, a loss that is not finite, a stall.";
  troupe::python::bind_graph(module);
  troupe::python::bind_plan(module);
  troupe::python::bind_backend(module);
  troupe::python::bind_session(module);
  troupe::python::bind_data(module);
  troupe::python::bind_files(module);
}
