// The steps of SGD and AdamW: a list of NumPy arrays with all that is known of it before a step.
#include "ops/optimizer.hpp"
#include "bindings/fastcall.hpp"
#include "bindings/gil.hpp"
#include "bindings/optimizer_group.hpp"
#include "bindings/optimizer_slots.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>

namespace softstep::bindings {
namespace {

using ops::Storage;

// The parameters of an optimizer with all that can be known of them before a step: addresses,
// layouts, overlaps. A step checks that these have not changed, and what is new of the gradients.
class UpdatePlan {
public:
  UpdatePlan(const py::str& rule, const py::list& params, const py::list& states,
             const py::list& masters, const py::array_t<std::int64_t>& counts,
             const std::vector<std::size_t>& groups, bool bfloat16_bits, bool float32_grads)
      : rule_(rule_of(rule)), bfloat16_bits_(bfloat16_bits), float32_grads_(float32_grads),
        counts_(counts), slots_(slots_of(rule_, params, states, masters, groups, bfloat16_bits)),
        written_(written_arrays(slots_)), update_(rule_, tensors_of(slots_)), grads_(slots_.size()),
        copies_(slots_.size()) {
    if (counts.ndim() != 1 || static_cast<std::size_t>(counts.size()) != slots_.size() ||
        (slots_.size() > 0 && counts.strides(0) != sizeof(std::int64_t)) || !counts.writeable() ||
        !is_aligned(counts))
      throw py::value_error("counts: expected a writeable, aligned int64 array, one for each "
                            "parameter");
  }

  ops::Rule rule() const { return rule_; }

  // Whether every group has the states that its options ask for.
  bool has_states(const py::tuple& groups) const {
    std::vector<std::size_t> states;
    for (const py::handle options : groups)
      states.push_back(states_of(rule_, as_group(options)));
    return std::all_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
      return slot.group >= states.size() || slot.has_states(states[slot.group]);
    });
  }

  py::tuple step(const py::list& grads, const UpdateGroups& groups, std::optional<double> max_norm,
                 bool skip_nonfinite, double grad_scale, bool zero_grads,
                 std::optional<std::uint64_t> seed, std::uint64_t step,
                 std::optional<std::pair<double, bool>> norm) {
    if (groups.rule != rule_)
      throw py::value_error("groups: expected numbers of the plan's rule");
    ops::UpdateRequest request{groups.groups, max_norm, skip_nonfinite, grad_scale,
                               zero_grads,    seed,     step,           {}};
    if (norm)
      request.norm = {norm->first, norm->second};
    return run(py::tuple(grads), request);
  }

  // The gradients are held until the end: other threads may change the list that they were in.
  py::tuple run(const py::tuple& grads, const ops::UpdateRequest& request) {
    const Busy busy(busy_);
    require_states(request);
    require_unchanged();
    accept(grads, request.zero_grads);
    std::int64_t* counts = counts_.mutable_data();
    ops::UpdateResult result;
    {
      const GilReleased unlocked;
      result = update_.run(request, counts);
    }
    return py::make_tuple(result.norm, result.skipped);
  }

private:
  struct Busy {
    explicit Busy(std::atomic_flag& flag) : flag_(flag) {
      if (flag_.test_and_set(std::memory_order_acquire))
        throw std::runtime_error("step: another thread is in a step of this optimizer");
    }
    ~Busy() { flag_.clear(std::memory_order_release); }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    std::atomic_flag& flag_;
  };

  void require_states(const ops::UpdateRequest& request) const {
    for (const Slot& slot : slots_) {
      if (slot.group >= request.groups.size())
        throw py::value_error("groups: expected the numbers of each group");
      if (!slot.has_states(request.groups[slot.group].states))
        throw py::value_error("groups: expected the states that their numbers ask for");
    }
  }

  void require_unchanged() const {
    for (std::size_t k = 0; k < slots_.size(); ++k) {
      PyObject* param = slots_[k].arrays[ops::kParam].ptr();
      if (!slots_[k].known.holds(param))
        throw py::value_error(name_of("params", k) +
                              ": has another address, shape or dtype than when the optimizer was "
                              "made");
      if (!Known::writeable(param))
        throw py::value_error(name_of("params", k) +
                              ": expected a writeable array, got a read-only one");
    }
  }

