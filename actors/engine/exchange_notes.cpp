// What other processes say of their tasks, and the bytes that come with it: nothing of it is believed unseen.

#include <utility>

#include "actors/engine/exchange.h"
#include "actors/engine/registers.h"

namespace troupe {
namespace {

std::string version_text(const Plan& plan, const Message& message) {
  return "version " + std::to_string(message.version) + " of register '" + plan.reg(RegisterId(message.reg)).name + "'";
}

}  // namespace

std::optional<Network::User::Into> Exchange::take(const WireHeader& header, const WireNotes& notes, int64_t bytes) {
  std::optional<Into> into;
  for (size_t n = 0; n < notes.notes.size(); ++n) {
    const bool bears = n == notes.bytes_of && bytes > 0;
    if (auto found = take(header, notes.notes[n], bears ? bytes : 0)) into = std::move(found);
  }
  return into;
}

std::optional<Network::User::Into> Exchange::take(const WireHeader& header, const WireNote& note, int64_t bytes) {
  const Message& message = note.message;
  Loaded* loaded = find_live(message);
  if (loaded == nullptr) return std::nullopt;
  const Plan& plan = loaded->life->plan();
  const bool own_word = note.executor >= 0 && static_cast<size_t>(note.executor) < options_.process_of.size() &&
                        options_.process_of[static_cast<size_t>(note.executor)] == header.from;
  if (!own_word) return raise(header.from, "speaks for an executor that is not its own"), std::nullopt;
  const bool known = loaded->loaded != nullptr && message.task >= 0 &&
                     static_cast<size_t>(message.task) < plan.tasks.size() && message.reg >= 0 &&
                     static_cast<size_t>(message.reg) < plan.registers.size() &&
                     loaded->loaded->is_own(TaskId(message.task));
  const RegisterId reg(message.reg);
  const bool has_bytes = known && message.kind == MessageKind::ready && !plan.reg(reg).is_control();
  const int number = has_bytes ? loaded->crossings.find(TaskId(message.task), reg) : -1;
  if (bytes > 0) return take_bytes(header, note, *loaded, number, bytes);
  if (!known) return raise(header.from, "said something of a task that is not here"), std::nullopt;
  const auto pull = pulls_.find({message.plan, number, message.version});
  if (number >= 0 && pull != pulls_.end()) {
    arriving_.at(pull->second).notes.push_back(note);
    return std::nullopt;
  }
  const bool lacks_bytes = number >= 0 && loaded->crossings.at(number).bytes > 0;
  if (lacks_bytes && newest_told(*loaded, number) < message.version) {
    raise(header.from, "said that " + version_text(plan, message) + " is ready, and has not sent its bytes");
    return std::nullopt;
  }
  deliver(note);
  return std::nullopt;
}

// The bytes of a version, to be pulled to their place. Nothing is written where they cannot belong.
std::optional<Network::User::Into> Exchange::take_bytes(const WireHeader& header, const WireNote& note, Loaded& loaded,
                                                        int crossing, int64_t bytes) {
  const Message& message = note.message;
  const Plan& plan = loaded.life->plan();
  const RegisterId reg(message.reg);
  const bool right = crossing >= 0 && message.slot >= 0 &&
                     static_cast<size_t>(message.slot) < plan.reg(reg).slots.size() &&
                     bytes == loaded.crossings.at(crossing).bytes && loaded.crossings.at(crossing).from == header.from;
  if (!right) return raise(header.from, "sent bytes that nobody here reads"), std::nullopt;
  int64_t& newest = newest_told(loaded, crossing);
  if (message.version != newest + 1) {
    raise(header.from, "sent the bytes of " + version_text(plan, message) + "; refused: version " +
                           std::to_string(newest + 1) + " is the next one");
    return std::nullopt;
  }
  const auto [pull, fresh] = pulls_.try_emplace({message.plan, crossing, message.version}, next_);
  if (!fresh) {  // fences see to it
    raise(header.from, "sent the bytes of " + version_text(plan, message) + " before those of an older life had come");
    return std::nullopt;
  }
  newest = message.version;
  const Registers registers(*loaded.memory, *loaded.life);
  Arriving arriving;
  arriving.from = header.from;
  arriving.checksum = header.checksum;
  arriving.pieces =
      pieces_of(loaded.crossings.at(crossing).runs, registers.bytes(reg, static_cast<size_t>(message.slot)).data());
  arriving.notes = {note};
  arriving.crossing = crossing;
  return expect(std::move(arriving));
}

int64_t& Exchange::newest_told(Loaded& loaded, int crossing) {
  if (loaded.told_epoch != loaded.life->epoch) {
    loaded.told_epoch = loaded.life->epoch;
    for (int c = 0; c < loaded.crossings.count(); ++c) {
      loaded.told[static_cast<size_t>(c)] = loaded.life->plan().reg(loaded.crossings.at(c).reg).initial - 1;
    }
  }
  return loaded.told[static_cast<size_t>(crossing)];
}

}  // namespace troupe
