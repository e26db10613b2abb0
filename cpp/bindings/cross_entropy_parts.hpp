// The cross-entropy of logits that are not all there: chunks of the rows, made one after the other,
// and a segment of the classes, whose others are in other processes.
#pragma once

#include "bindings/cross_entropy_call.hpp"
#include "ops/row_sums.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

namespace softstep::bindings {

class CrossEntropyParts {
public:
  CrossEntropyParts(LogitsForm form, const CrossEntropyArrays& arrays,
                    const CrossEntropyOptions& options, std::optional<ClassSegment> segment);

  const CrossEntropyCall& call() const { return call_; }

  // Others, with these rows only, in this order, and with another denominator of the loss: threads
  // may share a call, as none changes once it is made.
  std::unique_ptr<CrossEntropyParts> kept(const RowNumbers& rows) const {
    return std::unique_ptr<CrossEntropyParts>(new CrossEntropyParts(*this, rows));
  }
  std::unique_ptr<CrossEntropyParts> divided_by(double denominator) const {
    std::unique_ptr<CrossEntropyParts> other(new CrossEntropyParts(*this, std::nullopt));
    other->call_.denominators.loss = denominator;
    return other;
  }

  // Which rows count; None for all.
  py::object counts() const;

  // The classes that the rows [begin, end) have as targets.
  py::array_t<std::int32_t> classes(py::ssize_t begin, py::ssize_t end) const;

  // Loss of the rows from `begin` on, a part of the reduced loss; the gradient overwrites the
  // logits if it is wanted. extra: arrays by name for results of each row.
  py::object run(const py::array& logits, py::ssize_t begin, const py::object& probabilities,
                 bool with_gradient, const py::dict& extra) const;

  // The sums of each row's own classes, a RowSums each.
  py::array_t<double> sweep(const py::array& logits, py::ssize_t begin,
                            const py::object& probabilities) const;

  // The fields that have to be added over the segments; the others are known to each.
  std::vector<std::size_t> used() const;

  void shift(const py::array_t<double>& sums, const Numbers<double>& maxima) const;

  // The loss from the sums of all segments, which are completed in place; the gradient is written
  // to out, which may be the logits, unless that is None.
  py::object finish(const py::array& logits, const py::array_t<double>& sums,
                    const std::optional<py::array>& out, py::ssize_t begin,
                    const py::object& probabilities) const;

private:
  CrossEntropyParts(const CrossEntropyParts& of, const std::optional<RowNumbers>& rows)
      : call_(of.call_, rows), known_(of.known_) {}

  CrossEntropyCall call_;
  ops::KnownSums known_;

  double scale() const;
  py::ssize_t axis_of(const py::array& logits) const { return logits.ndim() + call_.form.axis; }
  std::vector<py::ssize_t> batch_of(const py::array& logits) const {
    return without_axis(shape_of(logits), axis_of(logits));
  }
  py::ssize_t rows_of(const py::array& logits) const;
  void require_rows(const py::array& logits, py::ssize_t begin) const;
  std::optional<py::array> probabilities_of(const py::object& object,
                                            const py::array& logits) const;

  // Calls f(problem) in the row shape, without the GIL.
  template <class F>
  void with_segment(const py::array& logits, py::ssize_t begin, const py::object& probabilities,
                    const py::array* out, F f) const;
};

inline const py::array* pointer(const std::optional<py::array>& array) {
  return array ? &*array : nullptr;
}

} // namespace softstep::bindings
