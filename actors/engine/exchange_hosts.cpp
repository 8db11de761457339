#include "actors/engine/exchange_hosts.h"

#include <utility>

#include "actors/engine/placement.h"

namespace troupe {

Hosts::Hosts(const KernelTable& kernels, const HostsOptions& options)
    : options_(options), networks_(options.seed, options.delay), random_(options.seed) {
  const std::vector<WorkerShare>& shares = options_.shares;
  const size_t count = shares.size();
  std::vector<std::string> names;
  std::vector<int> process_of;
  for (size_t p = 0; p < count; ++p) {
    names.push_back("worker " + std::to_string(p));
    process_of.insert(process_of.end(), static_cast<size_t>(shares[p].executors), static_cast<int>(p));
  }
  names.emplace_back("the driver");
  std::vector<std::string> addresses;
  int first = 0;
  hosts_.resize(count);
  for (size_t p = 0; p < count; ++p) {
    std::unique_ptr<Network> network = networks_.make();
    addresses.push_back(network->address());
    const ExecutorRange own{std::exchange(first, first + shares[p].executors), shares[p].executors};
    if (static_cast<int>(p) == options_.stranger) {
      stranger_ = std::move(network);
      continue;
    }
    ExchangeOptions with;
    with.self = static_cast<int>(p);
    with.key = kKey;
    with.names = names;
    with.far.assign(count + 1, true);
    with.far[p] = with.far[count] = false;
    for (int other : options_.near) {
      if (options_.near.contains(static_cast<int>(p))) with.far[static_cast<size_t>(other)] = false;
    }
    with.process_of = process_of;
    with.patience_s = kPatience;
    with.checksums = options_.checksums;
    hosts_[p].exchange = std::make_unique<Exchange>(std::move(network), std::move(with), clock_);
    EngineOptions engine;
    engine.executors = static_cast<int>(process_of.size());
    engine.own = own;
    engine.spin_s = 0;
    engine.exchange = hosts_[p].exchange.get();
    engine.place = [&shares](const Plan& plan, StreamId stream) {
      return executor_of_device(plan.devices[plan.streams[stream.index()].device.index()].name, shares);
    };
    engine.process_of = [&shares](const std::string& device) { return process_of_device(device, shares); };
    hosts_[p].engine = std::make_unique<Engine>(kernels, std::move(engine), clock_);
    Engine* made = hosts_[p].engine.get();
    hosts_[p].exchange->on_fault = [made](Fault fault) { made->raise(std::move(fault)); };
  }
  addresses.emplace_back();  // the driver's, which all share memory with
  for (Host& host : hosts_) {
    if (host.exchange) host.exchange->connect(addresses);
  }
}

void Hosts::load(const Plan& plan, SourceMap sources) {
  plan_ = PlanHandle(plans_++);
  for (Host& host : hosts_) {
    if (host.engine) host.engine->load(std::make_shared<const Plan>(plan), sources, nullptr, plan_);
  }
}

void Hosts::kill(size_t process) {
  hosts_[process].engine->resume();
  hosts_[process].exchange = nullptr;  // before the memory that it writes
  hosts_[process].engine = nullptr;
}

void Hosts::hold() {
  for (Host& host : hosts_) {
    if (host.engine) host.engine->hold();
  }
  held_ = true;
}

void Hosts::resume() {
  for (Host& host : hosts_) {
    if (host.engine) host.engine->resume();
  }
  held_ = false;
}

bool Hosts::wait(const std::vector<std::unique_ptr<ExchangeJob>>& jobs) {
  const auto done = [&] {
    for (const auto& job : jobs) {
      if (!job->done()) return false;
    }
    return true;
  };
  run(done);
  const bool all = done();
  failure_ = all ? "" : "waits for ever";
  for (const auto& job : jobs) {
    if (job->failure() && failure_.empty()) failure_ = job->failure()->what;
    for (Host& host : hosts_) {
      if (host.exchange) host.exchange->abandon(*job);
    }
  }
  return failure_.empty();
}

bool Hosts::fence() {
  std::vector<std::unique_ptr<ExchangeJob>> jobs;
  ++fences_;
  for (Host& host : hosts_) {
    if (host.exchange) host.exchange->fence(*jobs.emplace_back(std::make_unique<ExchangeJob>()), fences_);
  }
  return wait(jobs);
}

bool Hosts::restart(int64_t first_step) {
  hold();
  bool all = fence();
  std::vector<std::unique_ptr<ExchangeJob>> jobs;
  ++epoch_;
  for (Host& host : hosts_) {
    if (!host.engine) continue;
    if (host.engine->fault()) host.engine->forgive();
    host.engine->restart(plan_, epoch_, first_step);
    host.exchange->fetch_initial(*jobs.emplace_back(std::make_unique<ExchangeJob>()), plan_);
  }
  if (all) all = wait(jobs);
  resume();
  return all;
}

void Hosts::go(int64_t until) {
  for (Host& host : hosts_) {
    if (host.engine) host.engine->go(plan_, until);
  }
}

bool Hosts::reached() {
  for (Host& host : hosts_) {
    if (host.engine && (host.engine->running() || host.engine->fault())) return false;
  }
  return true;
}

void Hosts::run(const std::function<bool()>& until) {
  constexpr int kQuietRounds = 200;  // longer than any delay
  for (int quiet = 0; quiet < kQuietRounds && !(until && until());) {
    bool something = false;
    const size_t first = static_cast<size_t>(random_.below(static_cast<int64_t>(hosts_.size())));
    for (size_t h = 0; h < hosts_.size(); ++h) {
      Host& host = hosts_[(first + h) % hosts_.size()];
      if (!host.engine) continue;
      if (random_.chance(0.8)) something |= host.exchange->progress();
      const ExecutorRange own = host.engine->own();
      for (int e = own.first; !held_ && e < own.first + own.count; ++e) {
        const uint64_t before = host.engine->firings();
        if (random_.chance(0.8)) host.engine->executor(e).run(0);
        something |= host.engine->firings() != before;
      }
    }
    quiet = something ? 0 : quiet + 1;
  }
}

std::string Hosts::fault() {
  for (Host& host : hosts_) {
    if (host.engine && host.engine->fault()) return host.engine->fault()->str();
  }
  return "";
}

}  // namespace troupe
