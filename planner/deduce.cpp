#include "planner/deduce.h"

#include <algorithm>
#include <span>

#include "planner/boxing_price.h"
#include "planner/min_sum.h"
#include "planner/op_seconds.h"
#include "planner/pins.h"
#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

// More than any plan's step takes, so that it decides first, and little enough that the rest still counts. Seconds.
constexpr double kAgainstPin = 1e3;

using ShapeOf = std::vector<Shape>;  // by value: what one device holds under the axes decided so far

void cut(Shape& shape, Sbp sbp, int parts) {
  if (sbp.is_split()) shape[sbp.dim] = part_of(shape[sbp.dim], parts, 0).size;
}

// Every split of the dims, and whole.
std::vector<Sbp> stored_forms(int rank) {
  std::vector<Sbp> forms = {B};
  for (int d = 0; d < rank; ++d) forms.push_back(S(d));
  return forms;
}

// The decision along one axis: one choice of signature per node, one of common form per value that needs one.
class AxisProblem {
 public:
  // `earlier`: the axes decided so far, in that order, as `so_far` has them.
  AxisProblem(const Program& program, const Choices& choices, const Profile& profile, const Demands& demands, int axis,
              std::span<const int> earlier, const Deduced& so_far, const ShapeOf& shapes)
      : program_(program),
        choices_(choices),
        profile_(profile),
        demands_(demands),
        axis_(axis),
        parts_(choices.mesh.axis(axis).size),
        earlier_(earlier),
        so_far_(so_far),
        shapes_(shapes),
        prices_(group_mesh(choices.mesh, axis), choices.topology, profile),
        data_axis_(choices.is_data_axis(axis)),
        apart_(program.keeps_pieces_apart(choices)) {}

  void solve(Deduced& result) {
    for (size_t n = 0; n < program_.nodes.size(); ++n) add_node(NodeId(static_cast<int64_t>(n)));
    count_readers();
    for (size_t v = 0; v < program_.values.size(); ++v) add_common(ValueId(static_cast<int64_t>(v)));
    for (size_t n = 0; n < program_.nodes.size(); ++n) add_edges(NodeId(static_cast<int64_t>(n)));
    const std::vector<int> assignment = problem_.solve();
    if (problem_.cost(assignment) >= kImpossible) explain(assignment);
    for (size_t n = 0; n < program_.nodes.size(); ++n) {
      result.signatures[n].push_back(candidates_[n][static_cast<size_t>(assignment[n])]);
    }
    for (size_t v = 0; v < program_.values.size(); ++v) {
      if (common_variable_[v] >= 0) {
        result.common[v].push_back(
            common_forms_[v][static_cast<size_t>(assignment[static_cast<size_t>(common_variable_[v])])]);
      } else {
        const ProgramValue& value = program_.values[v];
        const ProgramNode& node = program_.node(value.producer);
        const size_t output =
            static_cast<size_t>(std::find(node.outputs.begin(), node.outputs.end(), ValueId(static_cast<int64_t>(v))) -
                                node.outputs.begin());
        result.common[v].push_back(result.signatures[value.producer.index()].back().outputs[output]);
      }
    }
  }

 private:
  static Mesh group_mesh(const Mesh& mesh, int axis) {
    std::vector<DeviceId> devices;
    for (int position : mesh.group(0, axis)) devices.push_back(mesh.device(position));
    return Mesh({mesh.axis(axis)}, devices);
  }

  const TensorType& type(ValueId value) const { return program_.value(value).type; }
  // As on one data-parallel device: what is decided here decides the order of sums, and so the last bits, which must
  // not depend on the number of those devices.
  double firings(Rate rate) const {
    return rate == Rate::piece ? choices_.batch_shards * choices_.pieces_per_shard : 1;
  }

