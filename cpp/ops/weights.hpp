// Weights of a mean. It depends on their ratios only, but the kernels multiply by them and by the
// reciprocal of their sum: weights whose sum is so far from 1 that this leaves T's range are
// brought near it first, exactly, by a power of two.
#pragma once

#include "ops/cross_entropy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace softstep::ops {

template <class T> class NearOne {
public:
  NearOne(const T* weights, Size count, double denominator) : weights_(weights) {
    constexpr int kFar = std::numeric_limits<T>::max_exponent / 2,
                  kMost = std::numeric_limits<T>::max_exponent - 2;
    if (!weights || denominator == 0 || !std::isfinite(denominator))
      return;
    const int exponent = std::ilogb(denominator);
    if (std::abs(exponent) < kFar)
      return;
    factor_ = std::ldexp(1.0, std::clamp(-exponent, -kMost, kMost));
    scaled_.resize(static_cast<std::size_t>(count));
    std::transform(weights, weights + count, scaled_.begin(),
                   [&](T weight) { return static_cast<T>(static_cast<double>(weight) * factor_); });
  }

  double factor() const { return factor_; } // 1 for weights that are near already
  const T* data() const { return factor_ == 1 ? weights_ : scaled_.data(); }

private:
  const T* weights_;
  double factor_ = 1;
  std::vector<T> scaled_;
};

template <class T> double largest_of(const T* weights, Size count) {
  double largest = 0;
  for (Size c = 0; weights && c < count; ++c)
    largest = std::max(largest, std::abs(static_cast<double>(weights[c])));
  return largest;
}

inline void scale_masses(RowSums* sums, Size rows, double by) {
  for (Size row = 0; row < rows; ++row)
    for (double* sum : {&sums[row].point_mass, &sums[row].point_moment, &sums[row].mass,
                        &sums[row].moment, &sums[row].smoothed_mass, &sums[row].smoothed_moment})
      *sum *= by;
}

// The weights of a problem, and what its means divide by then.
template <class S, class Q> struct WeightsNearOne {
  using T = Compute<S>;
  NearOne<T> rows, classes;
  MeanDenominators denominators;

  WeightsNearOne(const CrossEntropyProblem<S, Q>& problem, const MeanDenominators& by)
      : rows(means(problem) ? problem.sample_weight : nullptr, problem.rows.rows, by.z_loss),
        classes(means(problem) ? problem.weight : nullptr, problem.rows.cols,
                by.loss * rows.factor()),
        denominators{by.loss * rows.factor() * classes.factor(), by.z_loss * rows.factor()} {}

  bool changed() const { return rows.factor() != 1 || classes.factor() != 1; }
  CrossEntropyProblem<S, Q> of(CrossEntropyProblem<S, Q> problem) const {
    problem.sample_weight = rows.data();
    problem.weight = classes.data();
    return problem;
  }
  // What weighs a row's result beside the denominator.
  void restore(T* results, Size count) const {
    for (Size row = 0; results && row < count; ++row)
      results[row] =
          static_cast<T>(static_cast<double>(results[row]) / (rows.factor() * classes.factor()));
  }

private:
  static bool means(const CrossEntropyProblem<S, Q>& problem) {
    return problem.options.reduction == Reduction::kMean;
  }
};

} // namespace softstep::ops
