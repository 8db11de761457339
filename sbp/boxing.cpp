#include "sbp/boxing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/text.h"
#include "sbp/axis_links.h"
#include "sbp/boxing_step.h"

namespace troupe {
namespace {

// Picoseconds: sums of whole numbers tie exactly, whatever the order of the steps.
using Time = int64_t;
constexpr Time kNever = std::numeric_limits<Time>::max();

struct Path {
  Layout end;
  Time time = 0;
  std::vector<BoxingStep> steps;
  bool final = false;
};

std::string text_of(const std::vector<BoxingStep>& steps) {
  return join(steps, "; ", [](const BoxingStep& step) { return step.str(); });
}

// The cheaper one, then the one of fewer steps, then the one of smaller text.
bool is_better(Time time, const std::vector<BoxingStep>& steps, Time than_time,
               const std::vector<BoxingStep>& than_steps) {
  if (time != than_time) return time < than_time;
  if (steps.size() != than_steps.size()) return steps.size() < than_steps.size();
  return text_of(steps) < text_of(than_steps);
}

std::vector<BoxingStep> joined(std::vector<BoxingStep> steps, const BoxingStep& last) {
  steps.push_back(last);
  return steps;
}

// The SBPs that an axis may have on the way, per axis.
using Values = std::vector<std::vector<Sbp>>;

bool is_power_of_two(int n) { return (n & (n - 1)) == 0; }

class Search {
 public:
  Search(const Shape& shape, DType dtype, const Topology& topology, SumOrder order)
      : shape_(shape), dtype_(dtype), topology_(topology), order_(order), links_(topology) {}

  // One collective, when a single axis differs and is free to change alone.
  static std::optional<BoxingStep> one_step(const Layout& from, const Layout& to) {
    int changed = -1;
    for (int axis = 0; axis < from.mesh().axis_count(); ++axis) {
      if (from.sbp(axis) == to.sbp(axis)) continue;
      if (changed >= 0) return std::nullopt;
      changed = axis;
    }
    if (changed < 0) return std::nullopt;
    auto step = step_on_axis(from, changed, to.sbp(changed));
    if (!step || step->to != to || !can_pull(from, to)) return std::nullopt;
    return step;
  }

  std::vector<BoxingStep> on_one_mesh(const Layout& from, const Layout& to) {
    Values values;
    for (int axis = 0; axis < from.mesh().axis_count(); ++axis) {
      values.push_back({from.sbp(axis), to.sbp(axis), B});
    }
    const std::vector<Path> paths = paths_from(from, values, &to);
    CHECK(!paths.empty() && paths.back().end == to, from.str(), to.str());
    best_ = paths.back();
    // An exchange must be strictly cheaper than the collectives alone: those are the library's fastest ways.
    for (const Path& path : paths) try_exchange(path, {to, 0, {}, true});
    return best_.steps;
  }

  std::vector<BoxingStep> between_meshes(const Layout& from, const Layout& to) {
    // Before the exchange partial axes may be reduced, after it whole ones gathered, so that less has to
    // cross. To cut whole axes before it would gain nothing: an exchange chooses among all holders.
    Values values;
    for (int axis = 0; axis < from.mesh().axis_count(); ++axis) {
      values.push_back({from.sbp(axis)});
      if (!from.sbp(axis).is_partial()) continue;
      values.back().push_back(B);
      for (int dim : dims_to_cut(to)) values.back().push_back(S(dim));
    }
    const std::vector<Path> before = paths_from(from, values, nullptr);
    const std::vector<Path> after = paths_to(to);
    best_ = {to, kNever, {}, true};
    for (const Path& first : before) {
      for (const Path& rest : after) try_exchange(first, rest);
    }
    CHECK(best_.time != kNever, from.str(), to.str());
    return best_.steps;
  }

 private:
  Time time_of(const BoxingStep& step) { return std::llround(cost_of(step, shape_, dtype_, links_).seconds * 1e12); }

