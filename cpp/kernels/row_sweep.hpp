// The sweep of one row whose classes are adjacent: its maximum and the sum of its exponentials.
#pragma once

#include "logit_shift.hpp"
#include "row_blocks.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <bool kStore, class S, class Shift, class T = Compute<S>>
SOFTSTEP_INLINE Vec<T> exp_at(T* e, const S* x, Size i, const Shift& shift) {
  const Vec<T> v = exp<T>(shift(load(x + i)));
  if constexpr (kStore)
    store(e + i, v);
  return v;
}

// An exponential takes longer than an addition: two sums do, and leave registers to its constants.
// Vectors of two lanes need four, lest too many equal terms are rounded the same way.
template <class T> constexpr bool kFourSums = kLanes<T> < 4;

// Whole vectors only. The maximum of the next block has been searched: that after it is fetched.
template <bool kStore, class S, class Shift, class T = Compute<S>>
SOFTSTEP_INLINE FourSums<T> exp_vectors(T* e, const S* x, Size from, Size to, const Shift& shift,
                                        FourSums<T> sum) {
  constexpr Size w = kLanes<T>;
  Size i = from;
  if constexpr (Shift::kCapped) { // long enough without
    const Size fours = from + (to - from) / (4 * w) * (4 * w);
#pragma GCC unroll 1
    for (; i < to; i += w) {
      const Vec<T> v = exp_at<kStore>(e, x, i, shift);
      if (i < fours)
        sum.template take<kFourSums<T>>(v);
      else
        sum.a += v;
    }
    return sum;
  }
  for (; i + 4 * w <= to; i += 4 * w) {
    prefetch<4 * w* static_cast<Size>(sizeof(S))>(x + i + 2 * kBlock);
    sum.a += exp_at<kStore>(e, x, i, shift);
    sum.b += exp_at<kStore>(e, x, i + w, shift);
    (kFourSums<T> ? sum.c : sum.a) += exp_at<kStore>(e, x, i + 2 * w, shift);
    (kFourSums<T> ? sum.d : sum.b) += exp_at<kStore>(e, x, i + 3 * w, shift);
  }
  for (; i < to; i += w)
    sum.a += exp_at<kStore>(e, x, i, shift);
  return sum;
}

template <class T> struct BlockSum {
  T sum;         // without the hole
  T in_hole = 0; // if the hole is in the block
};

template <bool kStore, class S, class Shift, class T = Compute<S>>
SOFTSTEP_INLINE FourSums<T> exp_with_hole(T* e, const S* x, Size hole, Size at, const Shift& shift,
                                          FourSums<T> sum, T& in_hole) {
  const Vec<T> v = exp_at<kStore>(e, x, at, shift);
  sum.b += select<T>(without_hole<T>(hole, at), v, Vec<T>{});
  in_hole = v[hole - at];
  return sum;
}

// Exponentials of one block, stored if kStore, and their sum without the class `hole` (or -1).
template <bool kStore, class S, class Shift, class T = Compute<S>>
SOFTSTEP_INLINE BlockSum<T> exp_block(T* e, const S* x, Size begin, Size end, Size hole,
                                      const Shift& shift) {
  constexpr Size w = kLanes<T>;
  const Size whole = begin + (end - begin) / w * w;
  const Size at = hole >= begin && hole < whole ? begin + (hole - begin) / w * w : whole;
  BlockSum<T> result;
  FourSums<T> sum;
  if constexpr (kFourSums<T>) { // a loop about it would take their registers
    sum = exp_vectors<kStore>(e, x, begin, at, shift, sum);
    if (at < whole) {
      sum = exp_with_hole<kStore>(e, x, hole, at, shift, sum, result.in_hole);
      sum = exp_vectors<kStore>(e, x, at + w, whole, shift, sum);
    }
  } else { // half the code, which is most of a kernel's
    for (Size from = begin, to = at;; from = at + w, to = whole) {
      sum = exp_vectors<kStore>(e, x, from, to, shift, sum);
      if (to == whole)
        break;
      sum = exp_with_hole<kStore>(e, x, hole, at, shift, sum, result.in_hole);
    }
  }
  if (whole < end) {
    const Mask<T> rest = last_lanes<T>(end - whole);
    const Vec<T> v = exp<T>(shift(load(x + end - w)));
    if constexpr (kStore)
      store(e + end - w, select<T>(rest, v, load(e + end - w)));
    sum.b += select<T>(rest & without_hole<T>(hole, end - w), v, Vec<T>{});
    if (hole >= whole && hole < end)
      result.in_hole = v[hole - (end - w)];
  }
  result.sum = sum.total();
  return result;
}

struct NoBefore {
  template <class T> SOFTSTEP_INLINE void operator()(Size, Size, T) const {}
};

constexpr double kCertainSum = 1.125;

