#include "bindings/optimizer_group.hpp"

#include <cmath>
#include <cstdio>

namespace softstep::bindings {
namespace {

// The keys of the dict: a step looks them up, and strings that are interned are found at once.
struct Key {
  explicit Key(const char* text) : name(text), object(PyUnicode_InternFromString(text)) {}
  const char* name;
  PyObject* object;
};

py::object option(const py::dict& options, const Key& key) {
  PyObject* value = PyDict_GetItemWithError(options.ptr(), key.object);
  if (!value)
    throw py::key_error(std::string("param_groups: a group lacks the option '") + key.name + "'");
  return py::reinterpret_borrow<py::object>(value);
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
  const int truth = PyObject_IsTrue(option(options, key).ptr());
  if (truth < 0)
    throw py::error_already_set();
  return truth != 0;
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
  static const Key kMomentum("momentum"), kDampening("dampening"), kNesterov("nesterov");
  ops::UpdateGroup::Sgd sgd{};
  sgd.momentum = not_negative(options, kMomentum);
  sgd.dampening = as_number(option(options, kDampening), kDampening.name);
  sgd.nesterov = flag(options, kNesterov);
  if (!std::isfinite(sgd.dampening))
    throw py::value_error("dampening: expected a finite number, got " + number_text(sgd.dampening));
  if (sgd.nesterov && (sgd.momentum == 0 || sgd.dampening != 0))
    throw py::value_error("nesterov: expected a momentum above 0 and no dampening, got momentum=" +
                          number_text(sgd.momentum) + ", dampening=" + number_text(sgd.dampening));
  return sgd;
}

ops::UpdateGroup::Adamw adamw_of(const py::dict& options) {
  static const Key kBetas("betas"), kEps("eps"), kAmsgrad("amsgrad");
  const py::object betas = option(options, kBetas);
  const auto items = py::reinterpret_steal<py::object>(PySequence_Fast(betas.ptr(), ""));
  if (!items)
    PyErr_Clear();
  ops::UpdateGroup::Adamw adamw{-1, -1, 0, flag(options, kAmsgrad)};
  if (items && PySequence_Fast_GET_SIZE(items.ptr()) == 2) {
    adamw.beta1 = as_number(PySequence_Fast_GET_ITEM(items.ptr(), 0), kBetas.name);
    adamw.beta2 = as_number(PySequence_Fast_GET_ITEM(items.ptr(), 1), kBetas.name);
  }
  for (const double beta : {adamw.beta1, adamw.beta2})
    if (!(beta >= 0 && beta < 1))
      throw py::value_error("betas: expected two numbers in [0, 1), got " +
                            std::string(py::str(betas)));
  adamw.eps = not_negative(options, kEps);
  return adamw;
}

// The rate and the decay are apart: they are numbers of one step, where the dict may have
// schedules.
UpdateGroup group_of(const py::handle& rule, const py::dict& options, const py::handle& lr,
                     const py::handle& weight_decay) {
  static const Key kDecoupled("decoupled"), kDecayByLr("decay_by_lr"), kMaximize("maximize"),
      kMinDecayNdim("min_decay_ndim");
  UpdateGroup group{rule_of(rule), {}};
  ops::UpdateGroup& numbers = group.numbers;
  numbers.lr = not_negative(lr, "lr");
  numbers.weight_decay = not_negative(weight_decay, "weight_decay");
  numbers.decoupled = flag(options, kDecoupled);
  numbers.decay_by_lr = flag(options, kDecayByLr);
  numbers.maximize = flag(options, kMaximize);
  numbers.min_decay_ndim = as_integer(option(options, kMinDecayNdim), kMinDecayNdim.name);
  check_decay(numbers);
  if (group.rule == ops::Rule::kSgd) {
    numbers.sgd = sgd_of(options);
    numbers.states = numbers.sgd.momentum != 0 ? 1 : 0;
  } else {
    numbers.adamw = adamw_of(options);
    numbers.states = numbers.adamw.amsgrad ? 3 : 2;
  }
  return group;
}

// Every number: ranks compare it.
std::string text_of(const UpdateGroup& group) {
  const ops::UpdateGroup& g = group.numbers;
  std::string text = "UpdateGroup(";
  const auto add = [&](const char* name, double value) {
    text += std::string(name) + "=" + number_text(value) + ", ";
  };
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
  return text + "states=" + std::to_string(g.states) + ")";
}

} // namespace

ops::Rule rule_of(const py::handle& name) {
  const std::string_view text = as_text(name, "rule");
  if (text != "sgd" && text != "adamw")
    throw py::value_error("rule: expected 'sgd' or 'adamw', got '" + std::string(text) + "'");
  return text == "sgd" ? ops::Rule::kSgd : ops::Rule::kAdamw;
}

// Whether the "params" of the groups are the arrays that were kept, each in its place.
bool same_arrays(const py::list& groups, const py::list& kept) {
  static const Key kParams("params");
  if (groups.size() != kept.size())
    return false;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (!py::isinstance<py::dict>(groups[i]))
      return false;
    PyObject* now = PyDict_GetItemWithError(py::object(groups[i]).ptr(), kParams.object);
    const py::list then = kept[i];
    if (!now || !PyList_Check(now) || py::len(now) != then.size())
      return false;
    for (std::size_t k = 0; k < then.size(); ++k)
      if (PyList_GET_ITEM(now, k) != PyList_GET_ITEM(then.ptr(), k))
        return false;
  }
  return true;
}

void register_update_group(py::module_& m) {
  m.def("same_arrays", &same_arrays, py::arg("groups"), py::arg("kept"));
  py::class_<UpdateGroup>(m, "UpdateGroup")
      .def(py::init(&group_of), py::arg("rule"), py::arg("options"), py::arg("lr"),
           py::arg("weight_decay"))
      .def_property_readonly("lr", [](const UpdateGroup& g) { return g.numbers.lr; })
      .def_property_readonly("weight_decay",
                             [](const UpdateGroup& g) { return g.numbers.weight_decay; })
      .def_property_readonly("states", [](const UpdateGroup& g) { return g.numbers.states; })
      .def("__repr__", &text_of);
}

} // namespace softstep::bindings
