#include "bindings/cross_entropy_call.hpp"

#include <algorithm>

namespace softstep::bindings {
namespace {

std::optional<py::array> weights(const py::handle& object, const char* name,
                                 const std::vector<py::ssize_t>& shape, const py::dtype& dtype) {
  if (!object || object.is_none())
    return std::nullopt;
  py::array array = as_compute_input(object, name, dtype);
  require_shape(array, name, shape);
  return array;
}

bool float_like(const py::array& array) {
  const char kind = array.dtype().kind();
  return kind == 'f' || kind == 'V';
}

std::unique_ptr<std::int32_t[]> indices(py::ssize_t count) {
  return std::unique_ptr<std::int32_t[]>(new std::int32_t[static_cast<std::size_t>(count)]());
}

// The columns of a matrix (points, rows), picked.
template <class T>
void pick(T* to, const T* from, py::ssize_t points, py::ssize_t rows, const RowNumbers& picked) {
  const std::int64_t* index = picked.data();
  for (py::ssize_t k = 0; k < points; ++k)
    for (py::ssize_t i = 0; i < picked.size(); ++i)
      *to++ = from[k * rows + index[i]];
}

py::array picked_columns(const py::array& from, py::ssize_t points, py::ssize_t rows,
                         const RowNumbers& picked) {
  const std::vector<py::ssize_t> shape = {points, picked.size()};
  const py::array to(from.dtype(), from.ndim() > 1 ? shape : std::vector{picked.size()});
  with_type(from, [&](auto type) {
    using T = decltype(type);
    pick(data_of<T>(to), data_of<const T>(from), points, rows, picked);
  });
  return to;
}

} // namespace

LogitsForm::LogitsForm(const std::vector<py::ssize_t>& shape, py::ssize_t class_axis,
                       py::dtype type)
    : batch(without_axis(shape, class_axis)),
      axis(class_axis - static_cast<py::ssize_t>(shape.size())),
      classes(shape[static_cast<std::size_t>(class_axis)]), dtype(std::move(type)) {}

CrossEntropyCall::CrossEntropyCall(LogitsForm logits, const CrossEntropyArrays& arrays,
                                   const CrossEntropyOptions& asked,
                                   std::optional<ClassSegment> part)
    : form(std::move(logits)), options(asked),
      segment(part.value_or(ClassSegment{0, form.classes})), rows_(1) {
  for (const py::ssize_t size : form.batch)
    rows_ *= size;
  const py::dtype computed = compute_dtype(form.dtype);
  weight_ = weights(arrays.weight, arrays.weight_name, {form.classes}, computed);
  sample_weight_ = weights(arrays.sample_weight, "sample_weight", form.batch, computed);
  const py::array target = as_numpy(arrays.target, "target");
  if (arrays.target_probabilities && !arrays.target_probabilities.is_none()) {
    read_sparse(target, arrays.target_probabilities);
  } else if (has_integer_dtype(target)) {
    require_shape(target, "target", form.batch);
    target_ = checked_targets(target, options.ignore_index, segment.total);
    points_ = 1;
  } else if (float_like(target)) {
    read_probabilities(target, arrays.by_chunk);
  } else {
    throw py::type_error("target: expected integers (classes) or floats (probabilities), got " +
                         dtype_text(target));
  }
  check_targets(options, by_class());
  ignore_weightless();
  if (part)
    mark_other_segments();
  find_denominators(part.has_value());
}

CrossEntropyCall::CrossEntropyCall(const CrossEntropyCall& of,
                                   const std::optional<RowNumbers>& picked)
    : form(of.form), options(of.options), segment(of.segment), denominators(of.denominators),
      denominator_is_part(of.denominator_is_part), rows_(picked ? picked->size() : of.rows_),
      mass_(of.mass_), points_(of.points_), probabilities_(of.probabilities_), weight_(of.weight_),
      sample_weight_(of.sample_weight_) {
  const py::ssize_t points = std::max<py::ssize_t>(points_, 1);
  if (of.target_)
    target_ = indices(points * rows_);
  if (!picked) {
    if (target_)
      std::copy_n(of.target_.get(), points * rows_, target_.get());
    return;
  }
  for (py::ssize_t i = 0; i < rows_; ++i)
    if (picked->data()[i] < 0 || picked->data()[i] >= of.rows_)
      throw py::index_error("rows: expected rows in [0, " + std::to_string(of.rows_) + "), got " +
                            std::to_string(picked->data()[i]));
  if (target_)
    pick(target_.get(), of.target_.get(), points, of.rows_, *picked);
  if (mass_)
    mass_ = picked_columns(*mass_, points_, of.rows_, *picked);
  if (sample_weight_)
    sample_weight_ = picked_columns(sample_weight_->reshape({of.rows_}), 1, of.rows_, *picked);
}

// Indices (batch, K) with their probabilities, both turned to (K, batch).
void CrossEntropyCall::read_sparse(const py::array& target, const py::handle& probabilities) {
  std::vector<py::ssize_t> shape = form.batch;
  points_ = target.ndim() > 0 ? target.shape(target.ndim() - 1) : 0;
  shape.push_back(points_);
  if (!has_integer_dtype(target))
    throw py::type_error("target: with target_probabilities it holds class indices, got " +
                         dtype_text(target));
  if (shape_of(target) != shape || points_ < 1 || points_ > kMaxPoints)
    throw py::value_error("target: expected " + shape_text(form.batch) +
                          " and a last axis of 1 to " + std::to_string(kMaxPoints) +
                          " classes, got " + shape_text(shape_of(target)));
  const py::array mass =
      as_compute_input(probabilities, "target_probabilities", compute_dtype(form.dtype));
  require_shape(mass, "target_probabilities", shape);
  const auto checked = checked_targets(target, options.ignore_index, segment.total);
  target_ = indices(points_ * rows_);
  for (py::ssize_t row = 0; row < rows_; ++row)
    for (py::ssize_t k = 0; k < points_; ++k)
      target_[static_cast<std::size_t>(k * rows_ + row)] =
          checked[static_cast<std::size_t>(row * points_ + k)];
  const py::tuple flat = py::make_tuple(rows_, points_);
  mass_ = py::array(mass.attr("reshape")(flat).attr("T").attr("copy")(py::arg("order") = "C"));
}

void CrossEntropyCall::read_probabilities(const py::array& target, bool by_chunk) {
  std::vector<py::ssize_t> shape = form.batch;
  shape.insert(shape.end() + 1 + form.axis, form.classes);
  if (shape_of(target) != shape)
    throw py::value_error("target: expected integers of shape " + shape_text(form.batch) +
                          " (classes) or floats of shape " + shape_text(shape) +
                          " (probabilities), got " + dtype_text(target) + " of shape " +
                          shape_text(shape_of(target)));
  if (by_chunk)
    as_any_float_input(py::array(target.dtype(), std::vector<py::ssize_t>{0}), "target");
  else
    probabilities_ = fitting_probabilities(target);
}

py::array CrossEntropyCall::fitting_probabilities(const py::array& target) const {
  const py::array probabilities = as_any_float_input(target, "target");
  const bool fits = dtype_of(probabilities) == dtype_of(form.dtype) ||
                    probabilities.dtype().num() == compute_dtype(form.dtype).num();
  return fits ? probabilities : as_compute_input(target, "target", compute_dtype(form.dtype));
}

// Rows of sample_weight 0 are ignored rows: whatever they hold, they add nothing.
void CrossEntropyCall::ignore_weightless() {
  if (!sample_weight_)
    return;
  if (!target_)
    target_ = indices(rows_);
  with_type(*sample_weight_, [&](auto type) {
    const auto* weight = data_of<decltype(type)>(*sample_weight_);
    for (py::ssize_t row = 0; row < rows_; ++row)
      if (weight[row] == 0)
        for (py::ssize_t k = 0; k < std::max<py::ssize_t>(points_, 1); ++k)
          target_[static_cast<std::size_t>(k * rows_ + row)] = kIgnoredRow;
  });
}

// So that no class of another segment is taken for one of this, nor of what this is padded with.
void CrossEntropyCall::mark_other_segments() {
  for (py::ssize_t i = 0; target_ && i < points_ * rows_; ++i) {
    std::int32_t& target = target_[static_cast<std::size_t>(i)];
    const py::ssize_t here = target - segment.first;
    if (target != kIgnoredRow && (here < 0 || here >= form.classes))
      target = kOtherSegment;
  }
}

void CrossEntropyCall::find_denominators(bool of_segment) {
  if (options.reduction != Reduction::kMean)
    return;
  if (options.denominator != 0) {
    denominators = {options.denominator, options.denominator};
    return;
  }
  denominator_is_part = of_segment && by_class() && weight_;
  with_storage(dtype_of(form.dtype), [&](auto type) {
    ops::CrossEntropyProblem<decltype(type)> problem;
    problem.rows.rows = rows_;
    problem.rows.cols = form.classes;
    fill(problem, 0);
    denominators = ops::mean_denominators(problem);
  });
}

void CrossEntropyCall::refuse_empty_mean() const {
  if (is_empty_mean() && options.empty == Empty::kRaise)
    throw py::value_error("target: the mean is over no rows (all are ignored or weightless)");
}

bool CrossEntropyCall::counts(py::ssize_t row) const {
  if (!target_)
    return true;
  for (py::ssize_t k = 0; k < std::max<py::ssize_t>(points_, 1); ++k)
    if (target_[static_cast<std::size_t>(k * rows_ + row)] != kIgnoredRow)
      return true;
  return false;
}

py::array CrossEntropyCall::checked_out(const py::handle& out, const py::array& logits) const {
  py::array dlogits = as_output(out, "out", logits);
  refuse_overlap(dlogits, "out", logits, "logits");
  const auto refuse = [&](const std::optional<py::array>& array, const char* name) {
    if (array)
      refuse_overlap(dlogits, "out", *array, name, false);
  };
  refuse(probabilities_, "target");
  refuse(weight_, "weight");
  refuse(sample_weight_, "sample_weight");
  return dlogits;
}

} // namespace softstep::bindings
