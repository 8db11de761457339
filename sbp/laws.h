// The law of signatures, tried by brute force: split the inputs, run the op on every device's parts, put the
// outputs together; the result must be that of the op on whole tensors. Every combination of SBPs is tried,
// so that a claim that is wrong and a valid signature that nobody claims both come to light. Plain functions
// for the tests of ops.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/base/box.h"
#include "sbp/signature.h"

namespace troupe {

// A tensor as an op sees it on one device.
struct LawTensor {
  Shape logical;             // the shape of the whole tensor
  Box box;                   // what of it this device holds, in logical coordinates
  std::vector<double> data;  // row-major within the box
};

// Fills the data of the outputs, which have their boxes and zeros. False when the op cannot run on parts of
// these shapes (inner dims that differ, an output that is not as large as the inputs make it).
using LawOp = std::function<bool(const std::vector<LawTensor>& inputs, std::vector<LawTensor>& outputs)>;

struct LawInput {
  Shape shape;
  double low = -1;  // values are uniform in [low, high]; with low >= 0 also the addends of a partial sum are positive
  double high = 1;
  double least = 0;            // no value is nearer to zero than this (a denominator)
  int64_t integers_below = 0;  // > 0: whole numbers 0..n-1 (indices), which are never partial
};

// One choice of shapes. Let sizes differ, be uneven and larger than the number of devices, or signatures are
// found valid that only happen to be so.
struct LawCase {
  std::vector<LawInput> inputs;
  std::vector<Shape> outputs;
};

struct LawOptions {
  int devices = 3;
  int repeats = 2;          // random inputs per case
  bool max_and_min = true;  // try P(max) and P(min) too
  double tolerance = 1e-9;  // relative to the larger of 1 and the value
  uint64_t seed = 1;
};

struct LawReport {
  std::vector<Signature> valid;      // all that hold in every case
  std::vector<Signature> unclaimed;  // valid, not claimed, and not implied: a whole output is also P(max) and P(min)
  struct Wrong {
    Signature signature;
    std::string why;  // the case and the first difference
  };
  std::vector<Wrong> wrong;  // claimed, but does not hold
  // One line per finding; empty when the claims are right and complete.
  std::string str() const;
};

// The cases have inputs and outputs of the same ranks. Throws PlanError when the op cannot run on whole
// tensors.
LawReport check_laws(const LawOp& op, const std::vector<Signature>& claimed, const std::vector<LawCase>& cases,
                     const LawOptions& options = {});

}  // namespace troupe
