#include "actors/engine/loaded_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "actors/engine/device_names.h"
#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

[[noreturn]] void refuse(const Plan& plan, const PlanTask& task, const std::string& why) {
  throw PlanError("plan", plan.name, "task '" + task.name + "': " + why, task.line);
}

TensorView view_of(const PlanRegister& reg) { return {nullptr, reg.dtype, reg.shape, reg.offset, reg.logical}; }

// A register that a task reads and writes is overwritten in place.
void check_overwritten(const Plan& plan, const PlanTask& task, const PlanRead& read) {
  const PlanRegister& reg = plan.reg(read.reg);
  if (reg.is_control()) return;
  if (reg.slot_count != 1 || reg.initial != 1) {
    refuse(plan, task,
           "overwrites register '" + reg.name + "' in place, which needs 1 slot and 1 initial version; it has " +
               std::to_string(reg.slot_count) + " and " + std::to_string(reg.initial));
  }
  if (reg.every != read.every) {
    refuse(plan, task,
           "reads register '" + reg.name + "' for " + std::to_string(read.every) + " firings and overwrites it over " +
               std::to_string(reg.every) + "; both must be equal");
  }
}

}  // namespace

Fault fault_at(const Plan& plan, TaskId id, Fault fault) {
  const PlanTask& task = plan.task(id);
  fault.task = task.name;
  fault.device = plan.devices.at(task.device.index()).name;
  return fault;
}

LoadedPlan::LoadedPlan(std::shared_ptr<const Plan> plan, PlanHandle handle, const KernelTable& kernels,
                       ExecutorRange own, const std::vector<int>& executor_of, const QueueOfStream& queue_of)
    : PlanLife(std::move(plan), handle),
      own_(own),
      executor_of_(executor_of),
      actors_(this->plan().tasks.size(), nullptr),
      kernels_(kernels) {
  for (int e = 0; e < own.count; ++e) {
    memory_.push_back(std::make_unique<std::pmr::monotonic_buffer_resource>());
    shares_.push_back(std::make_unique<Share>());
    shares_.back()->plan = this;
    shares_.back()->tasks.resize(actors_.size(), nullptr);
  }
  try {
    make_actors(kernels);
  } catch (...) {
    for (TaskActor* actor : actors_) {
      if (actor != nullptr) actor->~TaskActor();
    }
    throw;
  }
  make_streams(queue_of);
  if (queue_of) device_edges_ = DeviceEdges(this->plan(), Ports(this->plan()), actors_);
}

LoadedPlan::~LoadedPlan() {
  for (TaskActor* actor : actors_) {
    if (actor != nullptr) actor->~TaskActor();
  }
}

