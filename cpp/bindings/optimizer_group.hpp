// The options of groups of parameters as an argument: read by name and checked in one place.
#pragma once

#include "bindings/arrays.hpp"
#include "ops/optimizer.hpp"

namespace softstep::bindings {

ops::Rule rule_of(const py::handle& name);

// The numbers of every group in a step, which Python makes of the dicts of their options. Its
// `kept` are the params that each group had.
struct UpdateGroups {
  ops::Rule rule;
  std::vector<ops::UpdateGroup> groups;
};

void register_update_groups(py::module_& m);

} // namespace softstep::bindings
