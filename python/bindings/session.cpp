// Devices with the plans loaded into them, in this process or in workers. Methods that wait give the interpreter lock
// away.

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <sstream>
#include <utility>

#include "actors/cluster.h"
#include "actors/listener.h"
#include "actors/tls_session.h"
#include "actors/worker_process.h"
#include "ops/op.h"
#include "planner/compile.h"
#include "planner/traffic.h"
#include "python/bindings/arrays.h"
#include "python/bindings/backend.h"
#include "python/bindings/timeline.h"

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

// The workers of other processes that a run has, and the driver's connection to them. One session uses them at a time.
class Workers {
 public:
  Workers(int count, const std::string& token, double heartbeat_s, const std::string& listen, uint16_t port,
          const std::optional<TlsIdentity>& tls)
      : listener_(listen, port, tls), driver_(listener_, options(count, token, heartbeat_s), clock_) {}

  std::string address() const { return listener_.address(); }
  bool gather(double at_most_s, double patience_s) { return driver_.gather(at_most_s, patience_s); }
  void dismiss() { driver_.dismiss(); }
  Driver& driver() { return driver_; }

  bool in_use = false;

 private:
  static CrewOptions options(int count, const std::string& token, double heartbeat_s) {
    CrewOptions made;
    made.workers = count;
    made.token = token;
    made.heartbeat_s = heartbeat_s;
    return made;
  }

  SteadyClock clock_;
  Listener listener_;
  Driver driver_;
};

// As Python has it: certificate and key, in PEM.
using TlsPair = std::pair<std::string, std::string>;

std::optional<TlsIdentity> tls_of(const std::optional<TlsPair>& pair) {
  if (!pair) return std::nullopt;
  return TlsIdentity{pair->first, pair->second};
}

void serve_run(const std::string& driver, const std::string& token, int devices, const std::string& host,
               std::optional<int> rank, double patience_s, const std::optional<TlsPair>& tls) {
  WorkerOptions options;
  options.driver = driver;
  options.token = token;
  options.devices = devices;
  options.host = host;
  options.rank = rank.value_or(options.rank);
  options.patience_s = patience_s;
  options.tls = tls_of(tls);
  serve(kernels(), options);
}

class Session {
 public:
  // In this process; with a backend, of CUDA devices.
  Session(int devices, int executors, std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {
    ClusterOptions options;
    options.devices = devices;
    options.executors = executors;
    if (backend_ != nullptr) options.backend = &backend_->devices();
    cluster_ = std::make_unique<Cluster>(backend_ != nullptr ? backend_->kernels() : kernels(), options);
    runner_ = cluster_.get();
  }

  // Over workers, which go on when it ends.
  explicit Session(std::shared_ptr<Workers> workers) : workers_(std::move(workers)), runner_(&workers_->driver()) {
    if (std::exchange(workers_->in_use, true)) {
      workers_ = nullptr;
      throw PlanError("the workers serve another model's devices; close it first (TrainStep.close, Session.close)");
    }
  }
  ~Session() { shutdown(); }

  int64_t load(const Compiled& compiled) {
    return runner_->load(std::make_shared<const Plan>(compiled.plan), {}).value;
  }

  void unload(int64_t handle) { runner_->unload(PlanHandle(handle)); }

  void set_sources(int64_t handle, const nb::dict& sources) {
    SourceMap map;
    for (const auto& [name, source] : sources) {
      map[nb::cast<std::string>(name)] = nb::cast<std::shared_ptr<Source>>(source);
    }
    const nb::gil_scoped_release release;
    runner_->set_sources(PlanHandle(handle), std::move(map));
  }

  void start(int64_t handle, int64_t first_step, int64_t steps) {
    runner_->start(PlanHandle(handle), first_step, steps);
  }
  bool wait_for(double at_most_s, double patience_s) { return runner_->wait_for(at_most_s, patience_s); }
  void wake() { runner_->wake(); }
  void stop() { runner_->stop(); }
  void shutdown() {
    if (std::exchange(over_, true)) return;
    if (workers_ != nullptr) workers_->in_use = false;
    runner_->shutdown();
  }

  nb::dict fetch(int64_t handle) {
    nb::dict result;
    for (const PlanOutput& output : runner_->plan(PlanHandle(handle)).outputs) {
      result[output.name.c_str()] = new_array(output.dtype, output.shape, [&](std::span<std::byte> into) {
        runner_->registers(PlanHandle(handle)).fetch(output, into);
      });
    }
    return result;
  }

  nb::object read(int64_t handle, const std::string& name) {
    const PlanVariable& variable = find(handle, name);
    return new_array(variable.dtype, variable.shape,
                     [&](std::span<std::byte> into) { runner_->registers(PlanHandle(handle)).read(variable, into); });
  }

  void write(int64_t handle, const std::string& name, const InputArray& array) {
    runner_->write(PlanHandle(handle), find(handle, name), bytes_of(array));
  }

  void observe(int64_t handle, bool finite, bool live_bytes, bool counts, int64_t trace_from, int64_t trace_steps) {
    Observe what;
    what.finite = finite;
    what.live_bytes = live_bytes;
    what.counts = counts;
    what.trace_from = trace_from;
    what.trace_steps = trace_steps;
    runner_->observe(PlanHandle(handle), what);
  }

  // The first value that was not finite while `finite` was observed.
  std::optional<std::string> nonfinite(int64_t handle) {
    const std::optional<NonFinite> found = observed(handle).nonfinite;
    if (!found) return std::nullopt;
    return text_of(*found, runner_->plan(PlanHandle(handle)));
  }

  // The most bytes of live slots on each device while `live_bytes` was observed.
  nb::list peak_bytes(int64_t handle) {
    nb::list result;
    for (int64_t bytes : observed(handle).peak_workspace) result.append(bytes);
    return result;
  }

  // What was traced; see timeline_of.
  nb::dict timeline(int64_t handle) {
    return timeline_of(runner_->plan(PlanHandle(handle)), observed(handle), runner_->workers());
  }

  // Of each worker (host, process, devices, joined, heard last, whether it is gone); times are time.monotonic's.
  nb::list workers() {
    nb::list result;
    for (const WorkerState& worker : runner_->workers()) {
      result.append(
          nb::make_tuple(worker.host, worker.process, worker.devices, worker.joined, worker.heard, worker.gone));
    }
    return result;
  }

  // Seconds in which no firing has ended while a step is waited for; the step that sources will read next, or -1.
  nb::tuple progress() {
    const RunProgress progress = runner_->progress();
    return nb::make_tuple(progress.idle_s, progress.read);
  }
  std::string stall() { return runner_->stall().what; }

  // What devices received from one another while `counts` were observed.
  int64_t received(int64_t handle) {
    return received_bytes(runner_->plan(PlanHandle(handle)), observed(handle).firings());
  }

 private:
  Observations observed(int64_t handle) {
    const nb::gil_scoped_release release;
    return runner_->observations(PlanHandle(handle));
  }

  const PlanVariable& find(int64_t handle, const std::string& name) {
    for (const PlanVariable& variable : runner_->plan(PlanHandle(handle)).variables) {
      if (variable.name == name) return variable;
    }
    throw nb::key_error(name.c_str());
  }

  std::shared_ptr<Workers> workers_;
  std::shared_ptr<Backend> backend_;  // outlives the cluster
  std::unique_ptr<Cluster> cluster_;
  Runner* runner_;
  bool over_ = false;
};

}  // namespace

