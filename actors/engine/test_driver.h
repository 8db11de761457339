// For tests of a run over several workers, all in this process: the driver and the workers are the ones of real processes,
// and share memory as these do; only the way of their messages is short.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "actors/engine/driver.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/queue_network.h"
#include "actors/engine/thread_runner.h"
#include "actors/engine/worker.h"

namespace troupe {

inline constexpr char kToken[] = "secret";

// Workers with threads of their own. What they say is kept until the driver receives.
class Rig final : public Courier {
 public:
  // `clocks`, where given, are the workers'.
  Rig(const KernelTable& kernels, const Clock& clock, std::vector<WorkerShare> shares,
      const std::vector<const Clock*>& clocks = {})
      : clock_(clock), shares_(std::move(shares)) {
    for (size_t w = 0; w < shares_.size(); ++w) {
      members_.push_back(
          std::make_unique<Member>(kernels, clocks.empty() ? clock : *clocks[w], [this] { return networks_.make(); }));
    }
  }
  std::unique_ptr<Network> make_network() override { return networks_.make(); }

  std::set<int> far;   // workers that share no memory with the others
  std::set<int> idle;  // those whose executors nobody runs
  // What a worker says, and is told, on the way.
  std::function<void(int worker, Reply&)> says = [](int, Reply&) {};
  std::function<void(int worker, Command&)> is_told = [](int, Command&) {};
  ~Rig() override {
    for (auto& member : members_) member->threads.reset();
  }

  void send(int worker, const Order& order) override {
    Member& member = *members_[static_cast<size_t>(worker)];
    Order told = order;
    is_told(worker, told.command);
    for (Said& said : member.worker.on(told)) {
      says(worker, said.reply);
      said_.push_back({worker, said});
    }
    for (const Said& said : member.worker.on_change()) said_.push_back({worker, said});
    if (std::holds_alternative<Welcome>(order.command) && !idle.contains(worker))
      member.threads = std::make_unique<ThreadRunner>(*member.worker.engine());
  }
  void receive(Crew& crew, double at_most_s) override {
    for (const WorkerShare& share : std::exchange(shares_, {})) {
      Join join;
      join.token = kToken;
      join.host = "here";
      join.process = 100 + static_cast<int32_t>(crew.members().size());
      join.share = share;
      if (far.contains(static_cast<int>(crew.members().size()))) join.memory = "elsewhere";
      ASSERT_TRUE(std::holds_alternative<int>(crew.on(join, clock_.now())));
    }
    for (const double until = clock_.now() + at_most_s; said_.empty() && clock_.now() < until;) {
      for (size_t w = 0; w < members_.size(); ++w) {
        for (const Said& said : members_[w]->worker.on_change()) said_.push_back({static_cast<int>(w), said});
      }
    }
    for (size_t w = 0; w < members_.size(); ++w) {
      if (members_[w]->threads != nullptr) said_.push_back({static_cast<int>(w), members_[w]->worker.beat()});
    }
    for (; !said_.empty(); said_.pop_front()) crew.on(said_.front().first, said_.front().second, clock_.now());
  }
  Engine& engine(int worker) { return *members_[static_cast<size_t>(worker)]->worker.engine(); }

 private:
  struct Member {
    Member(const KernelTable& kernels, const Clock& clock, Worker::MakeNetwork make_network)
        : worker(kernels, clock, std::move(make_network)) {}
    Worker worker;
    std::unique_ptr<ThreadRunner> threads;
  };
  const Clock& clock_;
  QueueNetworks networks_{1, 0};
  std::vector<WorkerShare> shares_;
  std::vector<std::unique_ptr<Member>> members_;
  std::deque<std::pair<int, Said>> said_;
};

// Two devices that wait for each other; nothing else.
inline Plan two_devices() {
  PlanBuilder builder;
  const TaskId a = builder.task(builder.stream(builder.device("cpu:0"), "s"), "a", "mix");
  const TaskId b = builder.task(builder.stream(builder.device("cpu:1"), "s"), "b", "mix");
  builder.read(b, builder.output(a, {.name = "there", .slots = 2}));
  return builder.finish();
}

}  // namespace troupe
