// Cross-entropy over rows: denominators, the kernel on every tile, the reduction.
#pragma once

#include "ops/rows.hpp"

#include <cstdint>

namespace softstep::ops {

enum class Reduction { kNone, kSum, kMean };

template <class T> struct CrossEntropyProblem {
  RowProblem<T> rows;         // operands: logits, probabilities or nothing, dlogits or nothing
  const std::int32_t* target; // checked; null if every row of a probability target counts
  const T* weight = nullptr;  // per class
  const T* sample_weight = nullptr; // per row
  double label_smoothing = 0, temperature = 1, z_loss = 0;
  Reduction reduction = Reduction::kMean;
  double denominator = 0; // of the mean; see mean_denominator
};

struct MeanDenominators {
  double loss;   // sum of the rows' weights: what the mean divides by
  double z_loss; // the same without class weights: what the mean of z_loss divides by
};

// Ignored rows do not count. Class targets: sum of w_t sample_weight; probabilities: sum of
// sample_weight, never of class weights (as PyTorch).
template <class T> MeanDenominators mean_denominators(const CrossEntropyProblem<T>& problem);

// Writes loss[row] (as "none" returns it) and dlogits, and returns the reduced loss: the sum, or
// the sum / denominator.
template <class T>
double cross_entropy(const CrossEntropyProblem<T>& problem, const MeanDenominators& denominators,
                     T* loss);

} // namespace softstep::ops
