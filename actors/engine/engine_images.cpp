// What an engine does in a run over several processes, where some have devices: see images.h.

#include <algorithm>
#include <utility>

#include "actors/engine/engine.h"
#include "actors/engine/engine_pause.h"
#include "actors/engine/images.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

TensorView bytes_at(std::byte* begin, int64_t bytes) { return {begin, DType::u8, Shape{bytes}, Dims{0}, Shape{bytes}}; }

}  // namespace

// All of it anew: what plans need may touch what others do.
void Engine::pin_memory() {
  pins_.clear();
  if (options_.backend == nullptr || !options_.process_of) return;
  queues_->forget();  // what reaches memory that is no longer pinned
  std::vector<Region> regions;
  for (const auto& loaded : plans_) {
    if (loaded == nullptr) continue;
    const std::vector<Region> of_plan =
        reached_memory(*loaded, memory_, loaded->crossings, options_.process, options_.process_of);
    regions.insert(regions.end(), of_plan.begin(), of_plan.end());
  }
  for (const Region region : joined(std::move(regions))) {
    pins_.push_back(options_.backend->pin(region.data(), static_cast<int64_t>(region.size())));
  }
}

void Engine::bind_copies(LoadedPlan& loaded) const {
  if (options_.backend == nullptr || !options_.process_of) return;
  const Plan& plan = loaded.plan();
  const Registers registers(memory_, loaded);
  for (size_t t = 0; t < plan.tasks.size(); ++t) {
    const TaskId id(static_cast<int64_t>(t));
    if (loaded.is_own(id) && loaded.actor(id).loop->device_stream.queue() != nullptr) {
      loaded.actor(id).queued().copies.clear();
    }
  }
  for (const SharedPart& part : shared_parts(loaded.crossings, options_.process)) {
    const PlanRegister& reg = plan.reg(part.reg);
    const std::string& device = plan.devices[reg.device.index()].name;
    if (!reg.producer.valid() || !memory_.has_image(device, reg.arena)) continue;
    TaskActor& actor = loaded.actor(reg.producer);
    CHECK(actor.loop->device_stream.queue() != nullptr, "a register on a device is written there", reg.name);
    const std::vector<RegisterId>& outputs = plan.task(reg.producer).outputs;
    QueuedTask::Copy copy;
    copy.output = static_cast<int32_t>(std::find(outputs.begin(), outputs.end(), part.reg) - outputs.begin());
    for (size_t slot = 0; slot < reg.slots.size(); ++slot) {
      copy.from.push_back(bytes_at(registers.bytes(part.reg, slot).data() + part.begin, part.bytes));
      copy.to.push_back(bytes_at(registers.shared_bytes(part.reg, slot).data() + part.begin, part.bytes));
    }
    actor.queued().copy_kernel = options_.backend->copy_kernel();
    actor.queued().copies.push_back(std::move(copy));
  }
}

// By way of a buffer: of a slot's place in an image perhaps a part is pinned, which copies of devices do not take.
void Engine::copy_shared(PlanHandle handle, Direction direction,
                         std::span<const std::pair<RegisterId, int32_t>> slots) {
  const LoadedPlan& loaded = find(handle);
  check_not_running("copy registers");
  const Pause pause(*this);
  const Registers registers(memory_, loaded);
  std::vector<std::byte> staged;
  for (const auto& [id, slot] : slots) {
    const PlanRegister& reg = loaded.plan().reg(id);
    const std::string& device = loaded.plan().devices[loaded.device_of(id).index()].name;
    if (reg.bytes == 0 || !memory_.has_image(device, reg.arena)) continue;
    const std::span<std::byte> there = registers.bytes(id, static_cast<size_t>(slot));
    const std::span<std::byte> image = registers.shared_bytes(id, static_cast<size_t>(slot));
    staged.resize(there.size());
    try {
      if (direction == Direction::to_device) {
        std::copy(image.begin(), image.end(), staged.begin());
        memory_.copy(there.data(), staged.data(), reg.bytes);
      } else {
        memory_.copy(staged.data(), there.data(), reg.bytes);
        std::copy(staged.begin(), staged.end(), image.begin());
      }
    } catch (const FaultError& error) {
      Fault fault = error.fault();
      fault.device = device;  // the backend knows another name of it
      throw FaultError(std::move(fault));
    }
  }
}

}  // namespace troupe