  // Into how many parts a dim of an operand may be cut, at most, by this axis and earlier ones.
  int parts_together(NodeId id, bool with_data_axes) const {
    int most = parts_;
    for (size_t i = 0; i < program_.node(id).inputs.size(); ++i) {
      int parts = parts_;
      for (size_t a = 0; a < earlier_.size(); ++a) {
        const bool splits = so_far_.signatures[id.index()][a].inputs[i].is_split();
        const bool counts = with_data_axes || !choices_.is_data_axis(earlier_[a]);
        if (splits && counts) parts *= choices_.mesh.axis(earlier_[a]).size;
      }
      most = std::max(most, parts);
    }
    return most;
  }

  // Whether an operand's split would be of a dim that a data axis has split already.
  bool cuts_batch(NodeId id, const Signature& signature) const {
    for (size_t a = 0; a < earlier_.size(); ++a) {
      if (!choices_.is_data_axis(earlier_[a])) continue;
      const std::vector<Sbp>& before = so_far_.signatures[id.index()][a].inputs;
      for (size_t i = 0; i < before.size(); ++i) {
        if (before[i].is_split() && signature.inputs[i].is_split_on(before[i].dim)) return true;
      }
    }
    return false;
  }

  std::vector<Signature> all_signatures(NodeId id) const {
    const ProgramNode& node = program_.node(id);
    switch (node.kind) {
      case NodeKind::variable:
      case NodeKind::source: {
        std::vector<Signature> list;
        for (Sbp form : stored_forms(type(node.outputs.front()).shape.rank())) list.push_back({{}, {form}});
        return list;
      }
      case NodeKind::fetch: {
        std::vector<Signature> list;
        for (Sbp form : stored_forms(type(node.inputs.front()).shape.rank())) list.push_back({{form}, {form}});
        return list;
      }
      default: {
        const std::vector<TensorType> types = program_.input_types(node);
        // A dim that several axes split must be cut evenly by all of them together where an op asks for it. Data axes
        // cut the batch, or parameters that are gathered, and no other dim.
        const OpArgs args{types, node.attrs};
        std::vector<Signature> list = signatures_of(*node.op, args, parts_together(id, true));
        for (Signature& signature : signatures_of(*node.op, args, parts_together(id, false))) {
          if (!cuts_batch(id, signature) && std::find(list.begin(), list.end(), signature) == list.end()) {
            list.push_back(std::move(signature));
          }
        }
        return list;
      }
    }
  }

