// One call of the cross-entropy: its arguments are checked, its targets read and its denominators
// found once, before anything is written. Then it runs over all rows, over chunks of them whose
// logits are made one after the other, or over a segment of the classes.
#pragma once

#include "bindings/cross_entropy_options.hpp"
#include "bindings/gil.hpp"
#include "bindings/targets.hpp"
#include "ops/cross_entropy.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

namespace softstep::bindings {

// Of the logits, which need not exist yet.
struct LogitsForm {
  std::vector<py::ssize_t> batch; // the shape without the classes
  py::ssize_t axis, classes;      // the axis counts from the end
  py::dtype dtype;

  LogitsForm(const std::vector<py::ssize_t>& shape, py::ssize_t class_axis, py::dtype type);
};

// What belongs to the rows and classes, as the caller gave it; null or None for what is not there.
struct CrossEntropyArrays {
  py::handle target, target_probabilities, weight, sample_weight;
  const char* weight_name = "weight"; // in errors
  bool by_chunk = false;              // probabilities come with the logits of each chunk
};

// The classes [first, first + those of the logits) of `total`.
struct ClassSegment {
  py::ssize_t first, total;
};

// What the kernels read and write of some rows.
struct CrossEntropyOperands {
  const py::array& logits;
  py::ssize_t axis;
  const py::array* probabilities = nullptr;
  const py::array* dlogits = nullptr;
  const py::array* weight = nullptr; // instead of the call's
};

class CrossEntropyCall {
public:
  CrossEntropyCall(LogitsForm form, const CrossEntropyArrays& arrays,
                   const CrossEntropyOptions& options,
                   std::optional<ClassSegment> segment = std::nullopt);
  // Another that goes on with these rows only, in this order, or with all.
  CrossEntropyCall(const CrossEntropyCall& of, const std::optional<RowNumbers>& rows);

  const LogitsForm form; // of all rows
  const CrossEntropyOptions options;
  const ClassSegment segment;
  // What a mean divides by. Of a segment, the loss's may be a part that has to be summed.
  ops::MeanDenominators denominators{1, 1};
  bool denominator_is_part = false;

  py::ssize_t rows() const { return rows_; } // that are kept
  py::ssize_t points() const { return points_; }
  bool by_class() const { return points_ == 1 && !mass_; }
  const std::optional<py::array>& weight() const { return weight_; }
  const std::optional<py::array>& sample_weight() const { return sample_weight_; }
  // Points x rows, kIgnoredRow for none; null: every row counts.
  const std::int32_t* target() const { return target_.get(); }
  bool counts(py::ssize_t row) const;
  bool is_empty_mean() const {
    return options.reduction == Reduction::kMean && denominators.loss == 0;
  }
  void refuse_empty_mean() const; // if it is to be

  // Probabilities as the kernels read them; those of all rows, unless they come by chunk.
  py::array fitting_probabilities(const py::array& target) const;
  const py::array* probabilities() const { return probabilities_ ? &*probabilities_ : nullptr; }

  py::array checked_out(const py::handle& out, const py::array& logits) const;

  // Calls f(problem) with the rows from `begin` on, of which these are the operands.
  template <class F>
  decltype(auto) with_problem(const CrossEntropyOperands& of, py::ssize_t begin, F f) const {
    return with_storage(of.logits, [&](auto type) {
      using S = decltype(type);
      using T = Compute<S>;
      if constexpr (!std::is_same_v<S, T>)
        if (of.probabilities && dtype_of(*of.probabilities) != dtype_of(of.logits))
          return f(problem<S, T>(of, begin));
      return f(problem<S, S>(of, begin));
    });
  }

private:
  py::ssize_t rows_;
  // Points x rows: class targets, or sparse ones with their mass; of probabilities ignored rows.
  std::unique_ptr<std::int32_t[]> target_;
  std::optional<py::array> mass_;
  py::ssize_t points_ = 0;
  std::optional<py::array> probabilities_; // of the logits' dtype or of what they are computed in
  std::optional<py::array> weight_, sample_weight_;

  void read_sparse(const py::array& target, const py::handle& probabilities);
  void read_probabilities(const py::array& target, bool by_chunk);
  void ignore_weightless();
  void mark_other_segments();
  void find_denominators(bool of_segment);

  template <class S, class Q>
  ops::CrossEntropyProblem<S, Q> problem(const CrossEntropyOperands& of, py::ssize_t begin) const {
    ops::CrossEntropyProblem<S, Q> problem;
    problem.rows = row_problem<S, Q>(of.axis, of.logits, of.probabilities, of.dlogits);
    fill(problem, begin);
    if (of.weight)
      problem.weight = data_of<Compute<S>>(*of.weight);
    return problem;
  }
  // All but the logits, the probabilities and their gradient.
  template <class S, class Q>
  void fill(ops::CrossEntropyProblem<S, Q>& problem, py::ssize_t begin) const {
    const auto from = [](const std::optional<py::array>& array, py::ssize_t at) {
      return array ? data_of<Compute<S>>(*array) + at : nullptr;
    };
    problem.options = options;
    problem.target = target_ ? target_.get() + begin : nullptr;
    problem.mass = from(mass_, begin);
    problem.points = points_;
    problem.point_stride = rows_;
    problem.first = segment.first;
    problem.weight = from(weight_, 0);
    problem.sample_weight = from(sample_weight_, begin);
  }
};

} // namespace softstep::bindings
