#include "actors/engine/crew.h"

#include <algorithm>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

// Of the heartbeat: a driver that has not looked for longer than this was stopped itself.
constexpr double kLateTick = 0.5;

constexpr double kMissingPatience = 5;  // seconds for a message that others sent after it have overtaken
constexpr size_t kMostRefused = 5;      // of those who were not let in, so many are named

// Compares all of it, so that the time says nothing about how much was right.
bool same(const std::string& a, const std::string& b) {
  unsigned differ = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) differ |= static_cast<unsigned char>(a[i] ^ b[i]);
  return differ == 0;
}

}  // namespace

std::variant<int, std::string> Crew::on(const Join& join, double now) {
  if (!same(join.token, options_.token)) return "its token is not the run's";
  if (join.version != kControlVersion) {
    return "it speaks version " + std::to_string(join.version) + " of the protocol, the driver version " +
           std::to_string(kControlVersion) + "; install the same version of Troupe everywhere";
  }
  if (join.share.devices < 1 || join.share.executors < 1) return "it offers no device";
  if (complete()) return "the run has its " + std::to_string(options_.workers) + " workers already";
  if (const std::optional<std::string> why = taken(join)) return *why;
  members_.push_back({join.host, join.process, join.share, join.memory, {}, now, 0, false, now, -1, now, join.rank});
  const int joined_as = static_cast<int>(members_.size()) - 1;
  if (complete()) number();
  return joined_as;
}

// Why it cannot have the rank that it says.
std::optional<std::string> Crew::taken(const Join& join) const {
  if (join.rank < -1 || join.rank >= options_.workers) {
    return "its rank is " + std::to_string(join.rank) + "; those of the run's " + std::to_string(options_.workers) +
           " workers are 0 to " + std::to_string(options_.workers - 1);
  }
  for (size_t w = 0; w < members_.size(); ++w) {
    if (join.rank >= 0 && members_[w].rank == join.rank) return "its rank is that of " + name(static_cast<int>(w));
  }
  return std::nullopt;
}

void Crew::number() {
  std::vector<int> joined_as(members_.size(), -1);
  for (size_t w = 0; w < members_.size(); ++w) {
    if (members_[w].rank >= 0) joined_as[static_cast<size_t>(members_[w].rank)] = static_cast<int>(w);
  }
  auto place = joined_as.begin();
  for (size_t w = 0; w < members_.size(); ++w) {
    if (members_[w].rank >= 0) continue;
    place = std::find(place, joined_as.end(), -1);
    *place = static_cast<int>(w);
  }
  std::vector<Member> numbered;
  for (const int each : joined_as) {
    numbered.push_back(std::move(members_[static_cast<size_t>(each)]));
    numbered.back().rank = static_cast<int32_t>(numbered.size()) - 1;
  }
  members_ = std::move(numbered);
  joined_as_ = std::move(joined_as);
}

int Crew::number_of(int joined_as) const {
  const auto found = std::find(joined_as_.begin(), joined_as_.end(), joined_as);
  return found == joined_as_.end() ? joined_as : static_cast<int>(found - joined_as_.begin());
}

void Crew::refuse(const std::string& who) {
  const bool known = std::find(refused_.begin(), refused_.end(), who) != refused_.end();
  if (!known && refused_.size() < kMostRefused) refused_.push_back(who);
}

std::vector<WorkerShare> Crew::shares() const {
  std::vector<WorkerShare> all;
  for (const Member& member : members_) all.push_back(member.share);
  return all;
}

int32_t Crew::devices() const {
  int32_t count = 0;
  for (const Member& member : members_) count += member.share.devices;
  return count;
}

std::string Crew::name(int worker) const {
  const Member& member = members_.at(static_cast<size_t>(worker));
  const std::string where = " (" + member.host + ", process " + std::to_string(member.process) + ")";
  const bool ranks = std::any_of(members_.begin(), members_.end(), [](const Member& m) { return m.rank >= 0; });
  if (ranks && member.rank < 0) return "a worker" + where;
  return "worker " + std::to_string(ranks ? member.rank : worker) + where;
}

uint64_t Crew::ask() {
  failure_.reset();
  user_errors_ = 0;
  stands_.clear();
  observed_.clear();
  times_.clear();
  owing_.clear();
  for (size_t w = 0; w < members_.size(); ++w) {
    if (!members_[w].gone) owing_.insert(static_cast<int>(w));
  }
  return ++request_;
}

std::string Crew::owing() const {
  return join(owing_, ", ", [&](int worker) { return name(worker); });
}

void Crew::go(uint32_t epoch, int64_t until) {
  epoch_ = epoch;
  until_ = until;
  behind_.clear();
  for (size_t w = 0; w < members_.size(); ++w) behind_.insert(static_cast<int>(w));
}

void Crew::on(int joined_as, const Said& said, double now) {
  const int worker = number_of(joined_as);
  Member& member = members_.at(static_cast<size_t>(worker));
  if (member.gone) return;
  member.heard = now;
  member.said.put(said.number, said.reply, now);
  while (!member.gone) {
    const std::optional<Reply> next = member.said.take();
    if (!next) break;
    hear(worker, *next, now);
  }
}

