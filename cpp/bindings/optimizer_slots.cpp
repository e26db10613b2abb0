#include "bindings/optimizer_slots.hpp"

#include <string>

namespace softstep::bindings {
namespace {

using ops::Storage;

const char* const kStateNames[ops::kMostStates] = {"states[0]", "states[1]", "states[2]"};

void set(Slot& slot, std::size_t role, py::array array) {
  slot.arrays[role] = std::move(array);
  slot.has[role] = true;
}

std::vector<py::ssize_t> shape_of_param(const Slot& slot) {
  return shape_of(slot.arrays[ops::kParam]);
}

py::object item_of(const py::handle& list, const char* name, std::size_t k, std::size_t expected) {
  if (!py::isinstance<py::list>(list) || py::len(list) != expected)
    throw py::value_error(std::string(name) + ": expected a list with one array for each of " +
                          std::to_string(expected) + " parameters");
  return py::reinterpret_borrow<py::list>(list)[k];
}

void set_param(Slot& slot, const py::handle& object, std::size_t k, bool bfloat16_bits) {
  const std::string name = name_of("params", k);
  slot.storage = storage_of(object, name, bfloat16_bits);
  const auto array = py::reinterpret_borrow<py::array>(object);
  set(slot, ops::kParam, as_written(object, name, shape_of(array)));
  slot.known = Known(slot.arrays[ops::kParam]);
}

void set_state(Slot& slot, std::size_t j, const py::object& object, std::size_t k) {
  const std::string name = name_of(kStateNames[j], k);
  const Storage storage = storage_of(object, name, true);
  const Storage wide = slot.storage == Storage::kFloat64 ? Storage::kFloat64 : Storage::kFloat32;
  if (storage != wide && !(j == 0 && wide == Storage::kFloat32 && storage == Storage::kBFloat16))
    throw py::type_error(name +
                         ": expected the dtype of the arithmetic, or uint16 for bfloat16, got " +
                         dtype_text(py::reinterpret_borrow<py::array>(object)));
  set(slot, ops::kState + j, as_written(object, name, shape_of_param(slot)));
  if (j == 0)
    slot.state_storage = storage;
}

void set_master(Slot& slot, const py::object& object, std::size_t k) {
  const std::string name = name_of("masters", k);
  if (slot.arrays[ops::kParam].itemsize() != 2 ||
      storage_of(object, name, false) != Storage::kFloat32)
    throw py::type_error(name + ": expected float32 for a half-precision parameter");
  set(slot, ops::kMaster, as_written(object, name, shape_of_param(slot)));
}

std::vector<Slot> slots_of_params(const py::list& params, bool bfloat16_bits) {
  std::vector<Slot> slots(params.size());
  for (std::size_t k = 0; k < slots.size(); ++k)
    set_param(slots[k], params[k], k, bfloat16_bits);
  return slots;
}

} // namespace

void check_parameters(const py::list& params, bool bfloat16_bits) {
  refuse_overlaps(written_arrays(slots_of_params(params, bfloat16_bits)));
}

std::vector<Slot> slots_of(ops::Rule rule, const py::list& params, const py::list& states,
                           const py::list& masters, const std::vector<std::size_t>& groups,
                           bool bfloat16_bits) {
  if (groups.size() != params.size())
    throw py::value_error("groups: expected one number for each parameter");
  const std::size_t most = rule == ops::Rule::kAdamw ? ops::kMostStates : 1;
  if (states.size() > most)
    throw py::value_error("states: expected at most " + std::to_string(most) + " lists");
  std::vector<Slot> slots = slots_of_params(params, bfloat16_bits);
  for (std::size_t k = 0; k < slots.size(); ++k)
    slots[k].group = groups[k];
  for (std::size_t j = 0; j < states.size(); ++j)
    for (std::size_t k = 0; k < slots.size(); ++k)
      if (const py::object state = item_of(states[j], kStateNames[j], k, slots.size());
          !state.is_none())
        set_state(slots[k], j, state, k);
  for (std::size_t k = 0; masters.size() > 0 && k < slots.size(); ++k)
    if (const py::object master = item_of(masters, "masters", k, slots.size()); !master.is_none())
      set_master(slots[k], master, k);
  return slots;
}

std::vector<NamedArray> written_arrays(const std::vector<Slot>& slots) {
  const char* const names[] = {"params",       "",       kStateNames[0], kStateNames[1],
                               kStateNames[2], "masters"};
  std::vector<NamedArray> arrays;
  for (std::size_t role = 0; role < ops::kRoles; ++role)
    for (std::size_t k = 0; k < slots.size(); ++k)
      if (slots[k].has[role])
        arrays.push_back({slots[k].arrays[role], names[role], k, true});
  return arrays;
}

std::vector<ops::UpdateTensor> tensors_of(const std::vector<Slot>& slots) {
  std::vector<ops::UpdateTensor> tensors;
  for (const Slot& slot : slots)
    tensors.push_back({{},
                       slot.storage,
                       slot.storage,
                       slot.state_storage,
                       slot.has[ops::kMaster],
                       slot.group,
                       slot.arrays[ops::kParam].ndim()});
  return tensors;
}

ops::UpdateWalk walk_of(const Slot& slot, const py::array& grad) {
  ops::UpdateWalk::Pointers data{};
  ops::UpdateWalk::Strides items{};
  const auto array_of = [&](std::size_t role) -> const py::array* {
    if (role == ops::kGrad)
      return &grad;
    return slot.has[role] ? &slot.arrays[role] : nullptr;
  };
  for (std::size_t role = 0; role < ops::kRoles; ++role)
    if (const py::array* array = array_of(role)) {
      data[role] = static_cast<char*>(const_cast<void*>(array->data()));
      items[role] = array->itemsize();
    }
  ops::UpdateWalk walk(data, items);
  for (py::ssize_t d = 0; d < grad.ndim(); ++d) {
    ops::UpdateWalk::Strides strides{};
    for (std::size_t role = 0; role < ops::kRoles; ++role)
      if (const py::array* array = array_of(role))
        strides[role] = array->strides(d);
    walk.add_dimension(grad.shape(d), strides);
  }
  walk.coalesce();
  return walk;
}

} // namespace softstep::bindings
