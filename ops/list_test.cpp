#include <gtest/gtest.h>

#include <set>

#include "ops/test_use_cases.h"

namespace troupe {
namespace {

TEST(OpList, NamesAreUniqueAndFound) {
  std::set<std::string> names;
  for (const OpDef& op : all_ops()) {
    EXPECT_TRUE(names.insert(op.name).second) << op.name;
    EXPECT_EQ(find_op(op.name), &op);
  }
  EXPECT_EQ(find_op("no_such_op"), nullptr);
  EXPECT_EQ(find_op(""), nullptr);
}

TEST(OpList, EveryOpSaysWhatItMeansAndHowItSplits) {
  for (const OpDef& op : all_ops()) {
    EXPECT_TRUE(op.doc.ends_with(".")) << op.name;
    EXPECT_NE(op.infer, nullptr) << op.name;
    EXPECT_EQ(int{!op.rule.empty()} + int{op.rule_of != nullptr} + int{op.signatures != nullptr}, 1) << op.name;
    EXPECT_EQ(op.cpu == nullptr, op.name == "variable" || op.name == "source") << op.name;
  }
}

TEST(OpList, AllWholeIsTheFirstSignatureAndNoneComesTwice) {
  for (const UseCase& use : use_cases()) {
    const std::vector<Signature> signatures = use.signatures(2);
    const Signature whole{std::vector<Sbp>(use.operands.size(), B), std::vector<Sbp>(use.output_types().size(), B)};
    EXPECT_EQ(signatures.front(), whole) << use.str();
    EXPECT_EQ(std::set<Signature>(signatures.begin(), signatures.end()).size(), signatures.size()) << use.str();
  }
}

TEST(OpList, SignaturesNameOnlyDimsThatExist) {
  const auto exists = [](const std::vector<Sbp>& sbp, const std::vector<TensorType>& types) {
    for (size_t i = 0; i < sbp.size(); ++i) {
      if (sbp[i].is_split() && sbp[i].dim >= types[i].shape.rank()) return false;
    }
    return true;
  };
  for (const UseCase& use : use_cases()) {
    for (const Signature& signature : use.signatures(3)) {
      EXPECT_TRUE(exists(signature.inputs, use.types())) << use.str() << ": " << signature.str();
      EXPECT_TRUE(exists(signature.outputs, use.output_types())) << use.str() << ": " << signature.str();
    }
  }
}

TEST(OpList, KernelsAreAddedByName) {
  KernelTable table;
  add_cpu_kernels(table);
  EXPECT_NE(table.find("matmul", DeviceKind::cpu), nullptr);
  EXPECT_EQ(table.find("matmul", DeviceKind::cuda), nullptr);
}

}  // namespace
}  // namespace troupe
