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
  double empty_mean() const; // that is returned
};

CrossEntropyOptions cross_entropy_options(const py::object& label_smoothing,
                                          const py::object& smoothing,
                                          const py::object& temperature, const py::object& softcap,
                                          const py::object& z_loss, const py::object& reduction,
                                          const py::object& denominator, const py::object& empty);

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

// all_classes: what class targets are in, where the logits hold a segment of the classes only.
CrossEntropyArguments check_cross_entropy(const py::object& logits, const py::object& target,
                                          const py::object& axis,
                                          const py::object& target_probabilities,
                                          const py::object& weight, const py::object& sample_weight,
                                          std::int64_t ignore_index,
                                          std::optional<py::ssize_t> all_classes = std::nullopt);
void check_smoothing(const CrossEntropyOptions& options, const CrossEntropyArguments& a);
void check_cross_entropy_out(const py::array& out, const CrossEntropyArguments& a);

template <class S, class Q>
ops::CrossEntropyProblem<S, Q> cross_entropy_problem(const CrossEntropyArguments& a,
                                                     const CrossEntropyOptions& options,
                                                     const py::array* dlogits) {
  using T = Compute<S>;
  ops::CrossEntropyProblem<S, Q> problem;
  problem.rows =
      row_problem<S, Q>(a.axis, a.logits, a.probabilities ? &*a.probabilities : nullptr, dlogits);
  problem.target = a.target.get();
  problem.points = a.points;
  const auto values = [](const std::optional<py::array>& array) {
    return array ? data_of<T>(*array) : nullptr;
  };
  problem.mass = values(a.mass);
  problem.weight = values(a.weight);
  problem.sample_weight = values(a.sample_weight);
  problem.label_smoothing = options.label_smoothing;
  problem.smoothing = options.smoothing;
  problem.temperature = options.temperature;
  problem.softcap = options.softcap;
  problem.z_loss = options.z_loss;
  problem.reduction = options.reduction;
  return problem;
}

} // namespace softstep::bindings
