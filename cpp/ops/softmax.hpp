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
// third operand and write row_result, one per row.
template <class T>
void softmax_family(SoftmaxOp op, const RowProblem<T>& problem, T* row_result, double temperature);

} // namespace softstep::ops
