// Plain threads for an engine: one per executor. What the shell does with actors, for tests and tools without it.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "actors/engine/engine.h"

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
  struct Bell {
    std::mutex mutex;
    std::condition_variable rung;
    bool rings = false;
    bool over = false;
  };
  void serve(int index);

  Engine& engine_;
  std::vector<std::unique_ptr<Bell>> bells_;
  std::vector<std::thread> threads_;
};

}  // namespace troupe
