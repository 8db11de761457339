#include "actors/engine/observer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

namespace troupe {
namespace {

// The first element that is not finite, or -1. x - x is zero for every other.
template <class T>
int64_t first_nonfinite(const TensorView& view) {
  const T* data = view.as<const T>();
  const int64_t n = view.elements();
  decltype(data[0] - data[0]) sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += data[i] - data[i];
  if (sum == 0) return -1;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(static_cast<double>(data[i]))) return i;
  }
  return -1;
}

int64_t first_nonfinite(const TensorView& view) {
  if (view.dtype == DType::f32) return first_nonfinite<float>(view);
  if (view.dtype == DType::f64) return first_nonfinite<double>(view);
  if (view.dtype == DType::bf16) return first_nonfinite<BFloat16>(view);
  if (view.dtype == DType::f16) return first_nonfinite<Float16>(view);
  return -1;
}

double value_at(const TensorView& view, int64_t element) {
  if (view.dtype == DType::bf16) return view.as<BFloat16>()[element];
  if (view.dtype == DType::f16) return view.as<Float16>()[element];
  return view.dtype == DType::f32 ? static_cast<double>(view.as<float>()[element]) : view.as<double>()[element];
}

}  // namespace

LiveBytes::LiveBytes(const Plan& plan) : kept(plan), of(plan.devices.size()) {
  for (size_t d = 0; d < of.size(); ++d) {
    const int64_t bytes = kept.of(DeviceId(static_cast<int64_t>(d)));
    of[d].slots.add(bytes);
    of[d].workspace.add(bytes);
  }
}

int64_t LiveBytes::Count::add(int64_t bytes) {
  const int64_t then = now.fetch_add(bytes) + bytes;
  int64_t most = peak.load();
  while (then > most && !peak.compare_exchange_weak(most, then)) {
  }
  return then;
}

Observer::Observer(const Plan& plan, const Observe& what, const Clock& clock, std::shared_ptr<LiveBytes> live,
                   DeviceBackend* backend, std::vector<DeviceQueue*> queues)
    : plan_(plan),
      what_(what),
      clock_(clock),
      tasks_(plan.tasks.size()),
      trace_(plan, what.trace_from, what.trace_steps),
      live_(std::move(live)),
      most_live_(plan.devices.size(), 0),
      backend_(backend) {
  if (trace_.any() && !queues.empty()) device_times_.emplace(std::move(queues), clock);
  for (const PlanTask& task : plan.tasks) of_task_.push_back({task.device, task.stream, 0});
  if (!what.live_bytes) return;
  for (size_t t = 0; t < plan.tasks.size(); ++t) {
    const PlanTask& task = plan.tasks[t];
    of_task_[t].scratch = live_->kept.others(task.device, task.scratch_offset, task.scratch_bytes);
  }
  fetched_.resize(plan.registers.size());
  for (const PlanOutput& output : plan.outputs) {
    for (const PlanPart& part : output.parts) fetched_[part.reg.index()] = true;
  }
  find_places();
}

void Observer::find_places() {
  slots_.resize(plan_.registers.size());
  std::map<std::tuple<DeviceId, ArenaKind, int64_t>, int32_t> known;
  for (size_t r = 0; r < plan_.registers.size(); ++r) {
    const PlanRegister& reg = plan_.registers[r];
    if (reg.arena == ArenaKind::variables || !reg.producer.valid()) continue;
    if (live_->kept.is_kept(RegisterId(static_cast<int64_t>(r)))) continue;
    const DeviceId device = plan_.task(reg.producer).device;
    for (int64_t offset : reg.slots) {
      const auto [it, fresh] =
          known.emplace(std::tuple(device, reg.arena, offset), static_cast<int32_t>(places_.size()));
      if (fresh) places_.push_back({device, reg.arena, offset, 0, 0});
      const bool workspace = reg.arena == ArenaKind::workspace;
      const int64_t bytes = workspace ? live_->kept.others(device, offset, reg.bytes) : reg.bytes;
      slots_[r].push_back({0, it->second, bytes});
    }
  }
}

void Observer::restart(const std::vector<TaskActor*>& tasks) {
  trace_.restart();
  if (!what_.live_bytes) return;
  for (Place& place : places_) {
    if (place.holders > 0) add_live(place, -place.bytes);
    place.holders = 0;
    place.bytes = 0;
  }
  for (auto& slots : slots_) {
    for (Slot& slot : slots) slot.holders = 0;
  }
  for (const TaskActor* task : tasks) {
    if (task == nullptr) continue;
    for (size_t o = 0; o < task->output_registers().size(); ++o) {
      const int32_t reg = task->output_registers()[o];
      const Credits::Output& out = task->credits().outputs()[o];
      for (int32_t v = 0; v < out.initial; ++v) take_live(reg, static_cast<size_t>(v), out.readers);
    }
  }
}

