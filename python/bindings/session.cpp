// A running cluster with the plans loaded into it. Methods that wait give the interpreter lock away.

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <sstream>

#include "actors/cluster.h"
#include "ops/op.h"
#include "planner/compile.h"
#include "planner/traffic.h"
#include "python/bindings/arrays.h"

namespace troupe::python {
namespace {

const KernelTable& kernels() {
  static const KernelTable table = [] {
    KernelTable result;
    add_cpu_kernels(result);
    return result;
  }();
  return table;
}

std::string text_of(const NonFinite& found, const Plan& plan) {
  const PlanTask& task = plan.task(found.task);
  const PlanRegister& reg = plan.reg(found.reg);
  std::ostringstream text;
  text << "'" << reg.name << "', " << type_text(reg.dtype, reg.shape) << " on "
       << plan.devices[task.device.index()].name << ", is not finite: element " << found.element << " is "
       << found.value << " in step " << found.step << ", batch shard " << found.shard << ", piece " << found.piece;
  if (!found.born) text << "; it came in through '" << plan.reg(found.input).name << "'";
  if (task.line.known()) text << " (" << task.line.str() << ")";
  return text.str();
}

class Session {
 public:
  Session(int devices, int executors) : cluster_(kernels(), {.devices = devices, .executors = executors}) {}

  int64_t load(const Compiled& compiled) { return cluster_.load(std::make_shared<const Plan>(compiled.plan)).value; }

  void unload(int64_t handle) { engine().unload(PlanHandle(handle)); }

  void set_sources(int64_t handle, const nb::dict& sources) {
    SourceMap map;
    for (const auto& [name, source] : sources) {
      map[nb::cast<std::string>(name)] = nb::cast<std::shared_ptr<Source>>(source);
    }
    engine().set_sources(PlanHandle(handle), std::move(map));
  }

  void start(int64_t handle, int64_t first_step, int64_t steps) {
    cluster_.start(PlanHandle(handle), first_step, steps);
  }
  bool wait_for(double at_most_s, double patience_s) { return engine().wait_for(at_most_s, patience_s); }
  void wake() { engine().wake(); }
  void stop() { cluster_.stop(); }
  void shutdown() { cluster_.shutdown(); }

  nb::dict fetch(int64_t handle) {
    nb::dict result;
    for (const PlanOutput& output : engine().plan(PlanHandle(handle)).outputs) {
      result[output.name.c_str()] = new_array(output.dtype, output.shape, [&](std::span<std::byte> into) {
        engine().registers(PlanHandle(handle)).fetch(output, into);
      });
    }
    return result;
  }

  nb::object read(int64_t handle, const std::string& name) {
    const PlanVariable& variable = find(handle, name);
    return new_array(variable.dtype, variable.shape,
                     [&](std::span<std::byte> into) { engine().registers(PlanHandle(handle)).read(variable, into); });
  }

  void write(int64_t handle, const std::string& name, const InputArray& array) {
    engine().write(PlanHandle(handle), find(handle, name), bytes_of(array));
  }

  void observe(int64_t handle, bool finite, bool live_bytes, bool counts) {
    Observe what;
    what.finite = finite;
    what.live_bytes = live_bytes;
    what.counts = counts;
    engine().observe(PlanHandle(handle), what);
  }

  // The first value that was not finite while `finite` was observed.
  std::optional<std::string> nonfinite(int64_t handle) {
    const std::optional<NonFinite> found = engine().observations(PlanHandle(handle)).nonfinite;
    if (!found) return std::nullopt;
    return text_of(*found, engine().plan(PlanHandle(handle)));
  }

  // The most bytes of live slots on each device while `live_bytes` was observed.
  nb::list peak_bytes(int64_t handle) {
    nb::list result;
    for (int64_t bytes : engine().observations(PlanHandle(handle)).peak_workspace) result.append(bytes);
    return result;
  }

  // What devices received from one another while `counts` were observed.
  int64_t received(int64_t handle) {
    return received_bytes(engine().plan(PlanHandle(handle)), engine().observations(PlanHandle(handle)).firings());
  }

 private:
  Engine& engine() { return cluster_.engine(); }

  const PlanVariable& find(int64_t handle, const std::string& name) {
    for (const PlanVariable& variable : engine().plan(PlanHandle(handle)).variables) {
      if (variable.name == name) return variable;
    }
    throw nb::key_error(name.c_str());
  }

  Cluster cluster_;
};

}  // namespace

void bind_session(nb::module_& module) {
  using Release = nb::call_guard<nb::gil_scoped_release>;
  nb::class_<Session>(module, "Session", "A cluster of devices in this process.")
      .def(nb::init<int, int>())
      .def("load", &Session::load)
      .def("unload", &Session::unload)
      .def("set_sources", &Session::set_sources)
      .def("start", &Session::start, Release())
      .def("wait_for", &Session::wait_for, Release())
      .def("wake", &Session::wake)
      .def("stop", &Session::stop, Release())
      .def("shutdown", &Session::shutdown, Release())
      .def("fetch", &Session::fetch)
      .def("read", &Session::read)
      .def("write", &Session::write)
      .def("observe", &Session::observe, nb::arg("plan"), nb::arg("finite") = false, nb::arg("live_bytes") = false,
           nb::arg("counts") = false)
      .def("nonfinite", &Session::nonfinite)
      .def("peak_bytes", &Session::peak_bytes)
      .def("received_bytes", &Session::received);
}

}  // namespace troupe::python
