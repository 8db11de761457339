// What CUDA kernels report of data that they cannot take: what the CPU's describe.

#include <gtest/gtest.h>

#include "ops/graph.h"
#include "ops/test_operands.h"
#include "tests/cuda/run.h"

namespace troupe {
namespace {

HostTensor choices_of(const std::vector<double>& numbers) {
  HostTensor choices({DType::i32, {2, 3, static_cast<int64_t>(numbers.size()) / 6}});
  choices.set_numbers(numbers);
  return choices;
}

std::string fault_of(const std::string& op, const Attrs& attrs, const HostTensor& input) {
  try {
    run_op(*find_op(op), attrs, {&input, 1});
  } catch (const FaultError& error) {
    return error.fault().what;
  }
  return "";
}

// The words of the report, and what the kernel gave.
std::string reported(const std::string& op, const Attrs& attrs, const HostTensor& input,
                     std::vector<HostTensor>* outputs = nullptr) {
  const TensorType type = input.type();
  const TensorView view = input.view();
  std::vector<HostTensor> results;
  std::vector<TensorView> views;
  for (const TensorType& output : find_op(op)->infer({{&type, 1}, attrs})) results.emplace_back(output);
  for (const HostTensor& result : results) views.push_back(result.view());
  std::string failure;
  KernelReport report;
  const KernelArgs args{{&view, 1}, views, {}, &attrs, 0, {}, &failure, &report, 5};
  run_cuda_kernel(op, args);
  EXPECT_EQ(failure, "");
  if (outputs != nullptr) *outputs = results;
  if (report.said == 0) return "";
  EXPECT_EQ(report.said, KernelReport::kReported);
  EXPECT_EQ(report.task, 5);
  KernelTable table;
  add_cpu_kernels(table);
  return table.text_of(op, args, report);
}

Attrs places(int64_t experts, int64_t capacity, int64_t dropless) {
  return {{"experts", experts}, {"capacity", capacity}, {"dropless", dropless}};
}

TEST(CudaReports, NameAChoiceOfNoExpert) {
  for (int64_t choice : {-1, 3, 1000}) {
    const HostTensor choices = choices_of({0, 1, 2, 2, static_cast<double>(choice), 0});
    std::vector<HostTensor> outputs;
    const std::string text = reported("expert_places", places(3, 4, no), choices, &outputs);
    EXPECT_EQ(text, fault_of("expert_places", places(3, 4, no), choices));
    EXPECT_EQ(text, "choice " + std::to_string(choice) + " is outside the experts 0..2");
    EXPECT_EQ(outputs[0].numbers(), (std::vector<double>{1, 1, 1, 0, 1, 1}));
    EXPECT_EQ(outputs[1].numbers(), (std::vector<double>{0, 0, 0, 0, -1, 0}));
  }
  const HostTensor first = choices_of({0, 0, 0, 0, 0, 0});
  EXPECT_EQ(reported("expert_places", places(0, 4, no), first), fault_of("expert_places", places(0, 4, no), first));
}

TEST(CudaReports, NameAnExpertWithTooManyTokens) {
  const HostTensor choices = choices_of({1, 0, 2, 2, 2, 2});
  for (int64_t capacity : {2, 3}) {
    const std::string text = reported("expert_places", places(3, capacity, yes), choices);
    EXPECT_EQ(text, fault_of("expert_places", places(3, capacity, yes), choices));
    EXPECT_EQ(text.empty(), capacity == 3);
    EXPECT_EQ(reported("expert_places", places(3, capacity, no), choices), "");
  }
}

}  // namespace
}  // namespace troupe
