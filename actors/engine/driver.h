// The driver of a run whose devices belong to workers in other processes. It has the memory that all share, tells the
// workers what to do and waits for them; every wait has a deadline and names whom it waits for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "actors/engine/clock_offset.h"
#include "actors/engine/crew.h"
#include "actors/engine/exchange_thread.h"
#include "actors/engine/feed_post.h"
#include "actors/engine/lane_table.h"
#include "actors/engine/runner.h"
#include "actors/engine/stall.h"
#include "runtime/base/clock.h"

namespace troupe {

// Carries messages between a driver and its workers.
class Courier {
 public:
  virtual ~Courier() = default;
  virtual void send(int worker, const Order& order) = 0;
  // Gives the crew what has come in; returns when something came, or after about so long.
  virtual void receive(Crew& crew, double at_most_s) = 0;
  // What workers say (Join::memory) that share memory with the driver, and the way to those that do not; null when
  // there is none.
  virtual std::string memory() const { return ""; }
  virtual std::unique_ptr<Network> make_network() { return nullptr; }
  // Has an exchange carry on, until what this gives is gone. And waits for a job of it, for at most so long: true when it
  // is done.
  virtual std::shared_ptr<void> serve(Exchange& exchange) { return std::make_shared<ExchangeThread>(exchange); }
  virtual bool done(const Exchange& exchange, const ExchangeJob& job, double at_most_s) {
    return exchange.done(job, at_most_s);
  }
};

// Used by one thread at a time.
class Driver final : public Runner, private FarRegisters {
 public:
  // Courier and clock outlive the driver.
  Driver(Courier& courier, CrewOptions options, const Clock& clock);
  ~Driver() override;

  // Waits at most so long for all workers to join: true when they have. FaultError with who has when none comes within
  // `patience_s` seconds of the first call, or no other within ten seconds of one.
  bool gather(double at_most_s, double patience_s);

  // PlanError also when the plan names a device that no worker offers. The run goes on after one that all workers give,
  // unless variables have moved to make room for the plan's beside those of others.
  PlanHandle load(std::shared_ptr<const Plan> plan, SourceMap sources) override;
  void unload(PlanHandle handle) override;
  const Plan& plan(PlanHandle handle) const override { return find(handle).life.plan(); }
  // Only sources that other processes can read too: of a feed or of files.
  void set_sources(PlanHandle handle, SourceMap sources) override;

  void start(PlanHandle handle, int64_t first_step, int64_t steps) override;
  bool wait_for(double at_most_s, double patience_s) override;
  void stop() override;
  void wake() override { hand_over(); }
  // Unloads all plans. The workers stay, for the next plan.
  void shutdown() override;
  // Tells the workers that the run is over, and gives them a moment to leave.
  void dismiss();

  Registers registers(PlanHandle handle) const override { return {memory_, find(handle).life, this}; }
  void write(PlanHandle handle, const PlanVariable& variable, std::span<const std::byte> from) override;
  void observe(PlanHandle handle, const Observe& what) override;
  // With the times of the driver's clock, whatever clocks the workers have.
  Observations observations(PlanHandle handle) override;
  std::vector<WorkerState> workers() const override;
  RunProgress progress() const override { return {running_ ? clock_.now() - seen_at_ : 0, crew_.read()}; }
  Fault stall() override;

 private:
  struct Loaded {
    PlanLife life;
    UnderWay under_way;
    SourceMap sources;               // keeps the feeds
    std::optional<Fault> divided{};  // some workers have other sources than others
  };
  static constexpr double kLook = 0.05;  // seconds between looks at the time while waiting
  // For workers to carry out a command: allocation, a kernel that runs. More where it moves bytes.
  static constexpr double kCommandPatience = 60;

  void welcome();
  void link();
  bool is_far(const std::string& device) const override;
  void fetch(const PlanLife& life, const std::vector<Slot>& slots) const override;
  void store(const PlanLife& life, const std::vector<Slot>& slots) const override;
  template <class Ask>
  void exchange_slots(const PlanLife& life, const std::vector<Slot>& slots, Ask&& ask) const;
  void wait_for_job(const ExchangeJob& job, double patience_s) const;
  void begin_afresh();
  bool add_memory(const PlanLife& life);
  bool is_only(PlanHandle handle) const;
  void forget(PlanHandle handle);
  Fault missing(double waited) const;
  Loaded& find(PlanHandle handle) const;
  void check_not_running(const char* what) const;
  void check_devices(const Plan& plan) const;
  void send(int worker, uint64_t request, const Command& command);
  void tell(uint64_t request, const Command& command);
  void ask(const Command& command, int64_t bytes = 0);
  void ask_or_end(const Command& command, int64_t bytes, const std::string& otherwise);
  void wait_until_settled(const Command& command, double patience_s = kCommandPatience);
  void look(double at_most_s) const;
  void look_at_links();
  int64_t bytes_of_plans() const;
  void check_up() const;
  void end_run(const std::string& what, const std::exception& why) const;
  [[noreturn]] void raise(Fault fault);
  [[noreturn]] void stop_and_raise(Fault fault);
  void hold();
  void resume();
  void hand_over();
  int64_t messages(int from, int to) const;
  std::vector<ClockOffset> compare_clocks();
  void wait_for_the_gone() const;
  StallScene ask_where_it_stands();
  void name_who_waits(Fault& fault);

  Courier& courier_;
  const Clock& clock_;
  mutable Crew crew_;  // heard while bytes are waited for
  Memory memory_{Memory::Kind::shared, [this](const std::string& device) { return is_far(device); }};
  std::unique_ptr<Exchange> exchange_;  // with workers that share no memory with this process
  std::shared_ptr<void> exchange_runs_;
  uint64_t fences_ = 0;
  Arena doorbells_;
  LaneTable lanes_;
  Arena lane_memory_;
  std::vector<std::unique_ptr<Loaded>> plans_;  // by handle; null when unloaded
  FeedPost feeds_;
  uint32_t epoch_ = 0;
  std::vector<uint64_t> sent_;  // orders, by worker
  std::optional<double> gathers_since_;
  bool welcomed_ = false;
  mutable std::optional<Fault> broken_;  // the run is over: workers no longer agree on what is loaded, or a link broke
  bool held_ = false;
  bool told_to_hold_ = false;  // also when not all have answered
  bool fenced_ = false;        // since it is held
  bool running_ = false;
  PlanHandle current_;  // what runs, or ran last
  double began_at_ = 0;
  bool dismissed_ = false;
  uint64_t seen_firings_ = 0;  // progress as `wait_for` last saw it, and when
  double seen_at_ = 0;
};

}  // namespace troupe
