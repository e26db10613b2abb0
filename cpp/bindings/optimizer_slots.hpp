// A parameter with its states and its master copy, checked once.
#pragma once

#include "bindings/optimizer_arrays.hpp"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

namespace softstep::bindings {

struct Slot {
  py::array arrays[ops::kRoles]; // the gradient's is not used
  bool has[ops::kRoles];
  ops::Storage storage, state_storage;
  std::size_t group;
  Known known; // of the parameter

  bool has_states(std::size_t count) const {
    return std::all_of(has + ops::kState, has + ops::kState + count, std::identity{});
  }
};

// Refuses what no step could update.
void check_parameters(const py::list& params, bool bfloat16_bits);

// A list of arrays for each state of the rule, None where a parameter lacks it; masters likewise.
std::vector<Slot> slots_of(ops::Rule rule, const py::list& params, const py::list& states,
                           const py::list& masters, const std::vector<std::size_t>& groups,
                           bool bfloat16_bits);

std::vector<NamedArray> written_arrays(const std::vector<Slot>& slots);
std::vector<ops::UpdateTensor> tensors_of(const std::vector<Slot>& slots);
ops::UpdateWalk walk_of(const Slot& slot, const py::array& grad);

} // namespace softstep::bindings
