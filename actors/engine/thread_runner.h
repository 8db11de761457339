// Plain threads for an engine: one per executor of this process, and one for its exchange. They sleep on the executors'
// doorbells, so executors of other processes that share these can wake them. What the shell does with actors, for workers and
// tools without it.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "actors/engine/engine.h"
#include "actors/engine/exchange_thread.h"

namespace troupe {

class ThreadRunner {
 public:
  // The engine outlives the runner; nobody else runs its executors meanwhile.
  explicit ThreadRunner(Engine& engine);
  // Stops the engine, joins the threads.
  ~ThreadRunner();
  ThreadRunner(const ThreadRunner&) = delete;
  ThreadRunner& operator=(const ThreadRunner&) = delete;

 private:
  void serve(int index);

  Engine& engine_;
  std::atomic<bool> over_{false};
  std::vector<std::thread> threads_;
  std::unique_ptr<ExchangeThread> exchange_;
};

}  // namespace troupe
