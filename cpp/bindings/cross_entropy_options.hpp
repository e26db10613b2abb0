// The options of the cross-entropy as arguments: read and checked in one place.
#pragma once

#include "bindings/arrays.hpp"
#include "kernels/cross_entropy_options.hpp"

#include <array>
#include <cstddef>
#include <span>

namespace softstep::bindings {

Reduction reduction_of(const py::handle& object);

constexpr std::size_t kOptions = [] {
  std::size_t count = 0;
  const CrossEntropyOptions options;
  for_each_option([&](const char*, const auto&) { ++count; }, options);
  return count;
}();

// Arguments in the order of the list; null ones keep their defaults.
CrossEntropyOptions cross_entropy_options(std::span<PyObject* const, kOptions> given);

// From keywords, among which there is nothing else.
CrossEntropyOptions cross_entropy_options(const py::kwargs& keywords);

// Refuses what needs class targets.
void check_targets(const CrossEntropyOptions& options, bool by_class);

double empty_mean(const CrossEntropyOptions& options); // that is returned

} // namespace softstep::bindings