  // Of partial axes with different reductions the innermost is reduced first: that is what such a layout
  // means. Where all are sums, the outermost is added first (SumOrder::tree).
  bool may_reduce(const Layout& layout, int axis, const Layout* to) const {
    const Reduction reduction = layout.sbp(axis).reduction;
    bool mixed = false;
    bool later = false;  // an outer axis has yet to be added
    for (int other = 0; other < layout.mesh().axis_count(); ++other) {
      const Sbp sbp = layout.sbp(other);
      if (other == axis || !sbp.is_partial()) continue;
      if (sbp.reduction != reduction) {
        if (other > axis) return false;
        mixed = true;
      } else if (other < axis && (to == nullptr || to->sbp(other) != sbp)) {
        later = true;
      }
    }
    return !later || mixed || order_ == SumOrder::any || reduction != Reduction::sum;
  }

  // Dijkstra's algorithm over the layouts that single steps reach, in order of time, up to `to`.
  std::vector<Path> paths_from(const Layout& from, const Values& values, const Layout* to) {
    std::vector<Path> open = {{from, 0, {}, false}};
    std::vector<Path> done;
    while (!open.empty()) {
      const auto next = std::min_element(open.begin(), open.end(), [](const Path& a, const Path& b) {
        return is_better(a.time, a.steps, b.time, b.steps);
      });
      done.push_back(std::move(*next));
      open.erase(next);
      const Path path = done.back();
      if (to != nullptr && path.end == *to) return done;
      for (int axis = 0; axis < from.mesh().axis_count(); ++axis) {
        for (const Sbp& sbp : values[static_cast<size_t>(axis)]) {
          const auto step = step_on_axis(path.end, axis, sbp);
          if (!step || is_among(done, step->to)) continue;
          if (path.end.sbp(axis).is_partial() && !may_reduce(path.end, axis, to)) continue;
          offer(open, {step->to, path.time + time_of(*step), joined(path.steps, *step), false});
        }
      }
    }
    return done;
  }

  static bool is_among(const std::vector<Path>& paths, const Layout& end) {
    return std::any_of(paths.begin(), paths.end(), [&](const Path& path) { return path.end == end; });
  }

  static void offer(std::vector<Path>& open, Path path) {
    for (Path& known : open) {
      if (known.end != path.end) continue;
      if (is_better(path.time, path.steps, known.time, known.steps)) known = std::move(path);
      return;
    }
    open.push_back(std::move(path));
  }

  // Layouts from which gathering whole axes gives `to`, with the steps that do.
  std::vector<Path> paths_to(const Layout& to) {
    std::vector<Path> paths = {{to, 0, {}, false}};
    for (int axis = 0; axis < to.mesh().axis_count(); ++axis) {
      if (!to.sbp(axis).is_broadcast() || to.mesh().axis(axis).size == 1) continue;
      const size_t known = paths.size();
      for (size_t i = 0; i < known; ++i) {
        for (int dim : dims_to_cut(to)) {
          const Layout cut = paths[i].end.with(axis, S(dim));
          const auto step = step_on_axis(cut, axis, B);
          if (!step || step->to != paths[i].end) continue;
          std::vector<BoxingStep> steps = {*step};
          steps.insert(steps.end(), paths[i].steps.begin(), paths[i].steps.end());
          paths.push_back({cut, paths[i].time + time_of(*step), std::move(steps), false});
        }
      }
    }
    return paths;
  }

  // The largest dim, and those that the target splits.
  std::vector<int> dims_to_cut(const Layout& to) const {
    std::vector<int> dims;
    for (int dim = 0; dim < shape_.rank(); ++dim) {
      if (dims.empty() || shape_[dim] > shape_[dims[0]]) dims = {dim};
    }
    for (int dim = 0; dim < shape_.rank(); ++dim) {
      if (dim != dims[0] && !to.axes_on(dim).empty()) dims.push_back(dim);
    }
    return dims;
  }

  bool may_exchange(const Layout& from, const Layout& to) const {
    if (!can_pull(from, to)) return false;
    const PartialAxes axes = partial_axes(from, to);
    if (axes.reduced.empty()) return true;
    // Kinds of partial convert through B.
    if (!axes.made_by.empty() && axes.made_by != axes.reduced_by) return false;
    if (order_ == SumOrder::any || axes.reduced_by[0] != Reduction::sum) return true;
    // The tree over all members is one along each axis in turn only where whole axes fill its lower levels.
    return std::all_of(axes.reduced.begin(), axes.reduced.end() - 1,
                       [&](int axis) { return is_power_of_two(from.mesh().axis(axis).size); });
  }

