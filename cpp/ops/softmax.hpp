// The softmax family over rows.
#pragma once

#include "ops/rows.hpp"

namespace softstep::ops {

enum class SoftmaxOp {
  kSoftmax,
  kLogSoftmax,
  kLogSumExp,
  kEntropy,
  kSoftmaxBackward,
  kLogSoftmaxBackward
};

// Operands: logits (backwards: y), nothing (backwards: dy), result. kLogSumExp and kEntropy have no
// output and write row_result, one per row.
template <class S>
void softmax_family(SoftmaxOp op, const RowProblem<S>& problem, S* row_result, double temperature);

} // namespace softstep::ops
