// What was put into a queue before, so that what comes again can be put as one CUDA graph.
//
// A *run* is what is launched between two calls that others can see (a mark, a wait). Runs that begin alike share their
// beginning: they are paths of a tree from its root.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "runtime/device/kernel.h"

namespace troupe {

// A launch after those on the path to it, and the run that ends with it.
class LaunchNode {
 public:
  LaunchNode() = default;  // the root: no launch
  LaunchNode(LaunchNode* before, Kernel kernel, const KernelArgs& args);
  ~LaunchNode();
  LaunchNode(const LaunchNode&) = delete;

  // The launch that came next some time before and was the same, whatever its step; null: none.
  LaunchNode* find(Kernel kernel, const KernelArgs& args);
  LaunchNode* add(Kernel kernel, const KernelArgs& args);
  void remove(const LaunchNode* next);

  LaunchNode* before() const { return before_; }
  void run(Stream& stream) const { kernel_(args_, stream); }

  cudaGraphExec_t graph = nullptr;  // of the run; null: none yet
  bool has_no_graph = false;        // and never will

 private:
  bool is(Kernel kernel, const KernelArgs& args) const;

  LaunchNode* const before_ = nullptr;
  const Kernel kernel_ = nullptr;
  std::vector<TensorView> views_;  // that args_ points to
  KernelArgs args_;                // its step is -1: a kernel reads that on the device (stream.h)
  std::vector<std::unique_ptr<LaunchNode>> next_;
  size_t latest_ = 0;  // of next_: what is tried first
};

// The tree, and how far the present run has come in it.
class LaunchTree {
 public:
  // Of launches that are remembered; with more, all are forgotten.
  static constexpr size_t kMostNodes = 16384;

  LaunchTree() : root_(std::make_unique<LaunchNode>()), at_(root_.get()) {}

  // Where the run has come to; the root when it has not begun.
  LaunchNode& at() const { return *at_; }
  // The launches of the run, in order.
  std::vector<const LaunchNode*> path() const;
  size_t length() const { return length_; }

  // True when the launch is the next one on a path that is known, on which the run has been from its beginning.
  bool follow(Kernel kernel, const KernelArgs& args);
  // A launch that is not.
  LaunchNode& grow(Kernel kernel, const KernelArgs& args);
  // All of the run was known.
  bool is_known() const { return !has_grown_; }
  void end_run();
  // Ends it where a launch has failed, perhaps the last, which is not remembered.
  void abandon_run();
  // Not within a run.
  void forget();

 private:
  std::unique_ptr<LaunchNode> root_;
  LaunchNode* at_;
  size_t length_ = 0;
  bool has_grown_ = false;
  size_t nodes_ = 0;
};

}  // namespace troupe