// Actors are made in the order in which their streams run them, so that a stream walks through memory.
void LoadedPlan::make_actors(const KernelTable& kernels) {
  const Ports ports(plan());
  under_way_ = messages_under_way(plan(), ports, executor_of_);
  const auto place_of = [&](TaskId task) { return executor_of(plan().task(task).stream); };
  // The number of each register among its producer's outputs, and of its first reader among that task's readers.
  std::vector<int32_t> output_port(plan().registers.size(), -1);
  std::vector<int32_t> first_reader(plan().registers.size(), 0);
  for (const PlanTask& task : plan().tasks) {
    int32_t readers = 0;
    for (size_t o = 0; o < task.outputs.size(); ++o) {
      const size_t reg = task.outputs[o].index();
      output_port[reg] = static_cast<int32_t>(o);
      first_reader[reg] = readers;
      readers += static_cast<int32_t>(ports.readers[reg].size());
    }
  }
  const auto reader_number = [&](TaskId task, const PlanRead& read) {
    const auto& readers = ports.readers[read.reg.index()];
    const int32_t port = ports.port_of(task, read);
    size_t r = 0;
    while (readers[r].task != task || readers[r].port != port) ++r;
    return first_reader[read.reg.index()] + static_cast<int32_t>(r);
  };

  const auto make = [&](TaskId id) {
    const PlanTask& task = plan().task(id);
    TaskActor::Parts parts;
    for (const PlanRead& read : ports.inputs[id.index()]) {
      const PlanRegister& reg = plan().reg(read.reg);
      parts.inputs.push_back({read.every, reg.slot_count, reg.initial});
      parts.producers.push_back(
          {nullptr, place_of(reg.producer), reg.producer.value, reader_number(id, read), read.reg.value});
    }
    for (RegisterId output : task.outputs) {
      const PlanRegister& reg = plan().reg(output);
      const auto& readers = ports.readers[output.index()];
      parts.outputs.push_back({reg.every, reg.slot_count, reg.initial, static_cast<int32_t>(readers.size())});
      for (const ReaderPort& reader : readers) {
        parts.readers.push_back({nullptr, place_of(reader.task), reader.task.value, reader.port, output.value});
      }
    }
    const auto add_operand = [&](RegisterId id_of, int32_t port, bool of_output) {
      const PlanRegister& reg = plan().reg(id_of);
      parts.operands.push_back({id_of.value, port, of_output, {}});
      parts.operands.back().slots.resize(reg.slots.size());
      parts.views.push_back(view_of(reg));
    };
    for (const PlanRead& read : task.inputs) {
      const PlanRegister& reg = plan().reg(read.reg);
      const bool overwritten = reg.producer == id;
      if (overwritten) check_overwritten(plan(), task, read);
      if (reg.is_control()) continue;
      add_operand(read.reg, overwritten ? output_port[read.reg.index()] : ports.port_of(id, read), overwritten);
    }
    parts.kernel_inputs = parts.operands.size();
    for (RegisterId output : task.outputs) {
      if (!plan().reg(output).is_control()) add_operand(output, output_port[output.index()], true);
    }
    Kernel kernel = nullptr;
    if (task.kind == TaskKind::compute) {
      kernel = kernels.find(task.kernel, kind_of(plan(), task.device));
      const std::string& device = plan().devices[task.device.index()].name;
      if (kernel == nullptr) refuse(plan(), task, "no kernel '" + task.kernel + "' for " + device);
    }
    std::pmr::memory_resource* memory = memory_[static_cast<size_t>(place_of(id) - own_.first)].get();
    void* place = memory->allocate(sizeof(TaskActor), alignof(TaskActor));
    actors_[id.index()] = new (place) TaskActor(plan(), id, kernel, std::move(parts), memory);
    share(place_of(id)).tasks[id.index()] = actors_[id.index()];
  };
  for (size_t s = 0; s < plan().streams.size(); ++s) {
    if (!own_.contains(executor_of_[s])) continue;
    for (const PlanSegment& segment : plan().streams[s].segments) {
      for (TaskId task : segment.tasks) {
        if (actors_[task.index()] == nullptr) make(task);
      }
    }
  }
  for (TaskActor* actor : actors_) {
    if (actor == nullptr) continue;
    const int at = place_of(actor->id());
    actor->connect([&](Route& route) {
      if (route.executor == at) route.local = actors_[static_cast<size_t>(route.task)];
    });
  }
}

// A stream may run ahead as far as credits let it: through registers, from stream to stream, something that stops at
// the end of a step must hold it. One that nobody reads would run for ever, so it stops at the end of a step itself.
std::vector<bool> LoadedPlan::held_by_credits() const {
  std::vector<bool> held;
  for (const PlanStream& stream : plan().streams) held.push_back(!stream.runs_ahead);
  for (bool more = true; more;) {
    more = false;
    for (const PlanTask& task : plan().tasks) {
      for (const PlanRead& read : task.inputs) {
        const TaskId producer = plan().reg(read.reg).producer;
        if (!producer.valid()) continue;
        const size_t a = task.stream.index();
        const size_t b = plan().task(producer).stream.index();
        if (held[a] == held[b]) continue;
        held[a] = held[b] = more = true;
      }
    }
  }
  return held;
}

