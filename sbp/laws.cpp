#include "sbp/laws.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/random.h"
#include "runtime/base/text.h"
#include "sbp/layout.h"

namespace troupe {
namespace {

double random_value(const LawInput& input, Random& random) {
  if (input.integers_below > 0) return static_cast<double>(random.below(input.integers_below));
  double value = 0;
  do {
    value = input.low + (input.high - input.low) * random.uniform();
  } while (std::abs(value) < input.least);
  return value;
}

// Numbers that reduce to the value, one per device, each in the input's range where that is possible.
std::vector<double> partial_values(double value, const LawInput& input, Reduction reduction, int devices,
                                   Random& random) {
  std::vector<double> parts(static_cast<size_t>(devices));
  if (reduction != Reduction::sum) {
    const double room = reduction == Reduction::max ? input.low - value : input.high - value;
    for (double& part : parts) part = value + room * random.uniform();
    parts[static_cast<size_t>(random.below(devices))] = value;
    return parts;
  }
  double sum = 0;
  for (double& part : parts) {
    part = input.low >= 0 ? 0.1 + random.uniform() : random_value(input, random);
    sum += part;
  }
  if (input.low >= 0) {
    for (double& part : parts) part *= value / sum;
  } else {
    parts[0] += value - sum;
  }
  return parts;
}

// Calls fn(place in the whole tensor) for every element of the box in row-major order.
template <class Fn>
void for_each_place(const Shape& shape, const Box& box, Fn&& fn) {
  const Dims strides = strides_of(shape);
  for (int64_t i = 0; i < box.elements(); ++i) {
    int64_t rest = i;
    int64_t place = 0;
    for (int dim = shape.rank() - 1; dim >= 0; --dim) {
      place += (box.offset[dim] + rest % box.extent[dim]) * strides[dim];
      rest /= box.extent[dim];
    }
    fn(static_cast<size_t>(place));
  }
}

double neutral_of(Reduction reduction) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  return reduction == Reduction::sum ? 0 : reduction == Reduction::max ? -infinity : infinity;
}

// One case with one set of random inputs: knows what the outputs must be and tries signatures on it.
class Trial {
 public:
  Trial(const LawOp& op, const LawCase& shapes, const LawOptions& options, uint64_t seed)
      : op_(op), case_(shapes), options_(options), seed_(seed), mesh_({{"x", options.devices}}) {
    Random random(seed);
    for (const LawInput& input : shapes.inputs) {
      LawTensor tensor = whole(input.shape);
      for (double& value : tensor.data) value = random_value(input, random);
      inputs_.push_back(std::move(tensor));
    }
    for (const Shape& shape : shapes.outputs) expected_.push_back(whole(shape));
    if (!op_(inputs_, expected_)) throw PlanError("the op does not run on whole tensors: " + case_text());
  }

  // Runs the op on every device's parts. False, and why, when it cannot run on one of them.
  bool run(const std::vector<Sbp>& inputs, const std::vector<Sbp>& outputs, std::string& why) {
    const auto count = static_cast<size_t>(options_.devices);
    std::vector<std::vector<LawTensor>> parts(count);
    for (size_t i = 0; i < inputs.size(); ++i) add_parts(i, inputs[i], parts);
    made_.assign(count, {});
    for (size_t device = 0; device < count; ++device) {
      for (size_t i = 0; i < outputs.size(); ++i) made_[device].push_back(part_of_output(i, outputs[i], device));
      if (!op_(parts[device], made_[device])) {
        why = case_text() + ": the op cannot run on the parts of device " + std::to_string(device);
        return false;
      }
    }
    return true;
  }

  // Whether what the devices made is the output under this SBP.
  bool holds(size_t output, Sbp sbp, std::string& why) const {
    const LawTensor& expected = expected_[output];
    if (sbp.is_partial()) {
      std::vector<double> sum(expected.data.size(), neutral_of(sbp.reduction));
      for (const auto& outputs : made_) {
        for (size_t i = 0; i < sum.size(); ++i) {
          const double part = outputs[output].data[i];
          sum[i] = sbp.reduction == Reduction::sum   ? sum[i] + part
                   : sbp.reduction == Reduction::max ? std::max(sum[i], part)
                                                     : std::min(sum[i], part);
        }
      }
      return is_expected(output, expected.box, sum, why);
    }
    return std::all_of(made_.begin(), made_.end(), [&](const std::vector<LawTensor>& outputs) {
      return is_expected(output, outputs[output].box, outputs[output].data, why);
    });
  }