  bool allowed(const ProgramNode& node, const Signature& signature) const {
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const std::optional<Sbp> demand = demands_.of(node.outputs[i], axis_);
      const bool stored = node.kind == NodeKind::variable || node.kind == NodeKind::source;
      const Pin* pin = demands_.pin_of(node.outputs[i], axis_);
      const bool exact = stored || (pin != nullptr && pin->made);
      if (exact && demand && signature.outputs[i] != *demand) return false;
    }
    if (node.op != nullptr && node.kind == NodeKind::compute) {
      for (const auto& [output, input] : node.op->updates) {
        if (static_cast<size_t>(output) >= node.outputs.size()) continue;  // an optional operand that is absent
        if (signature.outputs[static_cast<size_t>(output)] != signature.inputs[static_cast<size_t>(input)]) {
          return false;
        }
      }
    }
    // A variable's state is not cut into more parts than it has rows: parts may be empty, but only where asked for.
    if (node.kind == NodeKind::variable) {
      const Sbp form = signature.outputs.front();
      if (form.is_split() && type(node.outputs.front()).shape[form.dim] < parts_) {
        return demands_.of(node.outputs.front(), axis_).has_value();
      }
    }
    // Once per step, no sum is left to be made along a data axis but those of accumulators, which come first: else its
    // order, and with it the last bit, would depend on the number of devices.
    if (node.kind == NodeKind::compute && node.rate == Rate::step && data_axis_ && parts_ > 1) {
      const auto is_sum = [](Sbp sbp) { return sbp.is_partial_sum(); };
      if (std::any_of(signature.inputs.begin(), signature.inputs.end(), is_sum) ||
          std::any_of(signature.outputs.begin(), signature.outputs.end(), is_sum)) {
        return false;
      }
    }
    // Devices along a data axis have different pieces: their totals are parts of one sum, never copies of it.
    if (node.kind == NodeKind::accumulate && data_axis_ && parts_ > 1) return signature.inputs.front().is_partial_sum();
    return true;
  }

  void add_node(NodeId id) {
    const ProgramNode& node = program_.node(id);
    std::vector<Signature> list;
    for (Signature& signature : all_signatures(id)) {
      if (allowed(node, signature)) list.push_back(std::move(signature));
    }
    CHECK(!list.empty(), node.text());
    std::vector<double> unary;
    for (const Signature& signature : list) unary.push_back(compute_seconds(node, signature));
    candidates_.push_back(std::move(list));
    problem_.add_variable(std::move(unary));
  }

  // Time of one step's firings on one device.
  double compute_seconds(const ProgramNode& node, const Signature& signature) const {
    double bytes = 0;
    std::vector<TensorType> local = program_.input_types(node);
    for (size_t i = 0; i < local.size(); ++i) {
      local[i].shape = shapes_[node.inputs[i].index()];
      cut(local[i].shape, signature.inputs[i], parts_);
      bytes += static_cast<double>(local[i].shape.elements() * size_of(local[i].dtype));
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      Shape shape = shapes_[node.outputs[i].index()];
      cut(shape, signature.outputs[i], parts_);
      bytes += static_cast<double>(shape.elements() * size_of(type(node.outputs[i]).dtype));
    }
    // Variables cost no time by themselves, but of two equal plans the one that stores less is better.
    if (node.kind == NodeKind::variable) return 1e-3 * bytes / profile_.memory_bytes_per_s;
    // On the last device: there a causal mask hides the least.
    std::vector<Place> places;
    for (size_t i = 0; i < local.size(); ++i) {
      const Shape& logical = type(node.inputs[i]).shape;
      places.push_back({logical, logical});
      for (int d = 0; d < logical.rank(); ++d) places.back().offset[d] -= local[i].shape[d];
    }
    return op_seconds(*node.op, {local, node.attrs, places}, bytes, profile_) * firings(node.rate);
  }

  void count_readers() {
    readers_.assign(program_.values.size(), 0);
    for (const ProgramNode& node : program_.nodes) {
      for (ValueId input : node.inputs) ++readers_[input.index()];
    }
  }

  void add_common(ValueId value) {
    common_variable_.push_back(-1);
    common_forms_.emplace_back();
    const ProgramNode& producer = program_.node(program_.value(value).producer);
    const bool stored = producer.kind == NodeKind::variable || producer.kind == NodeKind::source;
    const std::optional<Sbp> demand = stored ? std::nullopt : demands_.of(value, axis_);
    if (!demand && readers_[value.index()] < 2) return;
    std::vector<Sbp>& forms = common_forms_.back();
    if (demand) {
      forms = {*demand};
    } else {
      forms = stored_forms(type(value).shape.rank());
      const size_t output = static_cast<size_t>(std::find(producer.outputs.begin(), producer.outputs.end(), value) -
                                                producer.outputs.begin());
      for (const Signature& signature : candidates_[program_.value(value).producer.index()]) {
        const Sbp form = signature.outputs[output];
        if (std::find(forms.begin(), forms.end(), form) == forms.end()) forms.push_back(form);
      }
    }
    const int common = problem_.add_variable(std::vector<double>(forms.size(), 0));
    common_variable_.back() = common;
    const size_t output = static_cast<size_t>(std::find(producer.outputs.begin(), producer.outputs.end(), value) -
                                              producer.outputs.begin());
    std::vector<double> table;
    for (const Signature& signature : candidates_[program_.value(value).producer.index()]) {
      const Sbp made = signature.outputs[output];
      for (Sbp form : forms) table.push_back(price(value, made, form) + off_positions(value, made, form, nullptr));
    }
    problem_.add_pair(static_cast<int>(program_.value(value).producer.index()), common, std::move(table));
  }

  void add_edges(NodeId id) {
    const ProgramNode& node = program_.node(id);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId value = node.inputs[i];
      const ProgramNode& producer = program_.node(program_.value(value).producer);
      const size_t from = program_.value(value).producer.index();
      const bool in_place = overwrites(node, static_cast<int>(i));
      std::vector<double> table;
      if (common_variable_[value.index()] >= 0 && !in_place) {
        for (Sbp form : common_forms_[value.index()]) {
          for (const Signature& to : candidates_[id.index()]) {
            table.push_back(price(value, form, to.inputs[i]) + reluctance(id, i, to) +
                            off_positions(value, form, to.inputs[i], &node));
          }
        }
        problem_.add_pair(common_variable_[value.index()], static_cast<int>(id.index()), std::move(table));
        continue;
      }
      const size_t output = static_cast<size_t>(std::find(producer.outputs.begin(), producer.outputs.end(), value) -
                                                producer.outputs.begin());
      for (const Signature& left : candidates_[from]) {
        for (const Signature& to : candidates_[id.index()]) {
          // A sum over other axes is made after that over pieces, so that more rounds are no other order.
          const bool as_it_is =
              in_place || (node.kind == NodeKind::accumulate && left.outputs[output].is_partial_sum() && parts_ > 1);
          const bool same = left.outputs[output] == to.inputs[i];
          const Sbp made = left.outputs[output];
          table.push_back(as_it_is && !same ? kImpossible
                                            : price(value, made, to.inputs[i]) + reluctance(id, i, to) +
                                                  off_positions(value, made, to.inputs[i], &node));
        }
      }
      problem_.add_pair(static_cast<int>(from), static_cast<int>(id.index()), std::move(table));
    }
  }

  static bool overwrites(const ProgramNode& node, int input) {
    if (node.kind != NodeKind::compute) return false;
    return std::any_of(node.op->updates.begin(), node.op->updates.end(),
                       [&](const auto& update) { return update.second == input; });
  }

  // A parameter that the user splits along an axis without data is split to share out the work: an op that can work on
  // the parts does. (Along a data axis it is split to be stored, and gathered to be used.)
  double reluctance(NodeId reader, size_t input, const Signature& signature) const {
    const ValueId value = program_.node(reader).inputs[input];
    if (data_axis_ || program_.node(program_.value(value).producer).kind != NodeKind::variable) return 0;
    const Pin* pin = demands_.pin_of(value, axis_);
    if (pin == nullptr || !pin->sbp.is_split() || signature.inputs[input] == pin->sbp) return 0;
    const std::vector<Signature>& all = candidates_[reader.index()];
    const bool possible =
        std::any_of(all.begin(), all.end(), [&](const Signature& other) { return other.inputs[input] == pin->sbp; });
    return possible ? kAgainstPin : 0;
  }

  // Along the axis that splits the sequence every device keeps to its own positions, however little the others' would
  // be to fetch: only what couples positions needs those.
  double off_positions(ValueId value, Sbp from, Sbp to, const ProgramNode* reader) const {
    if (choices_.mesh.axis(axis_).name != choices_.sequence_axis || program_.value(value).rate != Rate::piece) return 0;
    const bool keeps = to.is_split() && to.dim == from.dim;
    const bool couples = reader != nullptr && reader->op->split_sequence != nullptr;
    return from.is_split() && !keeps && !couples ? kAgainstPin : 0;
  }

  double price(ValueId value, Sbp from, Sbp to) {
    if (from == to || parts_ == 1) return 0;  // one device holds the same in every form
    const ProgramValue& v = program_.value(value);
    if (data_axis_ && apart_ && to == P) return from == B ? profile_.firing_s : kImpossible;
    if (data_axis_ && apart_ && v.rate == Rate::piece) return kImpossible;
    return prices_.seconds(from, to, shapes_[value.index()], v.type.dtype) * firings(v.rate);
  }

  // Names the first edge that cannot be bridged.
  [[noreturn]] void explain(const std::vector<int>& assignment) {
    const std::string& axis = choices_.mesh.axis(axis_).name;
    for (size_t n = 0; n < program_.nodes.size(); ++n) {
      const ProgramNode& node = program_.nodes[n];
      const Signature& signature = candidates_[n][static_cast<size_t>(assignment[n])];
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const ValueId value = node.inputs[i];
        const ProgramNode& producer = program_.node(program_.value(value).producer);
        const size_t output = static_cast<size_t>(std::find(producer.outputs.begin(), producer.outputs.end(), value) -
                                                  producer.outputs.begin());
        Sbp from = candidates_[program_.value(value).producer.index()]
                              [static_cast<size_t>(assignment[program_.value(value).producer.index()])]
                                  .outputs[output];
        const int common = common_variable_[value.index()];
        const Sbp produced = from;
        if (common >= 0 && !overwrites(node, static_cast<int>(i))) {
          from = common_forms_[value.index()][static_cast<size_t>(assignment[static_cast<size_t>(common)])];
        }
        const bool broken = (overwrites(node, static_cast<int>(i)) && from != signature.inputs[i]) ||
                            price(value, produced, from) >= kImpossible ||
                            price(value, from, signature.inputs[i]) >= kImpossible;
        if (!broken) continue;
        throw PlanError(node.op->name, node.path,
                        program_.value(value).name + " is " + type(value).str() + " " + produced.str() +
                            " along the data axis '" + axis + "', but the op would need it as " +
                            signature.inputs[i].str() +
                            ": it couples samples of different pieces; per-sample ops, or one piece, are possible",
                        node.line);
      }
    }
    CHECK(false, "an impossible assignment without a broken edge");
    std::abort();
  }

  const Program& program_;
  const Choices& choices_;
  const Profile& profile_;
  const Demands& demands_;
  int axis_;
  int parts_;
  std::span<const int> earlier_;
  const Deduced& so_far_;
  const ShapeOf& shapes_;
  BoxingPrices prices_;
  bool data_axis_;
  bool apart_;  // pieces are
  MinSum problem_;
  std::vector<std::vector<Signature>> candidates_;  // by node
  std::vector<int> readers_;                        // by value
  std::vector<int> common_variable_;                // by value; -1: none
  std::vector<std::vector<Sbp>> common_forms_;      // by value
};

}  // namespace

Deduced deduce(const Program& program, const Choices& choices, const Profile& profile) {
  const Demands demands(program, choices);
  Deduced result;
  result.signatures.resize(program.nodes.size());
  result.common.resize(program.values.size());
  ShapeOf shapes;
  for (const ProgramValue& value : program.values) shapes.push_back(value.type.shape);
  const std::vector<int> order = axis_order(choices);
  for (size_t i = 0; i < order.size(); ++i) {
    const std::span<const int> earlier(order.data(), i);
    AxisProblem(program, choices, profile, demands, order[i], earlier, result, shapes).solve(result);
    for (size_t v = 0; v < program.values.size(); ++v) {
      cut(shapes[v], result.common[v].back(), choices.mesh.axis(order[i]).size);
    }
  }
  // Decided in `order`; kept in mesh order.
  const auto restore = [&](auto& by_axis) {
    auto sorted = by_axis;
    for (size_t i = 0; i < order.size(); ++i) sorted[static_cast<size_t>(order[i])] = by_axis[i];
    by_axis = sorted;
  };
  for (auto& signatures : result.signatures) restore(signatures);
  for (auto& common : result.common) restore(common);
  return result;
}

}  // namespace troupe
