#include "ops/labels.h"

#include "ops/dispatch.h"
#include "ops/infer.h"

namespace troupe {

int64_t ignore_index(const Attrs& attrs) { return attrs.integer("ignore_index", -100); }

void expect_logits_and_labels(const OpArgs& args) {
  expect_operands(args, 2);
  expect_float(args, 0, "logits");
  expect_rank(args, 0, "logits", 1);
  expect_ids(args, 1, "labels");
  expect_shape(args, 1, "labels", rows_of(args.shape(0)), "one per row, and " + operand_text(args, 0, "logits"));
}

namespace {

std::string label_text(const KernelArgs& args, int64_t label, int64_t index) {
  return "label " + element_text(label, index, args.inputs[1]) + " is outside 0.." +
         std::to_string(args.inputs[0].logical.back() - 1) +
         " and is not ignore_index=" + std::to_string(ignore_index(*args.attrs));
}

}  // namespace

std::string explain_label(const KernelArgs& args, const KernelReport& report) {
  return label_text(args, report.value, report.element);
}

bool labels_are_valid(const KernelArgs& args) {
  const TensorView& labels = args.inputs[1];
  const int64_t classes = args.inputs[0].logical.back();
  const int64_t ignored = ignore_index(*args.attrs);
  with_id(labels.dtype, [&](auto zero) {
    const auto* label = labels.as<decltype(zero)>();
    for (int64_t i = 0; i < labels.elements() && args.failure->empty(); ++i) {
      if (label[i] == ignored || (label[i] >= 0 && label[i] < classes)) continue;
      *args.failure = label_text(args, label[i], i);
    }
  });
  return args.failure->empty();
}

std::string element_text(int64_t value, int64_t index, const TensorView& view) {
  Dims place = Dims::filled(view.shape.rank(), 0);
  for (int d = view.shape.rank() - 1; d >= 0; --d) {
    place[d] = view.offset[d] + index % view.shape[d];
    index /= view.shape[d];
  }
  return std::to_string(value) + " at [" + place.str() + "]";
}

}  // namespace troupe
