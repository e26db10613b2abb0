// The cases that tests/objects/write_driver_cases.py has written: inputs, and what the reference
// expects.
#pragma once

#include "kernels/kernels.hpp"

#include <map>
#include <string>
#include <vector>

namespace softstep::driver {

struct Array {
  std::string type;
  Size rows, cols;
  std::vector<unsigned char> bytes; // in C order
};

// Element by element: |result - values| <= bounds; NaN and infinities must agree.
struct Expectation {
  Size rows, cols;
  std::vector<double> values, bounds;
};

struct Case {
  std::string family, type, title;
  std::map<std::string, double> options;
  std::map<std::string, Array> arrays;
  std::map<std::string, Expectation> expected;

  double option(const std::string& name, double otherwise) const;
  const Array& array(const std::string& name) const;      // throws where it is missing
  const Array* find_array(const std::string& name) const; // null where it is missing
  const Expectation* expects(const std::string& name) const;
};

// Throws std::runtime_error.
std::vector<Case> read_cases(const std::string& path);

} // namespace softstep::driver
