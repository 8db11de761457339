#include "runtime/plan/read.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <kj/exception.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/plan/format.h"
#include "runtime/plan/plan.capnp.h"

namespace troupe {
namespace {

// A message whose checksum is right but whose content is not: only a faulty writer makes one.
struct Malformed {
  std::string text;
};

std::string string_of(capnp::Text::Reader text) { return {text.begin(), text.size()}; }
std::string_view view_of(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

template <class To, class Wire>
To enum_of(Wire value, To last, const char* what) {
  if (static_cast<uint16_t>(value) > static_cast<uint16_t>(last)) {
    throw Malformed{std::string(what) + " " + std::to_string(static_cast<uint16_t>(value)) + " does not exist"};
  }
  return static_cast<To>(value);
}

DType dtype_of_wire(wire::DType dtype) { return enum_of(dtype, kLastDType, "dtype"); }

Dims dims_of(capnp::List<int64_t>::Reader list) {
  if (list.size() > static_cast<unsigned>(kMaxRank)) {
    throw Malformed{"a tensor has " + std::to_string(list.size()) + " dims; at most " + std::to_string(kMaxRank) +
                    " are possible"};
  }
  Dims dims;
  for (int64_t size : list) dims.push_back(size);
  return dims;
}

std::vector<int64_t> numbers_of(capnp::List<int64_t>::Reader list) {
  std::vector<int64_t> numbers;
  numbers.reserve(list.size());
  for (int64_t number : list) numbers.push_back(number);
  return numbers;
}

template <class IdType>
std::vector<IdType> ids_of(capnp::List<int32_t>::Reader list) {
  std::vector<IdType> ids;
  ids.reserve(list.size());
  for (int32_t id : list) ids.emplace_back(id);
  return ids;
}

template <class List, class Make>
auto list_of(List list, Make make) {
  std::vector<decltype(make(list[0]))> items;
  items.reserve(list.size());
  for (auto item : list) items.push_back(make(item));
  return items;
}

PlanDevice device_of(wire::Device::Reader in) {
  PlanDevice device;
  device.name = string_of(in.getName());
  const auto arenas = in.getArenaBytes();
  if (arenas.size() != kArenaKinds) {
    throw Malformed{"device '" + device.name + "' has " + std::to_string(arenas.size()) + " arenas, not " +
                    std::to_string(kArenaKinds)};
  }
  for (unsigned i = 0; i < arenas.size(); ++i) device.arena_bytes[i] = arenas[i];
  return device;
}

PlanStream stream_of(wire::Stream::Reader in) {
  PlanStream stream;
  stream.name = string_of(in.getName());
  stream.device = DeviceId(in.getDevice());
  stream.runs_ahead = in.getRunsAhead();
  stream.segments = list_of(in.getSegments(), [](wire::Segment::Reader segment) {
    return PlanSegment{segment.getRepeat(), ids_of<TaskId>(segment.getTasks())};
  });
  return stream;
}

PlanRegister register_of(wire::Register::Reader in) {
  PlanRegister reg;
  reg.name = string_of(in.getName());
  reg.producer = TaskId(in.getProducer());
  reg.dtype = dtype_of_wire(in.getDtype());
  reg.shape = dims_of(in.getShape());
  reg.offset = dims_of(in.getOffset());
  reg.logical = dims_of(in.getLogical());
  reg.bytes = in.getBytes();
  reg.arena = enum_of(in.getArena(), ArenaKind::io, "arena");
  reg.slots = numbers_of(in.getSlots());
  reg.slot_count = in.getSlotCount();
  reg.every = in.getEvery();
  reg.initial = in.getInitial();
  reg.device = DeviceId(in.getDevice());
  return reg;
}

Attr attr_of(wire::Attr::Reader in) {
  switch (in.which()) {
    case wire::Attr::INTEGER:
      return in.getInteger();
    case wire::Attr::NUMBER:
      return in.getNumber();
    case wire::Attr::TEXT:
      return string_of(in.getText());
    case wire::Attr::INTEGERS:
      return numbers_of(in.getIntegers());
  }
  throw Malformed{"attribute '" + string_of(in.getName()) + "' is of an unknown kind"};
}

PlanTask task_of(wire::Task::Reader in) {
  PlanTask task;
  task.name = string_of(in.getName());
  task.kind = enum_of(in.getKind(), TaskKind::source, "task kind");
  task.kernel = string_of(in.getKernel());
  task.device = DeviceId(in.getDevice());
  task.stream = StreamId(in.getStream());
  task.inputs = list_of(in.getInputs(), [](wire::Read::Reader read) {
    return PlanRead{RegisterId(read.getRegister()), read.getEvery()};
  });
  task.outputs = ids_of<RegisterId>(in.getOutputs());
  for (wire::Attr::Reader attr : in.getAttrs()) task.attrs.set(view_of(attr.getName()), attr_of(attr));
  task.key = in.getKey();
  task.scratch_offset = in.getScratchOffset();
  task.scratch_bytes = in.getScratchBytes();
  task.firings_per_step = in.getFiringsPerStep();
  task.first_shard = in.getFirstShard();
  task.shards = in.getShards();
  task.pieces_per_shard = in.getPiecesPerShard();
  task.line = {string_of(in.getFile()), in.getLine()};
  task.predicted_s = in.getPredictedSeconds();
  return task;
}

template <class Tensor>
Tensor tensor_of(wire::Tensor::Reader in) {
  Tensor tensor;
  tensor.name = string_of(in.getName());
  tensor.dtype = dtype_of_wire(in.getDtype());
  tensor.shape = dims_of(in.getShape());
  tensor.parts = list_of(in.getParts(), [](wire::Part::Reader part) {
    return PlanPart{
        RegisterId(part.getRegister()), {dims_of(part.getOffset()), dims_of(part.getExtent())}, part.getPiece()};
  });
  return tensor;
}

PlanPromise promise_of(wire::Promise::Reader in) {
  PlanPromise promise;
  promise.traffic = list_of(in.getTraffic(), [](wire::Traffic::Reader traffic) {
    return PlanTraffic{string_of(traffic.getKind()), string_of(traffic.getAxis()), traffic.getCount(),
                       traffic.getBytes(), traffic.getMessages()};
  });
  promise.step_s = in.getStepSeconds();
  promise.critical = string_of(in.getCritical());
  promise.peak = numbers_of(in.getPeak());
  return promise;
}

Plan plan_of(wire::Plan::Reader in) {
  Plan plan;
  plan.name = string_of(in.getName());
  plan.epoch = in.getEpoch();
  plan.seed = in.getSeed();
  plan.rounds = in.getRounds();
  plan.devices = list_of(in.getDevices(), device_of);
  plan.streams = list_of(in.getStreams(), stream_of);
  plan.registers = list_of(in.getRegisters(), register_of);
  plan.tasks = list_of(in.getTasks(), task_of);
  plan.variables = list_of(in.getVariables(), tensor_of<PlanVariable>);
  plan.outputs = list_of(in.getOutputs(), tensor_of<PlanOutput>);
  plan.promise = promise_of(in.getPromise());
  return plan;
}

// Calls fn(root) with a reader made for this one pass: the limit on what a reader may traverse is cumulative,
// and its count is not thread-safe.
template <class Fn>
auto with_root(kj::ArrayPtr<const capnp::word> body, const std::string& origin, Fn fn) {
  std::string failure;
  try {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = 2 * body.size() + 64;
    capnp::FlatArrayMessageReader message(body, options);
    return fn(message.getRoot<wire::Plan>());
  } catch (const Malformed& malformed) {
    failure = malformed.text;
  } catch (const kj::Exception& exception) {
    failure = exception.getDescription().cStr();
  }
  refuse_plan(origin, "its content is malformed: " + failure);
}

template <class List, class IdType>
auto entry(const List& list, IdType id) {
  CHECK(id.valid() && id.index() < list.size(), id, list.size());
  return list[static_cast<unsigned>(id.value)];
}

}  // namespace

Plan read_plan(std::span<const std::byte> bytes, const std::string& origin) {
  const auto body = checked_plan_body(bytes, origin);
  // Cap'n Proto reads whole words in place; bytes from the middle of a buffer may lie between two.
  if (reinterpret_cast<uintptr_t>(body.data()) % alignof(capnp::word) == 0) {
    const auto* words = reinterpret_cast<const capnp::word*>(body.data());
    return with_root(kj::arrayPtr(words, body.size() / sizeof(capnp::word)), origin, plan_of);
  }
  auto words = kj::heapArray<capnp::word>(body.size() / sizeof(capnp::word));
  std::memcpy(words.begin(), body.data(), body.size());
  return with_root(words, origin, plan_of);
}

Plan read_plan_file(const std::string& path) { return MappedPlan(path).plan(); }

struct MappedPlan::Mapping {
  explicit Mapping(const std::string& path) : origin("plan file '" + path + "'") {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) refuse_plan(origin, std::strerror(errno));
    struct stat status;
    if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(file);
      refuse_plan(origin, "it is not a file");
    }
    bytes = static_cast<size_t>(status.st_size);
    if (bytes > 0) data = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    const int error = errno;
    ::close(file);
    if (data == MAP_FAILED) refuse_plan(origin, std::strerror(error));
    try {
      body = checked_plan_body({static_cast<const std::byte*>(data), bytes}, origin);
    } catch (...) {
      unmap();
      throw;
    }
  }
  ~Mapping() { unmap(); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  void unmap() {
    if (bytes > 0) ::munmap(data, bytes);
  }

  template <class Fn>
  auto read(Fn fn) const {
    const auto* words = reinterpret_cast<const capnp::word*>(body.data());
    return with_root(kj::arrayPtr(words, body.size() / sizeof(capnp::word)), origin, fn);
  }

  std::string origin;
  void* data = nullptr;
  size_t bytes = 0;
  std::span<const std::byte> body;
};

MappedPlan::MappedPlan(const std::string& path) : mapping_(std::make_unique<const Mapping>(path)) {}
MappedPlan::~MappedPlan() = default;
MappedPlan::MappedPlan(MappedPlan&&) noexcept = default;
MappedPlan& MappedPlan::operator=(MappedPlan&&) noexcept = default;

using Root = wire::Plan::Reader;

std::string_view MappedPlan::name() const {
  return mapping_->read([](Root plan) { return view_of(plan.getName()); });
}
uint64_t MappedPlan::epoch() const {
  return mapping_->read([](Root plan) { return plan.getEpoch(); });
}
uint64_t MappedPlan::seed() const {
  return mapping_->read([](Root plan) { return plan.getSeed(); });
}
int32_t MappedPlan::rounds() const {
  return mapping_->read([](Root plan) { return plan.getRounds(); });
}
int64_t MappedPlan::device_count() const {
  return mapping_->read([](Root plan) { return int64_t{plan.getDevices().size()}; });
}
int64_t MappedPlan::stream_count() const {
  return mapping_->read([](Root plan) { return int64_t{plan.getStreams().size()}; });
}
int64_t MappedPlan::register_count() const {
  return mapping_->read([](Root plan) { return int64_t{plan.getRegisters().size()}; });
}
int64_t MappedPlan::task_count() const {
  return mapping_->read([](Root plan) { return int64_t{plan.getTasks().size()}; });
}

PlanDevice MappedPlan::device(DeviceId id) const {
  return mapping_->read([id](Root plan) { return device_of(entry(plan.getDevices(), id)); });
}
PlanStream MappedPlan::stream(StreamId id) const {
  return mapping_->read([id](Root plan) { return stream_of(entry(plan.getStreams(), id)); });
}
PlanRegister MappedPlan::reg(RegisterId id) const {
  return mapping_->read([id](Root plan) { return register_of(entry(plan.getRegisters(), id)); });
}
PlanTask MappedPlan::task(TaskId id) const {
  return mapping_->read([id](Root plan) { return task_of(entry(plan.getTasks(), id)); });
}

PlanTaskHead MappedPlan::task_head(TaskId id) const {
  return mapping_->read([id](Root plan) {
    const auto task = entry(plan.getTasks(), id);
    return PlanTaskHead{view_of(task.getName()),    enum_of(task.getKind(), TaskKind::source, "task kind"),
                        view_of(task.getKernel()),  DeviceId(task.getDevice()),
                        StreamId(task.getStream()), task.getFiringsPerStep(),
                        task.getPredictedSeconds()};
  });
}

Plan MappedPlan::plan() const { return mapping_->read(plan_of); }

}  // namespace troupe
