// Arithmetic with the sums of rows: segments' sums become those of the row.
#pragma once

#include "kernels/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace softstep::ops {

// Makes the sums relative to another maximum, at least as large.
inline void shift_sums(RowSums& sums, double max, double scale) {
  if (sums.max == max)
    return;
  const double by = (sums.max - max) * scale, factor = std::exp(by);
  sums.max = max;
  sums.others = (sums.others + sums.in_top) * factor;
  sums.in_top = 0;
  sums.in_target *= factor;
  const auto shift = [by](double mass, double& moment) {
    if (mass != 0) // 0 * -inf is 0
      moment += by * mass;
  };
  shift(sums.point_mass, sums.point_moment);
  shift(sums.mass, sums.moment);
  shift(sums.smoothed_mass, sums.smoothed_moment);
}

// Adds those of another segment.
inline void add_sums(RowSums& sums, RowSums more, double scale) {
  const double max = std::max(sums.max, more.max);
  shift_sums(sums, max, scale);
  shift_sums(more, max, scale);
  sums.others += more.others;
  sums.in_target += more.in_target;
  sums.in_top += more.in_top;
  sums.target_logit += more.target_logit;
  sums.point_mass += more.point_mass;
  sums.point_moment += more.point_moment;
  sums.mass += more.mass;
  sums.moment += more.moment;
  sums.smoothed_mass += more.smoothed_mass;
  sums.smoothed_moment += more.smoothed_moment;
  sums.finite += more.finite;
}

// What every holder of a segment knows of the whole row without being told.
struct KnownSums {
  bool target = false; // there is a single target, whose logit was added
  std::optional<double> point_mass, smoothed_mass, finite;
};

inline void complete_sums(RowSums& sums, const KnownSums& known, double scale) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (known.target && sums.max < kInfinity) {
    const double reference = sums.max == -kInfinity ? 0 : sums.max;
    sums.in_target = std::exp((sums.target_logit - reference) * scale);
  }
  sums.point_mass = known.point_mass.value_or(sums.point_mass);
  sums.smoothed_mass = known.smoothed_mass.value_or(sums.smoothed_mass);
  sums.finite = known.finite.value_or(sums.finite);
}

} // namespace softstep::ops