void Observer::begin(const TaskActor& task) {
  if (what_.live_bytes) {
    begin_writing(task);
    count_scratch(task, 1);
  }
  if (what_.times || trace_.any()) begin_s_ = clock_.now();
  if (device_times_ && trace_.keeps(task.firing().step)) device_times_->begin(of_task_[task.id().index()].stream);
}

void Observer::end(const TaskActor& task, int64_t position) {
  const double end_s = what_.times || trace_.any() ? clock_.now() : 0;
  if (!task.empty()) {
    TaskObservation& seen = tasks_[task.id().index()];
    if (what_.counts || what_.times) ++seen.firings;
    if (what_.times) seen.busy_s += end_s - begin_s_;
    if (what_.finite) scan(task, position);
  }
  if (what_.live_bytes) {
    end_writing(task);
    count_scratch(task, -1);
  }
  if (!task.empty() && trace_.any()) trace(task, end_s);
}

void Observer::trace(const TaskActor& task, double end_s) {
  TracedFiring firing;
  firing.task = task.id();
  firing.step = task.firing().step;
  firing.round = task.firing().round;
  firing.begin_s = begin_s_;
  firing.end_s = end_s;
  if (what_.live_bytes) {
    const DeviceId device = of_task_[task.id().index()].device;
    firing.live_after = live_->of[device.index()].workspace.now.load();
    firing.live_most = std::max(std::exchange(most_live_[device.index()], 0), firing.live_after);
  }
  const StreamId stream = of_task_[task.id().index()].stream;
  trace_.add(stream, firing);
  if (device_times_ && trace_.keeps(firing.step)) device_times_->end(stream);
}

void Observer::add_live(Place& place, int64_t bytes) {
  LiveBytes::OfDevice& of = live_->of[place.device.index()];
  of.slots.add(bytes);
  if (place.arena == ArenaKind::workspace) add_workspace(place.device, bytes);
}

void Observer::add_workspace(DeviceId device, int64_t bytes) {
  int64_t& most = most_live_[device.index()];
  most = std::max(most, live_->of[device.index()].workspace.add(bytes));
}

void Observer::take_live(int32_t reg, size_t slot, int holders) {
  if (holders == 0 || slots_[static_cast<size_t>(reg)].empty()) return;
  Slot& taken = slots_[static_cast<size_t>(reg)][slot];
  Place& place = places_[static_cast<size_t>(taken.place)];
  const int64_t bytes = std::max(place.bytes, taken.bytes);
  if (bytes > place.bytes) add_live(place, bytes - place.bytes);
  place.bytes = bytes;
  place.holders += holders;
  taken.holders += holders;
}

void Observer::drop_live(int32_t reg, size_t slot) {
  if (slots_[static_cast<size_t>(reg)].empty()) return;
  Slot& dropped = slots_[static_cast<size_t>(reg)][slot];
  Place& place = places_[static_cast<size_t>(dropped.place)];
  --dropped.holders;
  if (--place.holders > 0) return;
  add_live(place, -place.bytes);
  place.bytes = 0;
}

void Observer::count_scratch(const TaskActor& task, int sign) {
  const OfTask& of = of_task_[task.id().index()];
  if (of.scratch > 0) add_workspace(of.device, sign * of.scratch);
}

// The writer holds the slot, and so will every reader. What the driver fetches stays until it is written again.
void Observer::begin_writing(const TaskActor& task) {
  for (size_t o = 0; o < task.output_registers().size(); ++o) {
    const Credits::Output& out = task.credits().outputs()[o];
    const int32_t reg = task.output_registers()[o];
    if (out.within != 0 || slots_[static_cast<size_t>(reg)].empty()) continue;
    const auto slot = static_cast<size_t>(out.slot);
    const bool still_held = slots_[static_cast<size_t>(reg)][slot].holders > 0;  // by the driver
    take_live(reg, slot, 1 + out.readers + (fetched_[static_cast<size_t>(reg)] && !still_held ? 1 : 0));
  }
}

void Observer::end_writing(const TaskActor& task) {
  for (size_t o = 0; o < task.output_registers().size(); ++o) {
    const Credits::Output& out = task.credits().outputs()[o];
    if (out.within + 1 == out.every) drop_live(task.output_registers()[o], static_cast<size_t>(out.slot));
  }
}

