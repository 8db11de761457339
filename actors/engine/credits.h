// The bookkeeping of one task: which versions of its inputs have arrived, which slots of its outputs are free.
//
// A register's versions are numbered from 0; version v lies in slot v % slots. The first `initial` versions count as
// written before the first firing. The producer works on one version for `every` firings and may begin version v when
// every reader has freed version v - slots. A reader holds a version for `every` firings and frees it after the last.
// An output that the task overwrites (a variable) is no input of it: its other readers' credits say it all.
//
// The life of a firing: can_fire() -> begin() -> the kernel -> finish(), which names what became ready and what was
// freed. What arrives meanwhile counts for the next firing.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/base/check.h"

namespace troupe {

// Why a message was refused.
enum class Refusal : uint8_t {
  none,
  repeated,       // a version that had come, or had been freed, before
  out_of_order,   // a later version than the next one
  overrun,        // ready, though its slot still holds a version that is being read
  never_written,  // freed, though the producer has not finished it
  wrong_slot,
  no_such_port,
};
std::string_view text_of(Refusal refusal);

// Not thread-safe. Allocates in the constructor only.
class Credits {
 public:
  struct InputSpec {
    int32_t every = 1;
    int32_t slots = 1;
    int32_t initial = 0;
  };
  struct OutputSpec {
    int32_t every = 1;
    int32_t slots = 1;
    int32_t initial = 0;
    int32_t readers = 0;  // they are numbered through over all outputs, in order
  };
  // A port as seen from outside. For an input: the version held now or next, and how many have arrived. For an output:
  // the version being written or next, its slot.
  struct Input {
    int64_t arrived = 0;
    int64_t version = 0;
    int32_t every = 1;
    int32_t within = 0;  // firings that have held `version`
    int32_t slots = 1;
    int32_t slot = 0;
  };
  struct Output {
    int64_t version = 0;
    int32_t every = 1;
    int32_t within = 0;
    int32_t slots = 1;
    int32_t slot = 0;
    int32_t first_reader = 0;
    int32_t readers = 0;
    int32_t initial = 0;
  };
  struct Reader {
    int64_t freed = 0;  // so many versions
    int32_t output = 0;
  };

  Credits(std::span<const InputSpec> inputs, std::span<const OutputSpec> outputs,
          std::pmr::memory_resource* memory = std::pmr::get_default_resource());

  // Back to before the first firing.
  void restart();

  bool can_fire() const { return missing_ == 0; }

  Refusal arrived(int32_t input, int64_t version) {
    if (static_cast<size_t>(input) >= inputs_.size()) [[unlikely]]
      return Refusal::no_such_port;
    Input& in = inputs_[static_cast<size_t>(input)];
    if (version != in.arrived) [[unlikely]] {
      return version < in.arrived ? Refusal::repeated : Refusal::out_of_order;
    }
    if (version - in.version >= in.slots) [[unlikely]]
      return Refusal::overrun;
    if (in.arrived++ == in.version) --missing_;
    return Refusal::none;
  }

  Refusal freed(int32_t reader, int64_t version) {
    if (static_cast<size_t>(reader) >= readers_.size()) [[unlikely]]
      return Refusal::no_such_port;
    Reader& r = readers_[static_cast<size_t>(reader)];
    if (version != r.freed) [[unlikely]]
      return version < r.freed ? Refusal::repeated : Refusal::out_of_order;
    const Output& out = outputs_[static_cast<size_t>(r.output)];
    if (version >= out.version) [[unlikely]]
      return Refusal::never_written;
    if (r.freed++ == out.version - out.slots) --missing_;
    return Refusal::none;
  }

  // The task lacks itself while it runs.
  void begin() { ++missing_; }

  // `ready(output, version, slot)` for each version that is now complete, then `freed(input, version, slot)` for each
  // that is no longer read. Neither may call back into these credits.
  template <class Ready, class Freed>
  void finish(Ready&& ready, Freed&& freed) {
    for (size_t o = 0; o < outputs_.size(); ++o) {
      Output& out = outputs_[o];
      if (++out.within != out.every) continue;
      const int64_t version = out.version++;
      const int32_t slot = out.slot;
      out.within = 0;
      out.slot = slot + 1 == out.slots ? 0 : slot + 1;
      const int64_t needed = out.version - out.slots;  // must be freed before the next version is begun
      for (int32_t r = out.first_reader; r < out.first_reader + out.readers; ++r) {
        missing_ += readers_[static_cast<size_t>(r)].freed <= needed;
      }
      ready(static_cast<int32_t>(o), version, slot);
    }
    for (size_t i = 0; i < inputs_.size(); ++i) {
      Input& in = inputs_[i];
      if (++in.within != in.every) continue;
      const int64_t version = in.version++;
      const int32_t slot = in.slot;
      in.within = 0;
      in.slot = slot + 1 == in.slots ? 0 : slot + 1;
      missing_ += in.arrived <= in.version;
      freed(static_cast<int32_t>(i), version, slot);
    }
    ++firings_;
    --missing_;
  }

  int64_t firings() const { return firings_; }
  std::span<const Input> inputs() const { return inputs_; }
  std::span<const Output> outputs() const { return outputs_; }
  std::span<const Reader> readers() const { return readers_; }
  // Whether this input's version is missing; whether this reader still holds the slot that is to be written next.
  bool lacks_input(int32_t input) const {
    const Input& in = inputs_[static_cast<size_t>(input)];
    return in.arrived <= in.version;
  }
  bool lacks_reader(int32_t reader) const {
    const Reader& r = readers_[static_cast<size_t>(reader)];
    const Output& out = outputs_[static_cast<size_t>(r.output)];
    return r.freed <= out.version - out.slots;
  }

 private:
  int32_t missing_ = 0;  // versions and slots that the next firing lacks
  int64_t firings_ = 0;
  std::pmr::vector<Input> inputs_;
  std::pmr::vector<Output> outputs_;
  std::pmr::vector<Reader> readers_;
  std::pmr::vector<int32_t> initial_;  // of each input
};

}  // namespace troupe