void Crew::hear(int worker, const Reply& reply, double now) {
  Member& member = members_[static_cast<size_t>(worker)];
  if (const auto* beat = std::get_if<Beat>(&reply)) {
    if (beat->firings != member.firings) member.moved = now;
    member.firings = beat->firings;
    member.read = beat->read;
    if (beat->missing_s >= kMissingPatience) {
      leave(worker, "is out of touch: a command to it is missing, later ones have come", beat->missing_s);
    }
  } else if (const auto* answer = std::get_if<Answer>(&reply)) {
    const bool failed = answer->outcome != Answer::Outcome::done;
    if (answer->request == 0 && failed && !fault_)
      fault_ = named(worker, answer->fault);  // of a command that nobody waits for
    if (answer->request != request_) return;
    if (owing_.erase(worker) > 0 && answer->outcome == Answer::Outcome::user_error) ++user_errors_;
    if (failed && !failure_) failure_ = {answer->request, answer->outcome, named(worker, answer->fault)};
  } else if (const auto* link = std::get_if<LinkAddress>(&reply)) {
    if (link->request == request_) member.address = link->address;
  } else if (const auto* reached = std::get_if<Reached>(&reply)) {
    if (reached->epoch == epoch_ && reached->step == until_) behind_.erase(worker);
  } else if (const auto* fault = std::get_if<Fault>(&reply)) {
    if (!fault_) fault_ = named(worker, *fault);
  } else if (const auto* stall = std::get_if<StallPart>(&reply)) {
    if (stall->request == request_) stands_.push_back({worker, stall->where});
  } else if (const auto* seen = std::get_if<ObservedPart>(&reply)) {
    if (seen->request == request_) observed_.push_back({worker, seen->seen});
  } else if (const auto* time = std::get_if<TimeIs>(&reply)) {
    if (time->request == request_) times_.push_back({worker, time->now, now});
  }
}

void Crew::lost(int joined_as) {
  const int worker = number_of(joined_as);
  if (!members_.at(static_cast<size_t>(worker)).gone) leave(worker, "is gone: its connection was closed", 0);
}

void Crew::leave(int worker, const std::string& why, double waited) {
  Member& member = members_[static_cast<size_t>(worker)];
  member.gone = true;
  owing_.erase(worker);
  Fault fault;
  fault.what = name(worker) + " " + why;
  fault.device = devices_of(worker);
  fault.deadline = waited;
  if (!gone_) {
    gone_ = fault;
    first_gone_ = worker;
  }
  fault_ = gone_;  // what else is wrong follows from it
}

// "cpu:2 to cpu:3"
std::string Crew::devices_of(int worker) const {
  if (!complete()) return {};  // its devices come after those of workers that have not joined yet
  int first = 0;
  for (int w = 0; w < worker; ++w) first += members_[static_cast<size_t>(w)].share.devices;
  const int last = first + members_[static_cast<size_t>(worker)].share.devices - 1;
  return "cpu:" + std::to_string(first) + (last == first ? "" : " to cpu:" + std::to_string(last));
}

// What a worker says is wrong, with where.
Fault Crew::named(int worker, Fault fault) const {
  fault.what = name(worker) + ": " + fault.what;
  if (fault.device.empty()) fault.device = devices_of(worker);
  return fault;
}

int Crew::named(const std::string& wanted) const {
  for (size_t w = 0; w < members_.size(); ++w) {
    if (name(static_cast<int>(w)) == wanted) return static_cast<int>(w);
  }
  return -1;
}

Fault Crew::located(Fault fault) const {
  const int worker = named(fault.peer);
  if (fault.device.empty() && worker >= 0) fault.device = devices_of(worker);
  return fault;
}

void Crew::tick(double now) {
  if (!ticked_ || now - *ticked_ > kLateTick * options_.heartbeat_s) {
    for (Member& member : members_) member.heard = now;
  }
  ticked_ = now;
  for (size_t w = 0; w < members_.size(); ++w) {
    const Member& member = members_[w];
    if (member.gone) continue;
    const double silent = now - member.heard;
    const double missing = now - member.said.missing_since().value_or(now);
    if (silent >= options_.heartbeat_s) {
      leave(static_cast<int>(w), "has gone silent", silent);
    } else if (missing >= kMissingPatience) {
      const std::string number = std::to_string(member.said.due());
      leave(static_cast<int>(w), "is out of touch: its message " + number + " is missing, later ones have come",
            missing);
    }
  }
}

bool Crew::all_gone() const {
  return std::all_of(members_.begin(), members_.end(), [](const Member& member) { return member.gone; });
}

void Crew::forgive() { fault_ = gone_; }

uint64_t Crew::firings() const {
  uint64_t sum = 0;
  for (const Member& member : members_) sum += member.firings;
  return sum;
}

int64_t Crew::read() const {
  int64_t least = -1;
  for (const Member& member : members_) {
    if (member.read >= 0) least = least < 0 ? member.read : std::min(least, member.read);
  }
  return least;
}

}  // namespace troupe
