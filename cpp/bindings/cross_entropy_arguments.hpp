// The arguments of cross-entropy, checked: everything that can fail, before anything is written.
#pragma once

#include "bindings/arrays.hpp"
#include "bindings/targets.hpp"
#include "ops/cross_entropy.hpp"

#include <cstdint>
#include <memory>
#include <optional>

namespace softstep::bindings {

enum class Empty { kNan, kZero, kRaise };
Empty empty_of(const std::string& name);
ops::Smoothing smoothing_of(const std::string& name);
double as_softcap(const py::handle& object); // 0 for None

// Numbers and choices, as the Python function takes them.
struct CrossEntropyOptions {
  double label_smoothing, temperature, softcap /* 0: none */, z_loss;
  ops::Smoothing smoothing;
  ops::Reduction reduction;
  std::optional<double> denominator;
  Empty empty;

  void check() const;
};

struct CrossEntropyArguments {
  py::array logits;
  py::ssize_t axis;
  std::vector<py::ssize_t> batch; // the shape without the classes
  py::ssize_t rows, classes;
  // Points x rows: class targets, or sparse ones with their mass.
  std::unique_ptr<std::int32_t[]> target;
  std::optional<py::array> mass;
  py::ssize_t points;
  std::optional<py::array> probabilities; // of the logits' dtype or of what they are computed in
  std::optional<py::array> weight, sample_weight;
};

CrossEntropyArguments check_cross_entropy(const py::object& logits, const py::object& target,
                                          const py::object& axis,
                                          const py::object& target_probabilities,
                                          const py::object& weight, const py::object& sample_weight,
                                          std::int64_t ignore_index);

} // namespace softstep::bindings
