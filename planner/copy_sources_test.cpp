#include "planner/copy_sources.h"

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"

namespace troupe {
namespace {

TEST(CopySources, NothingButCopiesReadsWhatSourcesHaveRead) {
  for (const bool copies : {false, true}) {
    Choices choices = choices_on({{"dp", 2}, {"tp", 2}}, 8);
    choices.copies_sources = copies;
    const Plan plan = compile(gpt_model({.layers = 1}).graph, choices, Profile()).plan;
    int read = 0;
    int copied = 0;
    for (const PlanTask& task : plan.tasks) {
      for (const PlanRead& input : task.inputs) {
        const PlanRegister& reg = plan.reg(input.reg);
        if (!reg.producer.valid() || plan.task(reg.producer).kind != TaskKind::source) continue;
        task.kernel == "to_layout" && task.name == reg.name + "@in" ? ++copied : ++read;
        EXPECT_EQ(task.device, reg.device);
      }
    }
    EXPECT_EQ(copied, copies ? 8 : 0);  // x and y, on four devices
    EXPECT_EQ(read > 0, !copies);
  }
}

}  // namespace
}  // namespace troupe