void LoadedPlan::make_streams(const QueueOfStream& queue_of) {
  const std::vector<bool> held = held_by_credits();
  for (size_t s = 0; s < plan().streams.size(); ++s) {
    const PlanStream& planned = plan().streams[s];
    if (!own_.contains(executor_of_[s])) continue;
    auto stream = std::make_unique<StreamLoop>();
    for (const PlanSegment& segment : planned.segments) {
      if (segment.tasks.empty()) continue;
      stream->segments.push_back({segment.repeat, {}});
      for (TaskId task : segment.tasks) stream->segments.back().tasks.push_back(actors_[task.index()]);
    }
    if (stream->segments.empty()) continue;
    Share& share_of = share(executor_of_[s]);
    stream->id = StreamId(static_cast<int64_t>(s));
    stream->share = &share_of;
    stream->runs_ahead = planned.runs_ahead && held[s];
    DeviceQueue* queue = queue_of ? queue_of(plan(), stream->id) : nullptr;
    stream->device_stream = Stream(kind_of(plan(), planned.device), queue);
    for (const StreamLoop::Segment& segment : stream->segments) {
      for (const TaskActor* actor : segment.tasks) {
        const PlanTask& task = plan().task(actor->id());
        CHECK(queue == nullptr || task.kind == TaskKind::compute, "a source is read on the host", task.name);
      }
    }
    share_of.limited += !stream->runs_ahead;
    for (const StreamLoop::Segment& segment : stream->segments) {
      for (TaskActor* actor : segment.tasks) actor->loop = stream.get();
    }
    stream->restart(0);
    share_of.streams.push_back(std::move(stream));
  }
}

void LoadedPlan::set_report(DeviceMemory memory) {
  report_memory_ = std::move(memory);
  report_ = new (report_memory_.get()) KernelReport;
  for (TaskActor* actor : actors_) {
    if (actor != nullptr) actor->set_report(report_);
  }
}

std::optional<Fault> LoadedPlan::reported() const {
  if (report_ == nullptr) return std::nullopt;
  if (std::atomic_ref(report_->said).load(std::memory_order_acquire) != KernelReport::kReported) return std::nullopt;
  const TaskActor& actor = *actors_.at(static_cast<size_t>(report_->task));
  Fault fault;
  fault.what = kernels_.text_of(plan().task(actor.id()).kernel, actor.args(), *report_);
  return fault_at(plan(), actor.id(), std::move(fault));
}

void LoadedPlan::set_sources(SourceMap sources) {
  sources_ = std::move(sources);
  for (TaskActor* actor : actors_) {
    if (actor == nullptr) continue;
    const PlanTask& task = plan().task(actor->id());
    if (task.kind != TaskKind::source) continue;
    const auto it = sources_.find(task.kernel);
    actor->set_source(it == sources_.end() ? nullptr : it->second.get());
  }
  fresh = true;
}

void LoadedPlan::check_sources() const {
  std::set<std::string> absent;
  for (const TaskActor* actor : actors_) {
    if (actor == nullptr) continue;
    const PlanTask& task = plan().task(actor->id());
    if (task.kind == TaskKind::source && !sources_.contains(task.kernel)) absent.insert(task.kernel);
  }
  if (absent.empty()) return;
  throw PlanError("plan", plan().name,
                  "no source for " + join(absent, ", ", [](const std::string& name) { return "'" + name + "'"; }), {});
}

void LoadedPlan::restart(uint32_t new_epoch, int64_t step) {
  begin(new_epoch, step);
  limit.store(step);
  device_edges_.restart();
  if (report_ != nullptr) *report_ = KernelReport();
  for (TaskActor* actor : actors_) {
    if (actor != nullptr) actor->restart();
  }
  for (const auto& share_of : shares_) {
    share_of->at_limit = share_of->limited;
    share_of->reached.store(step);
    for (const auto& stream : share_of->streams) stream->restart(step);
    if (share_of->observer) share_of->observer->restart(share_of->tasks);
  }
}

}  // namespace troupe
