#include "bindings/optimizer_group.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

namespace softstep::bindings {
namespace {

// The keys of the dict: a step looks them up, and strings that are interned are found at once.
struct Key {
  explicit Key(const char* text) : name(text), object(PyUnicode_InternFromString(text)) {}
  const char* name;
  PyObject* object;
};
struct Keys {
  Key params{"params"};
  Key lr{"lr"}, weight_decay{"weight_decay"}, decoupled{"decoupled"}, decay_by_lr{"decay_by_lr"},
      maximize{"maximize"}, min_decay_ndim{"min_decay_ndim"};
  Key momentum{"momentum"}, dampening{"dampening"}, nesterov{"nesterov"};
  Key betas{"betas"}, eps{"eps"}, amsgrad{"amsgrad"};
};
const Keys* keys = nullptr; // made with the module

// Null where there is none.
py::object item(const py::dict& options, const Key& key) {
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* value = nullptr;
  PyDict_GetItemRef(options.ptr(), key.object, &value);
#else
  PyObject* value = PyDict_GetItemWithError(options.ptr(), key.object);
  Py_XINCREF(value);
#endif
  if (!value && PyErr_Occurred())
    throw py::error_already_set();
  return py::reinterpret_steal<py::object>(value);
}

py::object option(const py::dict& options, const Key& key) {
  py::object value = item(options, key);
  if (!value)
    throw py::key_error(std::string("param_groups: a group lacks the option '") + key.name + "'");
  return value;
}

double not_negative(const py::handle& object, const char* name) {
  const double value = as_number(object, name);
  if (!(value >= 0 && std::isfinite(value)))
    throw py::value_error(std::string(name) + ": expected a finite number of at least 0, got " +
                          number_text(value));
  return value;
}

double not_negative(const py::dict& options, const Key& key) {
  return not_negative(option(options, key), key.name);
}

bool flag(const py::dict& options, const Key& key) {
  return as_flag(option(options, key), key.name);
}

std::string short_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

void check_decay(const ops::UpdateGroup& group) {
  const double lr = group.lr, decay = group.weight_decay;
  if (!group.decoupled && !group.decay_by_lr)
    throw py::value_error(
        "decay_by_lr: False needs decoupled=True: coupled decay follows the rate");
  if (group.decay_by_lr && lr * decay >= 1)
    throw py::value_error(
        "lr * weight_decay: the decay factor 1 - lr * weight_decay must stay in (0, 1), got 1 - " +
        number_text(lr) + " * " + number_text(decay) + " = " + short_text(1 - lr * decay) +
        ". The weight_decay of a penalty lam * ||w||**2 is 2 * lam, as in PyTorch");
  if (!group.decay_by_lr && decay >= 1)
    throw py::value_error(
        "weight_decay: the decay factor 1 - weight_decay must stay in (0, 1), got 1 - " +
        number_text(decay) + " = " + short_text(1 - decay));
}

ops::UpdateGroup::Sgd sgd_of(const py::dict& options) {
  ops::UpdateGroup::Sgd sgd{};
  sgd.momentum = not_negative(options, keys->momentum);
  sgd.dampening = as_number(option(options, keys->dampening), keys->dampening.name);
  sgd.nesterov = flag(options, keys->nesterov);
  if (!std::isfinite(sgd.dampening))
    throw py::value_error("dampening: expected a finite number, got " + number_text(sgd.dampening));
  if (sgd.nesterov && (sgd.momentum == 0 || sgd.dampening != 0))
    throw py::value_error("nesterov: expected a momentum above 0 and no dampening, got momentum=" +
                          number_text(sgd.momentum) + ", dampening=" + number_text(sgd.dampening));
  return sgd;
}

ops::UpdateGroup::Adamw adamw_of(const py::dict& options) {
  const py::object betas = option(options, keys->betas);
  const auto items = py::reinterpret_steal<py::object>(PySequence_Tuple(betas.ptr()));
  if (!items)
    PyErr_Clear();
  ops::UpdateGroup::Adamw adamw{-1, -1, 0, flag(options, keys->amsgrad)};
  if (items && PyTuple_GET_SIZE(items.ptr()) == 2) {
    adamw.beta1 = as_number(PyTuple_GET_ITEM(items.ptr(), 0), keys->betas.name);
    adamw.beta2 = as_number(PyTuple_GET_ITEM(items.ptr(), 1), keys->betas.name);
  }
  for (const double beta : {adamw.beta1, adamw.beta2})
    if (!(beta >= 0 && beta < 1))
      throw py::value_error("betas: expected two numbers in [0, 1), got " +
                            std::string(py::str(betas)));
  adamw.eps = not_negative(options, keys->eps);
  return adamw;
}

// The number of this step; None asks no schedule, and takes 0 for it.
double at_step(const py::handle& value, const char* name, const py::handle& step) {
  if (!PyCallable_Check(value.ptr()))
    return not_negative(value, name);
  return step.is_none() ? 0 : not_negative(value(step), name);
}

ops::UpdateGroup group_of(ops::Rule rule, const py::dict& options, const py::handle& step,
                          const py::handle& lr) {
  ops::UpdateGroup group{};
  group.lr = at_step(lr.is_none() ? option(options, keys->lr) : lr, keys->lr.name, step);
  group.weight_decay = at_step(option(options, keys->weight_decay), keys->weight_decay.name, step);
  group.decoupled = flag(options, keys->decoupled);
  group.decay_by_lr = flag(options, keys->decay_by_lr);
  group.maximize = flag(options, keys->maximize);
  group.min_decay_ndim =
      as_integer(option(options, keys->min_decay_ndim), keys->min_decay_ndim.name);
  check_decay(group);
  if (rule == ops::Rule::kSgd)
    group.sgd = sgd_of(options);
  else
    group.adamw = adamw_of(options);
  group.states = states_of(rule, options);
  return group;
}

// Whether the "params" of a group are the arrays that were kept, each in its place.
bool same_arrays(const py::dict& group, const py::list& kept) {
  const py::object now = item(group, keys->params);
  if (!now || !py::isinstance<py::list>(now))
    return false;
  const py::tuple items(now), kept_items(kept);
  return std::equal(items.begin(), items.end(), kept_items.begin(), kept_items.end(),
                    [](const py::handle& a, const py::handle& b) { return a.is(b); });
}

} // namespace

void check_params(const py::list& given_groups, const py::list& given_kept) {
  const py::tuple groups(given_groups), kept(given_kept);
  bool same = groups.size() == kept.size();
  for (std::size_t i = 0; same && i < groups.size(); ++i)
    same = py::isinstance<py::dict>(groups[i]) && py::isinstance<py::list>(kept[i]) &&
           same_arrays(py::reinterpret_borrow<py::dict>(groups[i]),
                       py::reinterpret_borrow<py::list>(kept[i]));
  if (!same)
    throw py::value_error(
        "param_groups: expected the groups and their params as the optimizer was made with them, "
        "in their order; options may change, for other params make another optimizer");
}

py::dict as_group(const py::handle& options) {
  if (!py::isinstance<py::dict>(options))
    throw py::type_error("groups: expected a list of dicts");
  return py::reinterpret_borrow<py::dict>(options);
}

std::size_t states_of(ops::Rule rule, const py::dict& options) {
  if (rule == ops::Rule::kSgd)
    return not_negative(options, keys->momentum) != 0 ? 1 : 0;
  return flag(options, keys->amsgrad) ? 3 : 2;
}

std::vector<ops::UpdateGroup> numbers_of(ops::Rule rule, const py::tuple& groups,
                                         const py::handle& step, const py::handle& lr) {
  std::vector<ops::UpdateGroup> numbers;
  numbers.reserve(groups.size());
  for (const py::handle options : groups)
    numbers.push_back(group_of(rule, as_group(options), step, lr));
  return numbers;
}

namespace {

UpdateGroups groups_of(const py::handle& name, const py::list& groups, const py::handle& step,
                       const py::handle& lr, const std::optional<py::list>& kept) {
  if (kept)
    check_params(groups, *kept);
  const ops::Rule rule = rule_of(name);
  return {rule, numbers_of(rule, py::tuple(groups), step, lr)};
}

// Every number: ranks compare it.
std::string text_of(const UpdateGroups& numbers) {
  std::string text;
  const auto add = [&](const char* name, double value) {
    text += std::string(name) + "=" + number_text(value) + ", ";
  };
  for (const ops::UpdateGroup& g : numbers.groups) {
    text += text.empty() ? "UpdateGroups({" : "}, {";
    add("lr", g.lr);
    add("weight_decay", g.weight_decay);
    add("decoupled", g.decoupled);
    add("decay_by_lr", g.decay_by_lr);
    add("maximize", g.maximize);
    add("min_decay_ndim", static_cast<double>(g.min_decay_ndim));
    add("momentum", g.sgd.momentum);
    add("dampening", g.sgd.dampening);
    add("nesterov", g.sgd.nesterov);
    add("beta1", g.adamw.beta1);
    add("beta2", g.adamw.beta2);
    add("eps", g.adamw.eps);
    text += "states=" + std::to_string(g.states);
  }
  return text + "})";
}

template <class T> py::list list_of(const UpdateGroups& numbers, T ops::UpdateGroup::* member) {
  py::list list(numbers.groups.size());
  for (std::size_t i = 0; i < numbers.groups.size(); ++i)
    list[i] = py::cast(numbers.groups[i].*member);
  return list;
}

} // namespace

ops::Rule rule_of(const py::handle& name) {
  const std::string_view text = as_text(name, "rule");
  if (text != "sgd" && text != "adamw")
    throw py::value_error("rule: expected 'sgd' or 'adamw', got '" + std::string(text) + "'");
  return text == "sgd" ? ops::Rule::kSgd : ops::Rule::kAdamw;
}

void register_update_groups(py::module_& m) {
  keys = new Keys;
  m.def("check_params", &check_params, py::arg("groups"), py::arg("kept"));
  py::class_<UpdateGroups>(m, "UpdateGroups")
      .def(py::init(&groups_of), py::arg("rule"), py::arg("groups"), py::arg("step") = py::none(),
           py::arg("lr") = py::none(), py::arg("kept") = py::none())
      .def_property_readonly(
          "lr", [](const UpdateGroups& g) { return list_of(g, &ops::UpdateGroup::lr); })
      .def_property_readonly(
          "weight_decay",
          [](const UpdateGroups& g) { return list_of(g, &ops::UpdateGroup::weight_decay); })
      .def_property_readonly(
          "states", [](const UpdateGroups& g) { return list_of(g, &ops::UpdateGroup::states); })
      .def("__repr__", &text_of);
}

} // namespace softstep::bindings
