#include "planner/peak.h"

#include <algorithm>
#include <map>

#include "runtime/plan/kept_bytes.h"

namespace troupe {
namespace {

class PeakStage {
 public:
  explicit PeakStage(const Plan& plan)
      : plan_(plan), kept_(plan), registers_(plan.registers.size()), firings_(plan.tasks.size(), 0) {
    for (size_t d = 0; d < plan.devices.size(); ++d) live_.push_back(kept_.of(DeviceId(static_cast<int64_t>(d))));
  }

  std::vector<int64_t> run() {
    find_places();
    find_readers();
    // Streams of one device may need what they need most at the same time.
    std::vector<int64_t> peak = live_;
    for (const PlanStream& stream : plan_.streams) {
      const int64_t before = live_[stream.device.index()];
      peak[stream.device.index()] += std::max<int64_t>(peak_of(stream) - before, 0);
    }
    return peak;
  }

 private:
  // Where slots lie that follow one another.
  struct Place {
    DeviceId device;
    int64_t offset = 0;
    int64_t holders = 0;
    int64_t bytes = 0;  // without those that count always
  };
  // How many versions a reader is done with.
  struct Reads {
    TaskId task;
    int64_t done = 0;
  };
  struct Register {
    std::vector<size_t> places;  // of its slots; empty: does not count
    std::vector<Reads> readers;
    int64_t begun = 0;  // versions
  };

  Register& at(RegisterId id) { return registers_[id.index()]; }

  void find_places() {
    std::map<std::pair<DeviceId, int64_t>, size_t> known;
    for (size_t r = 0; r < plan_.registers.size(); ++r) {
      const PlanRegister& reg = plan_.registers[r];
      if (reg.is_control() || reg.arena != ArenaKind::workspace) continue;
      if (kept_.is_kept(RegisterId(static_cast<int64_t>(r)))) continue;
      for (int64_t offset : reg.slots) {
        const auto [it, fresh] = known.emplace(std::pair(reg.device, offset), places_.size());
        if (fresh) places_.push_back({reg.device, offset, 0, 0});
        registers_[r].places.push_back(it->second);
      }
    }
  }

  void find_readers() {
    for (size_t t = 0; t < plan_.tasks.size(); ++t) {
      for (const PlanRead& read : plan_.tasks[t].inputs) {
        Register& reg = at(read.reg);
        if (reg.places.empty()) continue;
        reg.readers.push_back({TaskId(static_cast<int64_t>(t)), 0});
      }
    }
  }

  void hold(size_t p, int64_t bytes) {
    Place& place = places_[p];
    ++place.holders;
    const int64_t own = kept_.others(place.device, place.offset, bytes);
    live_[place.device.index()] += std::max<int64_t>(own - place.bytes, 0);
    place.bytes = std::max(place.bytes, own);
  }
  void let_go(size_t p) {
    Place& place = places_[p];
    if (--place.holders > 0) return;
    live_[place.device.index()] -= place.bytes;
    place.bytes = 0;
  }

  // Two steps: the second begins with what the first has left.
  int64_t peak_of(const PlanStream& stream) {
    int64_t most = 0;
    for (int step = 0; step < 2; ++step) {
      for (const PlanSegment& segment : stream.segments) {
        for (int repeat = 0; repeat < segment.repeat; ++repeat) {
          for (TaskId task : segment.tasks) most = std::max(most, fire(task));
        }
      }
    }
    return most;
  }

  // Returns the bytes that live while the task fires.
  int64_t fire(TaskId id) {
    const PlanTask& task = plan_.task(id);
    const int64_t firing = firings_[id.index()]++;
    for (RegisterId output : task.outputs) {
      Register& reg = at(output);
      if (reg.places.empty() || firing % plan_.reg(output).every != 0) continue;
      hold(reg.places[static_cast<size_t>(reg.begun++) % reg.places.size()], plan_.reg(output).bytes);
    }
    const int64_t here =
        live_[task.device.index()] + kept_.others(task.device, task.scratch_offset, task.scratch_bytes);
    for (RegisterId output : task.outputs) {
      const int64_t every = plan_.reg(output).every;
      if (at(output).readers.empty() && firing % every == every - 1) free_version(at(output), firing / every);
    }
    for (const PlanRead& read : task.inputs) {
      Register& reg = at(read.reg);
      if (firing % read.every != read.every - 1) continue;
      const int64_t before = done(reg);
      for (Reads& reads : reg.readers) {
        if (reads.task == id) reads.done = firing / read.every + 1;  // as two operands: let go of once
      }
      for (int64_t version = before; version < done(reg); ++version) free_version(reg, version);
    }
    return here;
  }

  static int64_t done(const Register& reg) {
    int64_t done = reg.begun;
    for (const Reads& reads : reg.readers) done = std::min(done, reads.done);
    return done;
  }
  void free_version(const Register& reg, int64_t version) {
    if (!reg.places.empty()) let_go(reg.places[static_cast<size_t>(version) % reg.places.size()]);
  }

  const Plan& plan_;
  const KeptBytes kept_;
  std::vector<Register> registers_;
  std::vector<Place> places_;
  std::vector<int64_t> firings_;  // by task
  std::vector<int64_t> live_;     // by device
};

}  // namespace

std::vector<int64_t> peak_bytes(const Plan& plan) { return PeakStage(plan).run(); }

}  // namespace troupe
