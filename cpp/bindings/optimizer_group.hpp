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

// How many states the options of a group ask for; no schedule is called.
std::size_t states_of(ops::Rule rule, const py::dict& options);

// The numbers of a step of groups whose "params" must be those that were kept.
std::vector<ops::UpdateGroup> numbers_of(ops::Rule rule, const py::tuple& groups,
                                         const py::handle& step, const py::handle& lr);
void check_params(const py::list& groups, const py::list& kept);
py::dict as_group(const py::handle& options);

void register_update_groups(py::module_& m);

} // namespace softstep::bindings