 private:
  static LawTensor whole(const Shape& shape) {
    return {shape, Box::whole(shape), std::vector<double>(static_cast<size_t>(shape.elements()))};
  }

  Box box_of(const Shape& shape, Sbp sbp, size_t device) const {
    return Layout(mesh_, {sbp}).box(shape, static_cast<int>(device));
  }

  LawTensor part_of_output(size_t output, Sbp sbp, size_t device) const {
    const Shape& shape = case_.outputs[output];
    const Box box = box_of(shape, sbp, device);
    return {shape, box, std::vector<double>(static_cast<size_t>(box.elements()))};
  }

  void add_parts(size_t input, Sbp sbp, std::vector<std::vector<LawTensor>>& parts) const {
    const LawTensor& tensor = inputs_[input];
    std::vector<std::vector<double>> values(parts.size(), tensor.data);
    if (sbp.is_partial()) {
      Random random(mix64(seed_, 1000 + input));
      for (size_t i = 0; i < tensor.data.size(); ++i) {
        const std::vector<double> shares =
            partial_values(tensor.data[i], case_.inputs[input], sbp.reduction, options_.devices, random);
        for (size_t device = 0; device < parts.size(); ++device) values[device][i] = shares[device];
      }
    }
    for (size_t device = 0; device < parts.size(); ++device) {
      LawTensor part{tensor.logical, box_of(tensor.logical, sbp, device), {}};
      for_each_place(tensor.logical, part.box, [&](size_t place) { part.data.push_back(values[device][place]); });
      parts[device].push_back(std::move(part));
    }
  }

  bool is_expected(size_t output, const Box& box, const std::vector<double>& values, std::string& why) const {
    const LawTensor& expected = expected_[output];
    if (static_cast<int64_t>(values.size()) != box.elements()) {
      why = case_text() + ": the op changed the size of output " + std::to_string(output);
      return false;
    }
    size_t next = 0;
    bool same = true;
    for_each_place(expected.logical, box, [&](size_t place) {
      const double value = values[next++];
      const double right = expected.data[place];
      const bool close =
          value == right || std::abs(value - right) <= options_.tolerance * std::max(1.0, std::abs(right));
      if (same && !close) {
        why = case_text() + ": element " + std::to_string(place) + " of output " + std::to_string(output) + " is " +
              number_text(value) + ", not " + number_text(right);
      }
      same = same && close;
    });
    return same;
  }

  std::string case_text() const {
    return "inputs " + join(case_.inputs, ", ", [](const LawInput& input) { return "[" + input.shape.str() + "]"; }) +
           " over " + std::to_string(options_.devices) + " devices";
  }