  py::array checked_grad(const py::handle& object, std::size_t k, bool written) const {
    const std::string name = name_of("grads", k);
    const Slot& slot = slots_[k];
    const py::array& param = slot.arrays[ops::kParam];
    refuse_masked(object, name);
    py::array grad = written || (bfloat16_bits_ && slot.storage == Storage::kBFloat16)
                         ? py::reinterpret_borrow<py::array>(object)
                         : as_any_float_input(object, name.c_str());
    const Storage storage = storage_of(grad, name, bfloat16_bits_);
    const bool wide = float32_grads_ && param.itemsize() == 2 && storage == Storage::kFloat32;
    if (storage != slot.storage && !wide)
      throw py::type_error(name + ": expected " + dtype_text(param) + ", got " + dtype_text(grad));
    require_shape(grad, name.c_str(), shape_of(param));
    return written ? as_written(grad, name, shape_of(param)) : grad;
  }

  // Nothing is changed but what is known of the gradients, and that only after every check.
  void accept(const py::tuple& grads, bool zero_grads) {
    const std::size_t count = slots_.size();
    if (grads.size() != count)
      throw py::value_error("grads: expected " + std::to_string(count) +
                            " arrays, one for each parameter, got " + std::to_string(grads.size()));
    std::vector<char> active(count);
    for (std::size_t k = 0; k < count; ++k)
      active[k] = !grads[k].is_none();
    // Of gradients that are written it is also known that no two share memory.
    const bool zero_known = zero_checked_ && active == active_;
    std::vector<std::pair<std::size_t, py::array>> moved, changed;
    for (std::size_t k = 0; k < count; ++k) {
      PyObject* object = grads[k].ptr();
      if (!active[k])
        continue;
      const bool kind = grads_[k].same_kind(object) && !copies_[k];
      if (kind && !zero_grads) {
        if (grads_[k].holds(object))
          continue;
        const auto grad = py::reinterpret_borrow<py::array>(object);
        if (is_aligned(grad)) {
          written_.refuse_overlap(grad, k);
          moved.emplace_back(k, grad);
          continue;
        }
      } else if (kind && zero_known && grads_[k].holds(object) && Known::writeable(object)) {
        continue;
      }
      changed.emplace_back(k, checked_grad(object, k, zero_grads));
      written_.refuse_overlap(changed.back().second, k);
    }
    if (zero_grads && !(moved.empty() && changed.empty() && zero_known))
      refuse_shared_grads(grads);
    struct Layout {
      std::size_t slot;
      Known known;
      ops::UpdateWalk walk;
      Storage storage;
    };
    std::vector<Layout> layouts;
    for (const auto& [k, grad] : changed)
      layouts.push_back({k, Known(grad), walk_of(slots_[k], grad),
                         storage_of(grad, name_of("grads", k), bfloat16_bits_)});
    if (!cut_ || active != active_ || !changed.empty()) {
      cut_ = false; // until everything fits again, should memory run out
      for (Layout& layout : layouts) {
        grads_[layout.slot] = Known();
        update_.tensor(layout.slot).walk = std::move(layout.walk);
        update_.tensor(layout.slot).grad_storage = layout.storage;
      }
      update_.cut(active);
      active_ = std::move(active);
      cut_ = true;
    }
    for (Layout& layout : layouts)
      grads_[layout.slot] = std::move(layout.known);
    for (const auto& [k, grad] : changed)
      copies_[k] = grad.is(grads[k]) ? py::object() : py::object(grad);
    for (const auto& [k, grad] : moved) {
      char* data = Known::data_of(grad.ptr());
      update_.tensor(k).walk.move(ops::kGrad,
                                  reinterpret_cast<std::intptr_t>(data) -
                                      reinterpret_cast<std::intptr_t>(grads_[k].data()));
      grads_[k].move_to(data);
    }
    zero_checked_ = zero_grads;
  }

  void refuse_shared_grads(const py::tuple& grads) const {
    std::vector<NamedArray> arrays;
    for (std::size_t k = 0; k < slots_.size(); ++k)
      if (!grads[k].is_none())
        arrays.push_back({py::reinterpret_borrow<py::array>(grads[k]), "grads", k, true});
    refuse_overlaps(arrays);
  }

