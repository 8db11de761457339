#include "runtime/plan/write.h"

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/base/disk.h"
#include "runtime/plan/format.h"
#include "runtime/plan/plan.capnp.h"

namespace troupe {
namespace {

kj::StringPtr text_of(const std::string& text) { return {text.c_str(), text.size()}; }

unsigned size_of_list(size_t size) {
  CHECK(size < (1u << 29), size);  // the longest list that Cap'n Proto can hold
  return static_cast<unsigned>(size);
}

// Fills a list of structs: make(n) allocates it, put(item, builder) fills one element.
template <class Items, class Make, class Put>
void write_list(const Items& items, Make make, Put put) {
  auto list = make(size_of_list(items.size()));
  unsigned i = 0;
  for (const auto& item : items) put(item, list[i++]);
}

// A list of int64: a vector or Dims.
template <class Items, class Make>
void write_numbers(const Items& items, Make make) {
  auto list = make(size_of_list(static_cast<size_t>(items.end() - items.begin())));
  unsigned i = 0;
  for (const auto& item : items) list.set(i++, item);
}

template <class Ids, class Make>
void write_ids(const Ids& ids, Make make) {
  auto list = make(size_of_list(ids.size()));
  for (unsigned i = 0; i < list.size(); ++i) list.set(i, ids[i].value);
}

wire::DType wire_of(DType dtype) { return static_cast<wire::DType>(dtype); }

static_assert(static_cast<int>(wire::DType::F16) == static_cast<int>(kLastDType));
static_assert(static_cast<int>(wire::Arena::IO) == static_cast<int>(ArenaKind::io));
static_assert(static_cast<int>(wire::TaskKind::SOURCE) == static_cast<int>(TaskKind::source));

void write_device(const PlanDevice& device, wire::Device::Builder out) {
  out.setName(text_of(device.name));
  auto arenas = out.initArenaBytes(kArenaKinds);
  for (unsigned i = 0; i < arenas.size(); ++i) arenas.set(i, device.arena_bytes[i]);
}

void write_stream(const PlanStream& stream, wire::Stream::Builder out) {
  out.setName(text_of(stream.name));
  out.setDevice(stream.device.value);
  out.setRunsAhead(stream.runs_ahead);
  write_list(
      stream.segments, [&](unsigned n) { return out.initSegments(n); },
      [](const PlanSegment& segment, wire::Segment::Builder to) {
        to.setRepeat(segment.repeat);
        write_ids(segment.tasks, [&](unsigned n) { return to.initTasks(n); });
      });
}

void write_register(const PlanRegister& reg, wire::Register::Builder out) {
  out.setName(text_of(reg.name));
  out.setProducer(reg.producer.value);
  out.setDtype(wire_of(reg.dtype));
  out.setArena(static_cast<wire::Arena>(reg.arena));
  write_numbers(reg.shape, [&](unsigned n) { return out.initShape(n); });
  write_numbers(reg.offset, [&](unsigned n) { return out.initOffset(n); });
  write_numbers(reg.logical, [&](unsigned n) { return out.initLogical(n); });
  out.setBytes(reg.bytes);
  write_numbers(reg.slots, [&](unsigned n) { return out.initSlots(n); });
  out.setSlotCount(reg.slot_count);
  out.setEvery(reg.every);
  out.setInitial(reg.initial);
  out.setDevice(reg.device.value);
}

void write_attr(const std::pair<std::string, Attr>& attr, wire::Attr::Builder out) {
  out.setName(text_of(attr.first));
  struct Value {
    wire::Attr::Builder& out;
    void operator()(int64_t value) const { out.setInteger(value); }
    void operator()(double value) const { out.setNumber(value); }
    void operator()(const std::string& value) const { out.setText(text_of(value)); }
    void operator()(const std::vector<int64_t>& values) const {
      write_numbers(values, [&](unsigned n) { return out.initIntegers(n); });
    }
  };
  std::visit(Value{out}, attr.second);
}

void write_task(const PlanTask& task, wire::Task::Builder out) {
  out.setName(text_of(task.name));
  out.setKind(static_cast<wire::TaskKind>(task.kind));
  out.setKernel(text_of(task.kernel));
  out.setDevice(task.device.value);
  out.setStream(task.stream.value);
  write_list(
      task.inputs, [&](unsigned n) { return out.initInputs(n); },
      [](const PlanRead& read, wire::Read::Builder to) {
        to.setRegister(read.reg.value);
        to.setEvery(read.every);
      });
  write_ids(task.outputs, [&](unsigned n) { return out.initOutputs(n); });
  write_list(task.attrs.entries(), [&](unsigned n) { return out.initAttrs(n); }, write_attr);
  out.setKey(task.key);
  out.setScratchOffset(task.scratch_offset);
  out.setScratchBytes(task.scratch_bytes);
  out.setFiringsPerStep(task.firings_per_step);
  out.setFirstShard(task.first_shard);
  out.setShards(task.shards);
  out.setPiecesPerShard(task.pieces_per_shard);
  out.setFile(text_of(task.line.file));
  out.setLine(task.line.line);
  out.setPredictedSeconds(task.predicted_s);
}

// A variable or an output: the same fields.
template <class Tensor>
void write_tensor(const Tensor& tensor, wire::Tensor::Builder out) {
  out.setName(text_of(tensor.name));
  out.setDtype(wire_of(tensor.dtype));
  write_numbers(tensor.shape, [&](unsigned n) { return out.initShape(n); });
  write_list(
      tensor.parts, [&](unsigned n) { return out.initParts(n); },
      [](const PlanPart& part, wire::Part::Builder to) {
        to.setRegister(part.reg.value);
        write_numbers(part.box.offset, [&](unsigned n) { return to.initOffset(n); });
        write_numbers(part.box.extent, [&](unsigned n) { return to.initExtent(n); });
        to.setPiece(part.piece);
      });
}

void write_promise(const PlanPromise& promise, wire::Promise::Builder out) {
  write_list(
      promise.traffic, [&](unsigned n) { return out.initTraffic(n); },
      [](const PlanTraffic& traffic, wire::Traffic::Builder to) {
        to.setKind(text_of(traffic.kind));
        to.setAxis(text_of(traffic.axis));
        to.setCount(traffic.count);
        to.setBytes(traffic.bytes);
        to.setMessages(traffic.messages);
      });
  out.setStepSeconds(promise.step_s);
  out.setCritical(text_of(promise.critical));
  write_numbers(promise.peak, [&](unsigned n) { return out.initPeak(n); });
}

void write_root(const Plan& plan, wire::Plan::Builder out) {
  out.setName(text_of(plan.name));
  out.setEpoch(plan.epoch);
  out.setSeed(plan.seed);
  out.setRounds(plan.rounds);
  write_list(plan.devices, [&](unsigned n) { return out.initDevices(n); }, write_device);
  write_list(plan.streams, [&](unsigned n) { return out.initStreams(n); }, write_stream);
  write_list(plan.registers, [&](unsigned n) { return out.initRegisters(n); }, write_register);
  write_list(plan.tasks, [&](unsigned n) { return out.initTasks(n); }, write_task);
  write_list(plan.variables, [&](unsigned n) { return out.initVariables(n); }, write_tensor<PlanVariable>);
  write_list(plan.outputs, [&](unsigned n) { return out.initOutputs(n); }, write_tensor<PlanOutput>);
  write_promise(plan.promise, out.initPromise());
}

FaultError cannot_write(const std::string& path, int error, size_t bytes) {
  Fault fault;
  fault.what = "plan file '" + path + "' cannot be written: " + write_failure(error, path, static_cast<int64_t>(bytes));
  return FaultError(std::move(fault));
}

}  // namespace

std::vector<std::byte> serialize(const Plan& plan) {
  capnp::MallocMessageBuilder message;
  write_root(plan, message.initRoot<wire::Plan>());
  // Without this the bytes would depend on how the builder cut the message into segments.
  const kj::Array<capnp::word> canonical = capnp::canonicalize(message.getRoot<wire::Plan>().asReader());
  const kj::ArrayPtr<const capnp::word> segments[] = {canonical.asPtr()};
  const kj::Array<capnp::word> body = capnp::messageToFlatArray(kj::arrayPtr(segments, 1));
  const auto raw = std::as_bytes(std::span(body.begin(), body.size()));
  const PlanHeader header = plan_header(raw);
  std::vector<std::byte> bytes(sizeof header + raw.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, raw.data(), raw.size());
  return bytes;
}

void write_plan(const Plan& plan, const std::string& path) {
  const std::vector<std::byte> bytes = serialize(plan);
  const std::string partial = path + ".partial";
  std::FILE* file = std::fopen(partial.c_str(), "wb");
  if (file == nullptr) throw cannot_write(path, errno, bytes.size());
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const int write_error = errno;
  const bool closed = std::fclose(file) == 0;
  if (!written || !closed || std::rename(partial.c_str(), path.c_str()) != 0) {
    const int error = written ? errno : write_error;
    std::remove(partial.c_str());
    throw cannot_write(path, error, bytes.size());
  }
}

}  // namespace troupe
