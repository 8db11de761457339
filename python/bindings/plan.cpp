// Planning: choices in, a compiled plan and everything said about it out.

#include <nanobind/stl/map.h>
#include <nanobind/stl/set.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "planner/compile.h"
#include "planner/fit.h"
#include "python/bindings/bindings.h"
#include "runtime/plan/print.h"
#include "runtime/plan/read.h"
#include "runtime/plan/write.h"

namespace troupe::python {
namespace {

Mesh mesh_from(const std::vector<std::pair<std::string, int>>& axes) {
  std::vector<Axis> result;
  for (const auto& [name, size] : axes) result.push_back({name, size});
  return Mesh(std::move(result));
}

nb::dict memory_of(const MemoryByKind& memory) {
  nb::dict result;
  result["parameters"] = memory.parameters;
  result["optimizer"] = memory.optimizer;
  result["activations"] = memory.activations;
  result["gradients"] = memory.gradients;
  result["io"] = memory.io;
  return result;
}

nb::list traffic_of(const Plan& plan) {
  nb::list result;
  for (const PlanTraffic& traffic : plan.promise.traffic) {
    result.append(nb::make_tuple(traffic.kind, traffic.axis, traffic.count, traffic.bytes));
  }
  return result;
}

}  // namespace

void bind_plan(nb::module_& module) {
  nb::class_<Choices>(module, "Choices", "Everything that is decided about a plan.")
      .def("__init__",
           [](Choices* self, const std::string& name, const nb::list& axes, const std::vector<std::string>& devices,
              int64_t memory_bytes) {
             std::vector<std::pair<std::string, int>> sizes;
             for (nb::handle axis : axes) {
               const nb::tuple pair = nb::cast<nb::tuple>(axis);
               sizes.emplace_back(nb::cast<std::string>(pair[0]), nb::cast<int>(pair[1]));
             }
             new (self) Choices();
             self->name = name;
             self->mesh = mesh_from(sizes);
             self->devices = devices;
             self->memory_bytes = memory_bytes;
             self->topology = Topology::one_host(self->mesh.size());
           })
      .def_rw("data_axes", &Choices::data_axes)
      .def_rw("batch_shards", &Choices::batch_shards)
      .def_rw("pieces_per_shard", &Choices::pieces_per_shard)
      .def_rw("one_per_class", &Choices::one_per_class)
      .def_rw("recompute", &Choices::recompute)
      .def_rw("offload", &Choices::offload)
      .def_rw("host_memory_bytes", &Choices::host_memory_bytes)
      .def_rw("sequence_axis", &Choices::sequence_axis)
      .def_rw("sequence_ring", &Choices::sequence_ring)
      .def_rw("gathered_per_pass", &Choices::gathered_per_pass)
      .def_rw("source_slots", &Choices::source_slots)
      .def_rw("copies_sources", &Choices::copies_sources)
      .def("set_precision", [](Choices& self, const std::string& dtype) { self.precision = dtype_from_name(dtype); })
      .def_rw("seed", &Choices::seed)
      .def("in_hosts_of",
           [](Choices& self, int devices) {
             self.topology = Topology::hosts(static_cast<int>(self.devices.size()), devices);
           })
      .def("cut_stages",
           [](Choices& self, const std::string& axis, const std::string& schedule, int chunks,
              const std::map<std::string, int>& chunk_of) {
             self.cut_stages(axis);
             self.pipeline.schedule = schedule_named(schedule);
             self.pipeline.chunks = chunks;
             self.pipeline.chunk_of = chunk_of;
           })
      .def("bind_to", [](Choices& self, const Compiled& other) {
        self.variables.insert(other.variables.begin(), other.variables.end());
        self.variables_end = other.variables_end;
      });
  nb::class_<Profile>(module, "Profile", "What planning knows about speed.")
      .def(nb::init<>())
      .def_static("h200", &Profile::h200)
      .def_rw("cores", &Profile::cores);
  nb::class_<Compiled>(module, "Compiled", "A plan, and how it was made.")
      .def_prop_ro("name", [](const Compiled& self) { return self.plan.name; })
      .def_prop_ro("text", [](const Compiled& self) { return to_text(self.plan); })
      .def_prop_ro("summary", [](const Compiled& self) { return self.summary.text; })
      .def_prop_ro("stages", [](const Compiled& self) { return self.stages; })
      .def_prop_ro("peak_tensors", [](const Compiled& self) { return self.summary.peak_tensors; })
      .def_prop_ro("devices",
                   [](const Compiled& self) {
                     nb::list result;
                     for (const PlanDevice& device : self.plan.devices) result.append(device.name);
                     return result;
                   })
      .def_prop_ro("memory",
                   [](const Compiled& self) {
                     nb::list result;
                     for (const MemoryByKind& memory : self.summary.memory) result.append(memory_of(memory));
                     return result;
                   })
      .def_prop_ro("traffic", [](const Compiled& self) { return traffic_of(self.plan); })
      .def_prop_ro("promised_peak",
                   [](const Compiled& self) {
                     nb::list result;
                     for (int64_t bytes : self.plan.promise.peak) result.append(bytes);
                     return result;
                   })
      .def_prop_ro("critical", [](const Compiled& self) { return self.plan.promise.critical; })
      .def_prop_ro("cycle_s", [](const Compiled& self) { return self.summary.cycle_s; })
      .def_prop_ro("link_bytes",
                   [](const Compiled& self) {
                     nb::dict result;
                     for (int kind = 0; kind < kLinkKinds; ++kind) {
                       result[name_of(static_cast<LinkKind>(kind))] =
                           self.summary.link_bytes[static_cast<size_t>(kind)];
                     }
                     return result;
                   })
      .def_prop_ro("bubble", [](const Compiled& self) { return self.summary.bubble; })
      .def_prop_ro("predicted_step_s", [](const Compiled& self) { return self.plan.promise.step_s; })
      .def_prop_ro("variables",
                   [](const Compiled& self) {
                     nb::dict result;
                     for (const PlanVariable& variable : self.plan.variables) {
                       result[variable.name.c_str()] =
                           nb::make_tuple(name_of(variable.dtype), tuple_of(variable.shape));
                     }
                     return result;
                   })
      .def("save", [](const Compiled& self, const std::string& path) { write_plan(self.plan, path); });
  module.def(
      "compile",
      [](const Graph& graph, const Choices& choices, const Profile& profile) {
        return compile(graph, choices, profile);
      },
      nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "fit",
      [](const Graph& graph, const Choices& choices, const std::vector<std::string>& modules, const Profile& profile) {
        return fit(graph, choices, modules, profile).compiled;
      },
      nb::call_guard<nb::gil_scoped_release>());
  module.def(
      "plan_text", [](const std::string& path) { return to_text(read_plan_file(path)); },
      "The text of a plan that was saved.");
}

}  // namespace troupe::python
