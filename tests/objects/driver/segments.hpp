// Rows in two segments of their classes, as threads and processes share them.
#pragma once

#include "dispatch/dispatch.hpp"
#include "ops/row_sums.hpp"

#include <vector>

namespace softstep::driver {

// The row shape takes no row, and so no segment, shorter than the widest vector.
constexpr Size kShortest = 16;
inline bool has_segments(Size cols) { return cols >= 2 * kShortest; }

// run(task, number) for both segments of the task's classes.
template <class S, class Run> void for_each_segment(const CrossEntropyTask<S>& task, Run run) {
  const Size begins[] = {0, kShortest + (task.cols - 2 * kShortest) / 3, task.cols};
  for (Size number = 0; number < 2; ++number) {
    const Size begin = begins[number];
    CrossEntropyTask<S> segment = task;
    const auto move = [begin](auto*& at) {
      if (at)
        at += begin;
    };
    move(segment.logits.data);
    move(segment.dlogits.data);
    move(segment.probabilities.data);
    move(segment.wide_probabilities.data);
    move(segment.weight);
    segment.first = begin;
    segment.cols = begins[number + 1] - begin;
    run(segment, number);
  }
}

// The sums of the whole rows.
template <class S> std::vector<RowSums> swept(const CrossEntropyTask<S>& task) {
  std::vector<RowSums> sums(static_cast<std::size_t>(task.rows)), more(sums);
  for_each_segment(task, [&](CrossEntropyTask<S> segment, Size number) {
    segment.sums = number == 0 ? sums.data() : more.data();
    dispatch::active_for<S>().cross_entropy[kRowShape]->sweep(segment);
  });
  for (std::size_t row = 0; row < sums.size(); ++row)
    ops::add_sums(sums[row], more[row], static_cast<double>(task.scale));
  return sums;
}

} // namespace softstep::driver