  ops::Rule rule_;
  bool bfloat16_bits_;
  bool float32_grads_; // may come with parameters in half precision
  py::array_t<std::int64_t> counts_;
  std::vector<Slot> slots_;
  WrittenMemory written_;
  ops::Update update_;
  std::vector<Known> grads_;       // of the last step
  std::vector<py::object> copies_; // of gradients that cannot be read where they are
  std::vector<char> active_;
  bool cut_ = false, zero_checked_ = false;
  std::atomic_flag busy_;
};

enum StepArgument : std::size_t {
  kPlan,
  kGrads,
  kGroups,
  kKept,
  kStep,
  kLr,
  kMaxNorm,
  kSkipNonfinite,
  kGradScale,
  kZeroGrads,
  kSeed,
  kStepArguments
};
Arguments<kStepArguments>::Names step_names; // with the module

// A step under the options of groups as they are now. None: the plan lacks states that they ask
// for, nothing has been done, and no schedule asked.
py::object step_of(const Arguments<kStepArguments>& given) {
  std::array<py::handle, kStepArguments> of;
  for (std::size_t k = 0; k < kStepArguments; ++k)
    of[k] = given.required(step_names, k);
  const auto given_groups = of[kGroups].cast<py::list>();
  check_params(given_groups, of[kKept].cast<py::list>());
  if (of[kPlan].is_none())
    return py::none();
  auto& plan = of[kPlan].cast<UpdatePlan&>();
  const py::tuple groups(given_groups);
  if (!plan.has_states(groups))
    return py::none();
  ops::UpdateRequest request{};
  request.groups = numbers_of(plan.rule(), groups, of[kStep], of[kLr]);
  if (!of[kMaxNorm].is_none())
    request.max_norm = as_above_zero(of[kMaxNorm], "max_norm", true);
  request.skip_nonfinite = as_flag(of[kSkipNonfinite], "skip_nonfinite");
  request.grad_scale = as_above_zero(of[kGradScale], "grad_scale");
  request.zero_grads = as_flag(of[kZeroGrads], "zero_grads");
  if (!of[kSeed].is_none())
    request.seed = of[kSeed].cast<std::uint64_t>();
  request.step = of[kStep].cast<std::uint64_t>();
  PyObject* given_grads = of[kGrads].ptr();
  if (!Py_TYPE(given_grads)->tp_iter && !PySequence_Check(given_grads))
    throw py::type_error("grads: expected a list of arrays, one for each parameter, got " +
                         type_text(of[kGrads]));
  const auto grads = py::reinterpret_steal<py::tuple>(PySequence_Tuple(given_grads));
  if (!grads)
    throw py::error_already_set();
  return plan.run(grads, request);
}

PyObject* step_fastcall(PyObject*, PyObject* const* values, Py_ssize_t count, PyObject* keywords) {
  return to_python(
      [&] { return step_of(Arguments<kStepArguments>(step_names, values, count, keywords)); });
}

} // namespace

void register_optimizer(py::module_& m) {
  register_update_groups(m);
  step_names =
      interned_names<kStepArguments>({"plan", "grads", "groups", "kept", "step", "lr", "max_norm",
                                      "skip_nonfinite", "grad_scale", "zero_grads", "seed"});
  define(m, "optimizer_step", &step_fastcall, "A step, or None where the plan lacks states.");
  m.def("flag", &as_flag, py::arg("value"), py::arg("name"));
  m.def("number", &as_number, py::arg("value"), py::arg("name"));
  m.def("above_zero", &as_above_zero, py::arg("value"), py::arg("name"),
        py::arg("infinite") = false);
  m.def("check_parameters", &check_parameters, py::arg("params"), py::arg("bfloat16_bits"));
  py::class_<UpdatePlan>(m, "UpdatePlan")
      .def(
          py::init<const py::str&, const py::list&, const py::list&, const py::list&,
                   const py::array_t<std::int64_t>&, const std::vector<std::size_t>&, bool, bool>(),
          py::arg("rule"), py::arg("params"), py::arg("states"), py::arg("masters"),
          py::arg("counts").noconvert(), py::arg("groups"), py::arg("bfloat16_bits"),
          py::arg("float32_grads") = false)
      .def("step", &UpdatePlan::step, py::arg("grads"), py::arg("groups"), py::arg("max_norm"),
           py::arg("skip_nonfinite"), py::arg("grad_scale"), py::arg("zero_grads"), py::arg("seed"),
           py::arg("step"), py::arg("norm") = py::none());
}

} // namespace softstep::bindings