void Observer::freed(const TaskActor& producer, int32_t reader, int64_t version) {
  if (!what_.live_bytes) return;
  const auto output = static_cast<size_t>(producer.credits().readers()[static_cast<size_t>(reader)].output);
  const int32_t reg = producer.output_registers()[output];
  drop_live(reg, static_cast<size_t>(version % producer.credits().outputs()[output].slots));
}

void Observer::scan(const TaskActor& task, int64_t position) {
  for (size_t i = 0; i < task.outputs().size(); ++i) {
    const TensorView view = on_host(task.outputs()[i]);
    const int64_t element = first_nonfinite(view);
    if (element < 0) continue;
    const size_t inputs = task.inputs().size();
    NonFinite found;
    found.born = true;
    found.step = task.firing().step;
    found.round = task.firing().round;
    found.shard = task.firing().shard;
    found.piece = task.firing().piece;
    found.position = position;
    found.task = task.id();
    found.reg = RegisterId(task.operands()[inputs + i].reg);
    found.element = element;
    found.value = value_at(view, element);  // before the copy of another
    for (size_t in = 0; in < inputs && found.born; ++in) {
      const Operand& operand = task.operands()[in];
      const bool overwritten = std::any_of(task.outputs().begin(), task.outputs().end(), [&](const TensorView& out) {
        return out.data == task.inputs()[in].data;  // a variable, or bytes that an output has taken over
      });
      if (overwritten) continue;
      if (first_nonfinite(on_host(task.inputs()[in])) < 0) continue;
      found.born = false;
      found.input = RegisterId(operand.reg);
    }
    if (!nonfinite_ || comes_first(found, *nonfinite_, plan_)) nonfinite_ = found;
    return;
  }
}

// Of the last view only: the next has the same place.
TensorView Observer::on_host(TensorView view) {
  if (backend_ == nullptr || view.elements() == 0) return view;
  staged_.resize(static_cast<size_t>(view.bytes()));
  backend_->copy(staged_.data(), view.data, view.bytes());
  view.data = staged_.data();
  return view;
}

void Observer::report(Observations& into) const {
  for (size_t t = 0; t < tasks_.size(); ++t) {
    into.tasks[t].firings += tasks_[t].firings;
    into.tasks[t].busy_s += tasks_[t].busy_s;
  }
  into.peak_bytes.clear();  // the same for all executors
  into.peak_workspace.clear();
  for (const LiveBytes::OfDevice& device : live_->of) {
    into.peak_bytes.push_back(device.slots.peak.load());
    into.peak_workspace.push_back(device.workspace.peak.load());
  }
  into.messages += messages_;
  into.crossing += crossing_;
  const std::vector<TracedFiring> firings =
      device_times_ ? device_times_->put_into(trace_.firings()) : trace_.firings();
  into.trace.insert(into.trace.end(), firings.begin(), firings.end());
  if (nonfinite_ && (!into.nonfinite || comes_first(*nonfinite_, *into.nonfinite, plan_))) into.nonfinite = nonfinite_;
}

void set_back(Observations& seen, double seconds) {
  for (TracedFiring& firing : seen.trace) {
    for (double* time : {&firing.begin_s, &firing.end_s, &firing.wait_begin_s, &firing.wait_end_s}) *time -= seconds;
  }
}

void merge(Observations& into, const Observations& other, const Plan& plan) {
  into.tasks.resize(plan.tasks.size());
  for (size_t t = 0; t < other.tasks.size(); ++t) {
    into.tasks[t].firings += other.tasks[t].firings;
    into.tasks[t].busy_s += other.tasks[t].busy_s;
  }
  const auto most = [](std::vector<int64_t>& of, const std::vector<int64_t>& others) {
    of.resize(std::max(of.size(), others.size()));
    for (size_t d = 0; d < others.size(); ++d) of[d] = std::max(of[d], others[d]);
  };
  most(into.peak_bytes, other.peak_bytes);
  most(into.peak_workspace, other.peak_workspace);
  into.messages += other.messages;
  into.crossing += other.crossing;
  into.trace.insert(into.trace.end(), other.trace.begin(), other.trace.end());
  std::sort(into.trace.begin(), into.trace.end(),
            [](const TracedFiring& a, const TracedFiring& b) { return a.begin_s < b.begin_s; });
  const bool first = other.nonfinite && (!into.nonfinite || comes_first(*other.nonfinite, *into.nonfinite, plan));
  if (first) into.nonfinite = other.nonfinite;
}

bool comes_first(const NonFinite& a, const NonFinite& b, const Plan& plan) {
  const auto key = [&](const NonFinite& n) {
    return std::tuple(n.step, !n.born, n.round, n.position, std::string_view(plan.task(n.task).name));
  };
  return key(a) < key(b);
}

}  // namespace troupe
