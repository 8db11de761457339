#include "runtime/device/cuda/launch_tree.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace troupe {
namespace {

bool is_same(const TensorView& a, const TensorView& b) {
  return a.data == b.data && a.dtype == b.dtype && a.shape == b.shape && a.offset == b.offset && a.logical == b.logical;
}

}  // namespace

LaunchNode::LaunchNode(LaunchNode* before, Kernel kernel, const KernelArgs& args)
    : before_(before), kernel_(kernel), args_(args) {
  views_.reserve(args.inputs.size() + args.outputs.size());
  views_.insert(views_.end(), args.inputs.begin(), args.inputs.end());
  views_.insert(views_.end(), args.outputs.begin(), args.outputs.end());
  args_.inputs = std::span<const TensorView>(views_).first(args.inputs.size());
  args_.outputs = std::span<const TensorView>(views_).subspan(args.inputs.size());
  args_.firing.step = -1;
}

// A graph that runs is freed when it has.
LaunchNode::~LaunchNode() {
  if (graph == nullptr) return;
  cudaGraphExecDestroy(graph);
  cudaGetLastError();  // of a device that has failed
}

bool LaunchNode::is(Kernel kernel, const KernelArgs& args) const {
  const Firing& firing = args.firing;
  return kernel == kernel_ && args.task == args_.task && args.attrs == args_.attrs && args.key == args_.key &&
         firing.shard == args_.firing.shard && firing.piece == args_.firing.piece &&
         firing.round == args_.firing.round && firing.seed == args_.firing.seed && args.report == args_.report &&
         args.failure == args_.failure && args.scratch.data() == args_.scratch.data() &&
         args.scratch.size() == args_.scratch.size() && std::ranges::equal(args.inputs, args_.inputs, is_same) &&
         std::ranges::equal(args.outputs, args_.outputs, is_same);
}

LaunchNode* LaunchNode::find(Kernel kernel, const KernelArgs& args) {
  if (latest_ < next_.size() && next_[latest_]->is(kernel, args)) return next_[latest_].get();
  for (size_t i = 0; i < next_.size(); ++i) {
    if (!next_[i]->is(kernel, args)) continue;
    latest_ = i;
    return next_[i].get();
  }
  return nullptr;
}

LaunchNode* LaunchNode::add(Kernel kernel, const KernelArgs& args) {
  latest_ = next_.size();
  next_.push_back(std::make_unique<LaunchNode>(this, kernel, args));
  return next_.back().get();
}

void LaunchNode::remove(const LaunchNode* next) {
  std::erase_if(next_, [&](const auto& node) { return node.get() == next; });
}

std::vector<const LaunchNode*> LaunchTree::path() const {
  std::vector<const LaunchNode*> path(length_);
  const LaunchNode* node = at_;
  for (size_t i = length_; i-- > 0; node = node->before()) path[i] = node;
  return path;
}

bool LaunchTree::follow(Kernel kernel, const KernelArgs& args) {
  LaunchNode* next = at_->find(kernel, args);  // none after one that has just been added
  if (next == nullptr) return false;
  at_ = next;
  ++length_;
  return true;
}

LaunchNode& LaunchTree::grow(Kernel kernel, const KernelArgs& args) {
  at_ = at_->add(kernel, args);
  has_grown_ = true;
  ++length_;
  ++nodes_;
  return *at_;
}

void LaunchTree::end_run() {
  at_ = root_.get();
  length_ = 0;
  has_grown_ = false;
  if (nodes_ > kMostNodes) forget();
}

void LaunchTree::abandon_run() {
  if (length_ > 0) at_->before()->remove(at_);
  end_run();
}

void LaunchTree::forget() {
  CHECK(length_ == 0, "within a run", length_);
  root_ = std::make_unique<LaunchNode>();
  at_ = root_.get();
  nodes_ = 0;
}

}  // namespace troupe
