#include "ops/target_gradients.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/cost.hpp"
#include "ops/softmax.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace softstep::ops {
namespace {

constexpr Size kChunkElements = Size{1} << 20; // in memory at once

// 0 where the factor is 0, even if the value is infinite or NaN.
double product(double factor, double value) { return factor * (factor == 0 ? 0 : value); }

template <class S, class Q> class Gradients {
public:
  using T = Compute<S>;

  Gradients(const CrossEntropyProblem<S, Q>& problem, const MeanDenominators& denominators,
            const TargetGradients<T>& to)
      : problem_(problem), to_(to), cols_(problem.rows.cols),
        width_(problem.points > 0 ? problem.points : cols_),
        upstream_(problem.options.reduction != Reduction::kMean ? 1
                  : denominators.loss == 0                      ? 0
                                                                : 1 / denominators.loss),
        normalised_(problem.options.reduction == Reduction::kMean &&
                    problem.options.denominator == 0 && problem.by_class()),
        dweight_(static_cast<std::size_t>(cols_)), shares_(dweight_.size()) {}

  void compute() {
    const Size rows = problem_.rows.rows,
               step = std::max<Size>(1, kChunkElements / std::max<Size>(cols_, 1));
    const Size elements = std::min(rows, step) * cols_;
    logp_.resize(static_cast<std::size_t>(elements));
    mass_.resize(to_.dweight ? logp_.size() : 0);
    g_.resize(static_cast<std::size_t>(std::min(rows, step)));
    for (Size begin = 0; begin < rows; begin += step)
      add_chunk(begin, std::min(rows, begin + step));
    if (to_.dweight)
      write_dweight();
  }

private:
  const CrossEntropyProblem<S, Q>& problem_;
  const TargetGradients<T> to_;
  const Size cols_, width_;
  const double upstream_;
  const bool normalised_;
  std::vector<double> dweight_, shares_; // shares of the classes in the mean's denominator
  std::vector<double> logp_, mass_, g_;  // of a chunk of rows

  double class_weight(Size c) const {
    return problem_.weight ? static_cast<double>(problem_.weight[c]) : 1;
  }
  double row_weight(Size row) const {
    return problem_.sample_weight ? static_cast<double>(problem_.sample_weight[row]) : 1;
  }
  Size point(Size row, Size k) const { return problem_.target[k * problem_.point_stride + row]; }
  bool counts(Size row) const {
    for (Size k = 0; problem_.target && k < std::max<Size>(problem_.points, 1); ++k)
      if (point(row, k) != kIgnoredRow)
        return true;
    return !problem_.target;
  }

  void add_chunk(Size begin, Size end) {
    each_row(begin, end, [&](Size row, double* logits, std::vector<float>& scratch) {
      read(logits, problem_.rows.row(problem_.rows.first, row), problem_.rows.first.class_stride,
           scratch);
      cap(logits);
    });
    take_log_softmax(end - begin);
    each_row(begin, end, [&](Size row, double* logp, std::vector<float>& scratch) {
      const double g = counts(row) ? row_weight(row) * upstream_ : 0;
      g_[static_cast<std::size_t>(row - begin)] = g;
      if (to_.dtarget)
        write_dtarget(row, logp, g);
      if (to_.dweight)
        write_mass(row, logp, mass_.data() + (row - begin) * cols_, scratch);
    });
    if (to_.dweight)
      add_dweight(begin, end);
  }

  // Calls f(row, its log-probabilities, scratch) for the rows of a chunk, in parallel.
  template <class F> void each_row(Size begin, Size end, F f) {
    const Size per_block = std::max<Size>(1, kBlockElements / std::max<Size>(cols_, 1));
    const Size blocks = (end - begin + per_block - 1) / per_block;
    const double cost_ns = static_cast<double>((end - begin) * cols_) * 4 * kRowElementNs;
    parallel::for_each_block(blocks, cost_ns, [&](std::int64_t block, int) {
      std::vector<float> scratch;
      for (Size row = begin + block * per_block;
           row < std::min<Size>(end, begin + (block + 1) * per_block); ++row)
        f(row, logp_.data() + (row - begin) * cols_, scratch);
    });
  }

  // Elements of any storage type, in double.
  template <class E>
  void read(double* to, const E* from, Size stride, std::vector<float>& scratch) const {
    if constexpr (sizeof(E) > 2) {
      for (Size c = 0; c < cols_; ++c)
        to[c] = static_cast<double>(from[c * stride]);
    } else {
      std::vector<E> adjacent(static_cast<std::size_t>(cols_));
      for (Size c = 0; c < cols_; ++c)
        adjacent[static_cast<std::size_t>(c)] = from[c * stride];
      scratch.resize(adjacent.size());
      dispatch::active_for<E>().half->widen(scratch.data(), adjacent.data(), cols_);
      std::copy(scratch.begin(), scratch.end(), to);
    }
  }

  void cap(double* logits) const {
    const double softcap = problem_.options.softcap;
    for (Size c = 0; softcap != 0 && c < cols_; ++c)
      if (logits[c] != negative_infinity<double>())
        logits[c] = softcap * std::tanh(logits[c] / softcap);
  }

  void take_log_softmax(Size rows) {
    RowProblem<double> chunk;
    chunk.rows = rows;
    chunk.cols = cols_;
    chunk.shape = {rows};
    chunk.first = chunk.output = {logp_.data(), {cols_}, 1};
    softmax_family<double>(SoftmaxOp::kLogSoftmax, chunk, nullptr, problem_.options.temperature);
  }

  void write_dtarget(Size row, const double* logp, double g) const {
    T* dtarget = to_.dtarget + row * width_;
    const double keep = 1 - problem_.options.label_smoothing;
    for (Size k = 0; k < width_; ++k) {
      const Size c = problem_.points > 0 ? point(row, k) : k;
      const double slope = c < 0 ? 0 : product(keep * class_weight(c), logp[c]);
      dtarget[k] = static_cast<T>(product(-g, slope));
    }
  }

  // The mass of each class before the class weights.
  void write_mass(Size row, const double* logp, double* mass, std::vector<float>& scratch) const {
    const auto& options = problem_.options;
    if (problem_.rows.second.data)
      read(mass, problem_.rows.row(problem_.rows.second, row), problem_.rows.second.class_stride,
           scratch);
    else
      std::fill(mass, mass + cols_, 0.0);
    for (Size k = 0; k < problem_.points; ++k)
      if (const Size c = point(row, k); c >= 0)
        mass[c] += problem_.mass
                       ? static_cast<double>(problem_.mass[k * problem_.point_stride + row])
                       : focus(logp[c]);
    for (Size c = 0; c < cols_; ++c)
      mass[c] *= 1 - options.label_smoothing;
    if (!options.smooths())
      return;
    const auto smoothed = [&, hole = options.smooths_others() ? point(row, 0) : -1,
                           x = problem_.rows.row(problem_.rows.first, row)](Size c) {
      return c != hole && !(options.smooths_allowed() &&
                            is_negative_infinity(x[c * problem_.rows.first.class_stride]));
    };
    Size classes = 0;
    for (Size c = 0; c < cols_; ++c)
      classes += smoothed(c);
    for (Size c = 0; c < cols_; ++c)
      if (smoothed(c))
        mass[c] += options.label_smoothing / static_cast<double>(std::max<Size>(classes, 1));
  }

  // What a class target's loss is multiplied by.
  double focus(double logp) const {
    const double gamma = problem_.options.gamma;
    return gamma == 0 ? 1 : std::pow(-std::expm1(logp), gamma);
  }

  static bool is_negative_infinity(S x) {
    const S infinity = negative_infinity<S>();
    return std::memcmp(&x, &infinity, sizeof(S)) == 0;
  }

  // Class by class over the rows, so that the order does not depend on the threads.
  void add_dweight(Size begin, Size end) {
    constexpr Size kClasses = 512;
    const double cost_ns = static_cast<double>((end - begin) * cols_) * kMapElementNs;
    parallel::for_each_block((cols_ + kClasses - 1) / kClasses, cost_ns,
                             [&](std::int64_t block, int) {
                               const Size first = block * kClasses;
                               add_classes(end - begin, first, std::min(cols_, first + kClasses));
                             });
    if (!normalised_)
      return;
    std::vector<double> shares(shares_.size());
    for (Size row = begin; row < end; ++row)
      if (counts(row))
        shares[static_cast<std::size_t>(point(row, 0))] += row_weight(row);
    for (std::size_t c = 0; c < shares.size(); ++c)
      shares_[c] += shares[c];
  }
  void add_classes(Size rows, Size first, Size last) {
    std::vector<double> sums(static_cast<std::size_t>(last - first));
    for (Size row = 0; row < rows; ++row) {
      const double g = g_[static_cast<std::size_t>(row)];
      for (Size c = first; c < last; ++c) {
        const double mass = mass_[static_cast<std::size_t>(row * cols_ + c)];
        // 0 * log 0 = 0, and an ignored row adds nothing, whatever it holds.
        if (g != 0 && mass != 0)
          sums[static_cast<std::size_t>(c - first)] +=
              g * mass * logp_[static_cast<std::size_t>(row * cols_ + c)];
      }
    }
    for (Size c = first; c < last; ++c)
      dweight_[static_cast<std::size_t>(c)] -= sums[static_cast<std::size_t>(c - first)];
  }

  void write_dweight() {
    double loss = 0;
    for (Size c = 0; c < cols_; ++c)
      loss += class_weight(c) * dweight_[static_cast<std::size_t>(c)];
    for (Size c = 0; c < cols_; ++c) {
      const auto at = static_cast<std::size_t>(c);
      // A class that no row has is not touched, even by an infinite loss.
      if (normalised_ && shares_[at] != 0)
        dweight_[at] -= loss * upstream_ * shares_[at];
      to_.dweight[c] = static_cast<T>(dweight_[at]);
    }
  }
};

} // namespace

template <class S, class Q>
void target_gradients(const CrossEntropyProblem<S, Q>& problem,
                      const MeanDenominators& denominators,
                      const TargetGradients<Compute<S>>& gradients) {
  Gradients<S, Q>(problem, denominators, gradients).compute();
}

#define SOFTSTEP_INSTANTIATE(S, Q)                                                                 \
  template void target_gradients(const CrossEntropyProblem<S, Q>&, const MeanDenominators&,        \
                                 const TargetGradients<Compute<S>>&);
SOFTSTEP_FOR_ROW_PROBLEMS(SOFTSTEP_INSTANTIATE)
#undef SOFTSTEP_INSTANTIATE

} // namespace softstep::ops