// The running maximum and the sum of exponentials of a row, block by block; if kStore, with the
// exponentials in e (which may be x), each block relative to the maximum known by then.
template <class S, class Shift, bool kStore> struct RowSweep {
  using T = Compute<S>;
  RowBlocks blocks;
  ShiftScale<T> scale;
  T max = -kInfinity<T>; // of the (capped) logits
  double sum = 0;        // of exp((x - max) * scale), without the hole
  double in_hole = 0;    // the same of the hole
  // A row with +inf has the sum NaN, but a NaN of its own only if it holds one.
  bool infinite = false, nan = false;
  T next_top; // largest logit of the next block
  T block_max[kMaxBlocks];

  SOFTSTEP_INLINE RowSweep(Size cols, ShiftScale<T> row_scale)
      : blocks(cut_row(cols)), scale(row_scale) {}

  // A block's maximum is searched before the exponentials of the block before it: these do not wait
  // for it to be folded.
  SOFTSTEP_INLINE void start(const S* x) { next_top = max_row(x, blocks.begin(0), blocks.end(0)); }

  // After start. before(begin, end, max) sees each block's logits while they are cached and not
  // overwritten.
  template <class Before> SOFTSTEP_INLINE void run(T* e, const S* x, Size hole, Before before) {
    T hole_max = 0;
    for (Size b = 0; b < blocks.count; ++b) {
      const Size begin = blocks.begin(b), end = blocks.end(b);
      const T top = next_top;
      if (b + 1 < blocks.count)
        next_top = max_row(x, blocks.begin(b + 1), blocks.end(b + 1));
      raise_max(Shift::cap(top, scale));
      if (max == kInfinity<T>) {
        nan |= (!infinite && sum != sum) || has_nan(x, begin, end);
        infinite = true;
      }
      block_max[b] = max;
      before(begin, end, max);
      const BlockSum<T> block = exp_block<kStore>(e, x, begin, end, hole, Shift(max, scale));
      sum += static_cast<double>(block.sum);
      if (hole >= begin && hole < end) {
        in_hole = static_cast<double>(block.in_hole);
        hole_max = max;
      }
    }
    if (hole >= 0)
      in_hole *= factor(hole_max, max);
  }

  SOFTSTEP_INLINE void raise_max(T candidate) {
    if (!(candidate > max))
      return;
    if (max != -kInfinity<T>)
      sum *= factor(max, candidate);
    max = candidate;
  }

  // Whether one class, of which the exponential is exactly 1, is nearly all of the sum: then the
  // lanes have lost the others beside it.
  SOFTSTEP_INLINE bool is_certain() const { return sum >= 1 && sum < kCertainSum; }

  // That class. The exponentials, where they are stored, may have overwritten the logits.
  SOFTSTEP_INLINE Size top_class(const T* e, const S* x) const {
    Size b = 0;
    while (block_max[b] != max)
      ++b;
    const Size begin = blocks.begin(b), end = blocks.end(b);
    if constexpr (kStore)
      return index_of(T(1), e, begin, end);
    return index_of(max_row(x, begin, end), x, begin, end);
  }

  // The sum without a class, of exponentials that are stored or made again.
  [[gnu::noinline]] double sum_without(Size top, const T* e, const S* x) const {
    double others = 0;
    const Shift shift(max, scale);
    for (Size b = 0; b < blocks.count; ++b) {
      const T sum_of_block = sum_row<T, Body::kLong>(blocks.begin(b), blocks.end(b), [&](Size i) {
        Vec<T> v;
        if constexpr (kStore)
          v = load(e + i);
        else
          v = exp<T>(shift(load(x + i)));
        return select<T>(without_hole<T>(top, i), v, Vec<T>{});
      });
      others += (kStore ? factor(block_max[b], max) : 1) * static_cast<double>(sum_of_block);
    }
    return others;
  }

  // log of the sum; relative to an infinite maximum it is 0.
  SOFTSTEP_INLINE double log_sum() const { return infinite && !nan ? 0 : log_scalar(sum); }

  // exp((from - to) * scale), the exact 1 for equal maxima.
  SOFTSTEP_INLINE double factor(T from, T to) const {
    if (from == to || from == -kInfinity<T>)
      return 1;
    return exp_scalar((static_cast<double>(from) - static_cast<double>(to)) *
                      static_cast<double>(scale.scale));
  }

  // Calls apply(begin, end, correction) for each run of blocks that were stored relative to one
  // maximum.
  template <class Apply> SOFTSTEP_INLINE void for_each_run(Apply apply) const {
    for (Size first = 0; first < blocks.count;) {
      Size last = first;
      while (last + 1 < blocks.count && block_max[last + 1] == block_max[first])
        ++last;
      apply(blocks.begin(first), blocks.end(last), factor(block_max[first], max));
      first = last + 1;
    }
  }
};

// Two rows this short are under way at once: what one waits for, its folded maximum and sum and the
// division by it, is hidden by the sweeps of the other.
constexpr Size kPairedBytes = 8192;
template <class T> SOFTSTEP_INLINE bool pairs_rows(Size cols) {
  return cols * static_cast<Size>(sizeof(T)) <= kPairedBytes;
}

template <class Row, class Task> SOFTSTEP_INLINE void for_each_row(const Task& task) {
  Size row = 0;
  if (pairs_rows<typename Row::T>(task.cols))
    for (; row + 2 <= task.rows; row += 2) {
      Row a(task, row), b(task, row + 1);
      a.start();
      b.start();
      a.run();
      b.run();
      a.finish();
      b.finish();
    }
  for (; row < task.rows; ++row) {
    Row one(task, row);
    one.start();
    one.run();
    one.finish();
  }
}

} // namespace
} // namespace softstep::KERNEL_ISA