  // No exchange is faster: what the first device lacks, over the fastest link.
  Time least_time(const Layout& from, const Layout& to) const {
    if (to.has_partial()) return 0;
    const Box out = to.box(shape_, 0);
    const int own = from.mesh().position_of(to.mesh().device(0));
    const int64_t held = own < 0 ? 0 : intersect(out, from.box(shape_, own)).elements();
    int64_t addends = 1;
    for (int axis : partial_axes(from, to).reduced) addends *= from.mesh().axis(axis).size;
    const int64_t lacking = addends * out.elements() - held;
    if (lacking == 0) return 0;
    const auto bytes = static_cast<double>(lacking * size_of(dtype_));
    const auto messages = static_cast<double>(std::max<int64_t>(addends - 1, 1));
    double seconds = std::numeric_limits<double>::max();
    for (size_t kind = 1; kind < kLinkKinds; ++kind) {
      const Link& link = topology_.links[kind];
      seconds = std::min(seconds, bytes / link.bytes_per_s + messages * link.latency_s);
    }
    return std::llround(seconds * 1e12);
  }

  // Keeps path `first`, an exchange and path `rest` when they are strictly better than the best so far. What
  // one collective does is never exchanged: a partial sum made whole is an all-reduce, however small.
  void try_exchange(const Path& first, const Path& rest) {
    if (first.end == rest.end || !may_exchange(first.end, rest.end)) return;
    if (first.end.mesh() == rest.end.mesh() && one_step(first.end, rest.end)) return;
    const Time others = first.time + rest.time;
    if (best_.time != kNever && others + least_time(first.end, rest.end) >= best_.time) return;
    const BoxingStep exchange{BoxingKind::exchange, -1, first.end, rest.end};
    const Time time = others + time_of(exchange);
    if (time >= best_.time) return;
    best_.time = time;
    best_.steps = joined(first.steps, exchange);
    best_.steps.insert(best_.steps.end(), rest.steps.begin(), rest.steps.end());
  }

  const Shape& shape_;
  const DType dtype_;
  const Topology& topology_;
  const SumOrder order_;
  AxisLinksCache links_;
  Path best_;
};

void refuse_misfit(const Layout& layout, const Shape& shape, DType dtype) {
  if (layout.fits(shape.rank())) return;
  const std::string type = type_text(dtype, shape);
  for (int axis = 0; axis < layout.mesh().axis_count(); ++axis) {
    const Sbp sbp = layout.sbp(axis);
    if (!sbp.is_split() || sbp.dim < shape.rank()) continue;
    std::string possible;
    for (int dim = 0; dim < shape.rank(); ++dim) possible += S(dim).str() + (dim + 1 < shape.rank() ? ", " : " or ");
    throw PlanError("layout " + layout.str() + " has " + sbp.str() + " on axis '" + layout.mesh().axis(axis).name +
                    "', but the tensor is " + type +
                    (shape.rank() == 0 ? " without dims" : " with dims 0.." + std::to_string(shape.rank() - 1)) + "; " +
                    possible + (shape.rank() == 0 ? "B is possible" : "B are possible"));
  }
}

}  // namespace

std::vector<BoxingStep> boxing(const Layout& from, const Layout& to, const Shape& shape, DType dtype,
                               const Topology& topology, SumOrder order) {
  refuse_misfit(from, shape, dtype);
  refuse_misfit(to, shape, dtype);
  if (same_parts(from, to, shape)) return {};
  // Axes of size 1 mean the same under every SBP; only the first and the last step say them as asked.
  const Layout start = without_trivial_axes(from);
  const Layout end = without_trivial_axes(to);
  const bool one_mesh = from.mesh() == to.mesh();
  if (one_mesh) {
    if (auto step = Search::one_step(start, end)) return {{step->kind, step->axis, from, to}};
  }
  refuse_unplaced(from.mesh(), topology);
  refuse_unplaced(to.mesh(), topology);
  Search search(shape, dtype, topology, order);
  std::vector<BoxingStep> steps = one_mesh ? search.on_one_mesh(start, end) : search.between_meshes(start, end);
  steps.front().from = from;
  steps.back().to = to;
  return steps;
}

}  // namespace troupe
