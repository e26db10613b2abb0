// Cross-entropy over rows: denominators, the kernel on every tile, the reduction.
#pragma once

#include "ops/rows.hpp"

#include <cstdint>

namespace softstep::ops {

// Results of each row; all but loss may be null. See CrossEntropyTask.
template <class T> struct RowResults {
  T *loss, *lse, *nll, *entropy, *dtemperature;
  std::int32_t* argmax;
};

// Q is the type of the probabilities: S, or what S is computed in.
template <class S, class Q = S> struct CrossEntropyProblem {
  using T = Compute<S>;
  RowProblem<S, Q> rows; // operands: logits, probabilities or nothing, dlogits or nothing
  CrossEntropyOptions options;
  // Points x rows, checked; of probabilities: ignored rows. Point k of row r is at
  // k * point_stride + r.
  const std::int32_t* target = nullptr;
  const T* mass = nullptr; // as target; null: 1
  Size points = 0, point_stride = 0;
  Size first = 0;                   // the row's classes are a segment from this one on
  const T* weight = nullptr;        // per class
  const T* sample_weight = nullptr; // per row

  // One class target, whose class weight counts in the mean.
  bool by_class() const { return points == 1 && !mass; }
};

struct MeanDenominators {
  double loss;   // sum of the rows' weights: what the mean divides by
  double z_loss; // the same without class weights: what the mean of the z-loss divides by
};

// Ignored rows do not count. One class target: sum of w_t sample_weight; more points and
// probabilities: sum of sample_weight, never of class weights (as PyTorch).
template <class S, class Q>
MeanDenominators mean_denominators(const CrossEntropyProblem<S, Q>& problem);

// Writes the row results ("none" returns their losses) and dlogits, and returns the reduced loss:
// the sum, or the sum / denominator.
template <class S, class Q>
double cross_entropy(const CrossEntropyProblem<S, Q>& problem, const MeanDenominators& denominators,
                     const RowResults<Compute<S>>& results);

// The same in two parts, for rows whose classes are in several problems, each a segment: the sums
// of the segments, once added (segments.hpp), finish all of them. The result is that of all
// classes.
template <class S, class Q>
void sweep_cross_entropy(const CrossEntropyProblem<S, Q>& problem, RowSums* sums);
template <class S, class Q>
double finish_cross_entropy(const CrossEntropyProblem<S, Q>& problem,
                            const MeanDenominators& denominators, RowSums* sums,
                            const RowResults<Compute<S>>& results);

} // namespace softstep::ops
