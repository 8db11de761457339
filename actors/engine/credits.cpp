#include "actors/engine/credits.h"

namespace troupe {

std::string_view text_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::none:
      return "accepted";
    case Refusal::repeated:
      return "this version had come before";
    case Refusal::out_of_order:
      return "a version before it has not come";
    case Refusal::overrun:
      return "its slot still holds a version that is being read";
    case Refusal::never_written:
      return "this version has not been written";
    case Refusal::wrong_slot:
      return "the version does not lie in that slot";
    case Refusal::no_such_port:
      return "the task has no such port";
  }
  return "";
}

Credits::Credits(std::span<const InputSpec> inputs, std::span<const OutputSpec> outputs,
                 std::pmr::memory_resource* memory)
    : inputs_(memory), outputs_(memory), readers_(memory), initial_(memory) {
  inputs_.resize(inputs.size());
  initial_.resize(inputs.size());
  outputs_.resize(outputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    CHECK(inputs[i].every > 0 && inputs[i].slots > 0 && inputs[i].initial >= 0, i);
    inputs_[i].every = inputs[i].every;
    inputs_[i].slots = inputs[i].slots;
    initial_[i] = inputs[i].initial;
  }
  int32_t readers = 0;
  for (size_t o = 0; o < outputs.size(); ++o) {
    CHECK(outputs[o].every > 0 && outputs[o].slots > 0 && outputs[o].readers >= 0, o);
    CHECK(outputs[o].initial >= 0 && outputs[o].initial <= outputs[o].slots, o);
    outputs_[o].every = outputs[o].every;
    outputs_[o].slots = outputs[o].slots;
    outputs_[o].initial = outputs[o].initial;
    outputs_[o].first_reader = readers;
    outputs_[o].readers = outputs[o].readers;
    readers += outputs[o].readers;
  }
  readers_.resize(static_cast<size_t>(readers));
  for (size_t o = 0; o < outputs_.size(); ++o) {
    for (int32_t r = 0; r < outputs_[o].readers; ++r) {
      readers_[static_cast<size_t>(outputs_[o].first_reader + r)].output = static_cast<int32_t>(o);
    }
  }
  restart();
}

void Credits::restart() {
  missing_ = 0;
  firings_ = 0;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    Input& in = inputs_[i];
    in.arrived = initial_[i];
    in.version = 0;
    in.within = 0;
    in.slot = 0;
    missing_ += in.arrived <= in.version;
  }
  for (Reader& r : readers_) r.freed = 0;
  for (Output& out : outputs_) {
    out.version = out.initial;
    out.within = 0;
    out.slot = out.initial % out.slots;
    if (out.version >= out.slots) missing_ += out.readers;  // the slot of the first version holds an initial one
  }
}

}  // namespace troupe