void bind_session(nb::module_& module) {
  using Release = nb::call_guard<nb::gil_scoped_release>;
  nb::class_<Workers>(module, "Workers", "The workers of other processes that a run has.")
      .def_static("make",
                  [](int count, const std::string& token, double heartbeat_s, const std::string& listen, uint16_t port,
                     const std::optional<TlsPair>& tls) {
                    return std::make_shared<Workers>(count, token, heartbeat_s, listen, port, tls_of(tls));
                  })
      .def_prop_ro("address", &Workers::address)
      .def("gather", &Workers::gather, Release())
      .def("dismiss", &Workers::dismiss, Release());
  module.def("serve", &serve_run, Release(), "Gives devices to a run until it is over.");
  module.def(
      "new_tls_identity",
      [] {
        TlsIdentity made = make_tls_identity();
        return TlsPair(std::move(made.certificate), std::move(made.key));
      },
      "A certificate for a run and its key, in PEM.");
  module.def(
      "check_tls_identity", [](const TlsPair& pair) { TlsContext(*tls_of(pair)); },
      "PlanError when a certificate and a key, in PEM, cannot be used.");
  nb::class_<Session>(module, "Session", "Devices in this process, or those of workers, and the plans on them.")
      .def(nb::init<int, int, std::shared_ptr<Backend>>(), nb::arg("devices"), nb::arg("executors") = 0,
           nb::arg("backend") = nb::none())
      .def(nb::init<std::shared_ptr<Workers>>())
      .def("load", &Session::load, Release())
      .def("unload", &Session::unload, Release())
      .def("set_sources", &Session::set_sources)
      .def("start", &Session::start, Release())
      .def("wait_for", &Session::wait_for, Release())
      .def("wake", &Session::wake, Release())
      .def("stop", &Session::stop, Release())
      .def("shutdown", &Session::shutdown, Release())
      .def("fetch", &Session::fetch)
      .def("read", &Session::read)
      .def("write", &Session::write)
      .def("observe", &Session::observe, nb::arg("plan"), nb::arg("finite") = false, nb::arg("live_bytes") = false,
           nb::arg("counts") = false, nb::arg("trace_from") = 0, nb::arg("trace_steps") = 0, Release())
      .def("nonfinite", &Session::nonfinite)
      .def("peak_bytes", &Session::peak_bytes)
      .def("timeline", &Session::timeline)
      .def("workers", &Session::workers)
      .def("progress", &Session::progress)
      .def("stall", &Session::stall, Release())
      .def("received_bytes", &Session::received);
}

}  // namespace troupe::python