  const LawOp& op_;
  const LawCase& case_;
  const LawOptions& options_;
  const uint64_t seed_;
  const Mesh mesh_;
  std::vector<LawTensor> inputs_;
  std::vector<LawTensor> expected_;
  std::vector<std::vector<LawTensor>> made_;  // by device
};

bool holds_in(Trial& trial, const Signature& signature, std::string& why) {
  if (!trial.run(signature.inputs, signature.outputs, why)) return false;
  for (size_t i = 0; i < signature.outputs.size(); ++i) {
    if (!trial.holds(i, signature.outputs[i], why)) return false;
  }
  return true;
}

std::vector<Sbp> splits_of(const Shape& shape) {
  std::vector<Sbp> choices;
  for (int dim = 0; dim < shape.rank(); ++dim) choices.push_back(S(dim));
  choices.push_back(B);
  return choices;
}

std::vector<Sbp> partials(const LawOptions& options) {
  if (!options.max_and_min) return {P};
  return {P, P_of(Reduction::max), P_of(Reduction::min)};
}

// Every way to choose one from each list, the last list fastest.
std::vector<std::vector<Sbp>> product_of(const std::vector<std::vector<Sbp>>& lists) {
  std::vector<std::vector<Sbp>> all = {{}};
  for (const std::vector<Sbp>& list : lists) {
    std::vector<std::vector<Sbp>> longer;
    for (const std::vector<Sbp>& chosen : all) {
      for (const Sbp& sbp : list) {
        longer.push_back(chosen);
        longer.back().push_back(sbp);
      }
    }
    all = std::move(longer);
  }
  return all;
}

// All signatures that hold in one trial. The op runs once per choice of inputs and of which outputs are
// split; whether an output that is not split is whole or partial is then read off.
std::vector<Signature> signatures_in(Trial& trial, const LawCase& shapes, const LawOptions& options) {
  std::vector<std::vector<Sbp>> input_choices, output_splits;
  for (const LawInput& input : shapes.inputs) {
    input_choices.push_back(splits_of(input.shape));
    if (input.integers_below > 0) continue;
    for (const Sbp& sbp : partials(options)) input_choices.back().push_back(sbp);
  }
  for (const Shape& output : shapes.outputs) output_splits.push_back(splits_of(output));
  std::vector<Signature> found;
  std::string why;
  for (const std::vector<Sbp>& inputs : product_of(input_choices)) {
    for (const std::vector<Sbp>& splits : product_of(output_splits)) {
      if (!trial.run(inputs, splits, why)) continue;
      std::vector<std::vector<Sbp>> outputs;
      for (size_t i = 0; i < splits.size(); ++i) {
        std::vector<Sbp> choices = {splits[i]};
        if (splits[i].is_broadcast()) {
          for (const Sbp& sbp : partials(options)) choices.push_back(sbp);
        }
        std::erase_if(choices, [&](const Sbp& sbp) { return !trial.holds(i, sbp, why); });
        outputs.push_back(std::move(choices));
      }
      for (const std::vector<Sbp>& chosen : product_of(outputs)) found.push_back({inputs, chosen});
    }
  }
  return found;
}

bool contains(const std::vector<Signature>& signatures, const Signature& signature) {
  return std::find(signatures.begin(), signatures.end(), signature) != signatures.end();
}

// A whole output is also its own maximum and minimum over the devices.
bool is_implied(const Signature& signature, const std::vector<Signature>& valid) {
  for (size_t i = 0; i < signature.outputs.size(); ++i) {
    if (!signature.outputs[i].is_partial() || signature.outputs[i].is_partial_sum()) continue;
    Signature with_whole = signature;
    with_whole.outputs[i] = B;
    if (contains(valid, with_whole)) return true;
  }
  return false;
}

// Empty, or why a claim cannot be tried on this case.
std::string why_not_tried(const Signature& claim, const LawCase& shapes) {
  if (claim.inputs.size() != shapes.inputs.size() || claim.outputs.size() != shapes.outputs.size()) {
    return "the op has " + std::to_string(shapes.inputs.size()) + " inputs and " +
           std::to_string(shapes.outputs.size()) + " outputs";
  }
  const auto has_dim = [](Sbp sbp, const Shape& shape) { return !sbp.is_split() || sbp.dim < shape.rank(); };
  for (size_t i = 0; i < claim.inputs.size(); ++i) {
    if (!has_dim(claim.inputs[i], shapes.inputs[i].shape)) return "input " + std::to_string(i) + " lacks the dim";
    if (claim.inputs[i].is_partial() && shapes.inputs[i].integers_below > 0) return "indices cannot be partial";
  }
  for (size_t i = 0; i < claim.outputs.size(); ++i) {
    if (!has_dim(claim.outputs[i], shapes.outputs[i])) return "output " + std::to_string(i) + " lacks the dim";
  }
  return "";
}

}  // namespace

std::string LawReport::str() const {
  std::string text;
  for (const Wrong& w : wrong) text += "claimed but wrong: " + w.signature.str() + " (" + w.why + ")\n";
  for (const Signature& signature : unclaimed) text += "valid but not claimed: " + signature.str() + "\n";
  return text;
}

LawReport check_laws(const LawOp& op, const std::vector<Signature>& claimed, const std::vector<LawCase>& cases,
                     const LawOptions& options) {
  CHECK(!cases.empty() && options.repeats > 0);
  LawReport report;
  std::vector<Signature> tried = claimed;
  for (size_t n = 0; n < cases.size(); ++n) {
    for (int repeat = 0; repeat < options.repeats; ++repeat) {
      Trial trial(op, cases[n], options, mix64(options.seed, n * 1000 + static_cast<uint64_t>(repeat)));
      std::string why;
      std::erase_if(tried, [&](const Signature& claim) {
        why = why_not_tried(claim, cases[n]);
        if (why.empty() && holds_in(trial, claim, why)) return false;
        report.wrong.push_back({claim, why});
        return true;
      });
      if (n == 0 && repeat == 0) {
        report.valid = signatures_in(trial, cases[n], options);
      } else {
        std::erase_if(report.valid, [&](const Signature& s) { return !holds_in(trial, s, why); });
      }
    }
  }
  for (const Signature& signature : report.valid) {
    if (!contains(claimed, signature) && !is_implied(signature, report.valid)) report.unclaimed.push_back(signature);
  }
  return report;
}

}  // namespace troupe
