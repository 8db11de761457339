// How a run begins: workers join, and learn what they have of it.

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <random>
#include <utility>

#include "actors/engine/doorbell.h"
#include "actors/engine/driver.h"
#include "actors/engine/exchange_options.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

constexpr double kNextPatience = 10;  // seconds for the next worker to join after one has: they start together
constexpr double kBeatsPerHeartbeat = 5;

}  // namespace

bool Driver::gather(double at_most_s, double patience_s) {
  if (welcomed_) return true;
  check_up();
  const double began = clock_.now();
  if (!gathers_since_) gathers_since_ = began;
  while (!crew_.complete()) {
    const double left = began + at_most_s - clock_.now();
    const size_t before = crew_.members().size();
    courier_.receive(crew_, std::clamp(left, 0.0, kLook));
    if (crew_.gone()) raise(*crew_.gone());
    if (crew_.complete()) break;
    if (crew_.members().size() != before) gathers_since_ = clock_.now();
    const double patience = crew_.members().empty() ? patience_s : std::min(patience_s, kNextPatience);
    if (clock_.now() - *gathers_since_ >= patience) raise(missing(patience));
    if (left <= 0) return false;
  }
  try {
    welcome();
  } catch (const std::exception& error) {
    end_run("the workers were not all welcomed", error);
    throw;
  }
  welcomed_ = true;
  return true;
}

Fault Driver::missing(double waited) const {
  Fault fault;
  fault.what = std::to_string(crew_.members().size()) + " workers have joined";
  for (size_t w = 0; w < crew_.members().size(); ++w) {
    fault.what += (w == 0 ? ": " : ", ") + crew_.name(static_cast<int>(w));
  }
  fault.what += "; the run needs " + std::to_string(crew_.size());
  if (!crew_.refused().empty()) fault.what += "; not let in: " + join(crew_.refused(), "; ", std::identity());
  fault.deadline = waited;
  return fault;
}

void Driver::welcome() {
  int executors = 0;
  for (const WorkerShare& share : crew_.shares()) executors += share.executors;
  doorbells_ = Arena::shared(static_cast<int64_t>(sizeof(Doorbell)) * executors);
  lanes_ = LaneTable(executors);
  lane_memory_ = Arena::shared(0);
  Welcome welcome;
  welcome.beat_s = crew_.options().heartbeat_s / kBeatsPerHeartbeat;
  welcome.workers = crew_.shares();
  welcome.doorbells = doorbells_.file();
  welcome.checksums = std::getenv("TROUPE_CHECKSUMS") != nullptr;
  std::random_device random;
  welcome.key = uint64_t{random()} << 32 | random();
  for (int w = 0; w < crew_.size(); ++w) {
    welcome.near.push_back(crew_.members()[static_cast<size_t>(w)].memory == courier_.memory());
    welcome.names.push_back(crew_.name(w));
  }
  welcome.near.push_back(1);
  welcome.names.emplace_back("the driver");
  ExchangeOptions options = exchange_options(welcome, crew_.size());
  const bool any_far = options.any_far();
  if (any_far) {
    std::unique_ptr<Network> network = courier_.make_network();
    if (network == nullptr) {
      Fault fault;
      fault.what = "workers of other hosts have joined, and this driver has no network";
      raise(std::move(fault));
    }
    exchange_ = std::make_unique<Exchange>(std::move(network), std::move(options), clock_);
  }
  const uint64_t request = crew_.ask();
  for (int w = 0; w < crew_.size(); ++w) {
    welcome.index = w;
    send(w, request, welcome);
  }
  wait_until_settled(welcome);
  if (any_far) link();
}

// All processes connect to those that they share no memory with.
void Driver::link() {
  Connect connect;
  for (const Crew::Member& member : crew_.members()) connect.addresses.push_back(member.address);
  connect.addresses.push_back(exchange_->address());
  exchange_->connect(connect.addresses);
  exchange_runs_ = courier_.serve(*exchange_);
  ask(connect);
}

}  // namespace troupe
