// The options of a group of parameters as an argument: read by name and checked in one place.
#pragma once

#include "bindings/arrays.hpp"
#include "ops/optimizer.hpp"

namespace softstep::bindings {

ops::Rule rule_of(const py::handle& name);

// A group's numbers in a step, which Python makes of the dict of its options.
struct UpdateGroup {
  ops::Rule rule;
  ops::UpdateGroup numbers;
};

void register_update_group(py::module_& m);

} // namespace softstep::bindings
