#include "bindings/cross_entropy_options.hpp"

#include <cmath>
#include <limits>
#include <span>
#include <string_view>

namespace softstep::bindings {
namespace {

// In the order of their numbers.
template <class Choice> struct NamesOf;
template <> struct NamesOf<Reduction> {
  static constexpr const char* names[] = {"none", "sum", "mean"};
};
template <> struct NamesOf<Smoothing> {
  static constexpr const char* names[] = {"uniform", "exclude_target", "allowed"};
};
template <> struct NamesOf<Empty> {
  static constexpr const char* names[] = {"nan", "zero", "raise"};
};

std::string quoted(std::span<const char* const> names) {
  std::string text;
  for (std::size_t k = 0; k < names.size(); ++k)
    text += (k == 0 ? "'" : k + 1 < names.size() ? ", '" : " or '") + std::string(names[k]) + "'";
  return text;
}

template <class Choice> Choice choice_of(const py::handle& object, const char* name) {
  constexpr auto& names = NamesOf<Choice>::names;
  const std::string_view text = as_text(object, name);
  for (std::size_t k = 0; k < std::size(names); ++k)
    if (text == names[k])
      return static_cast<Choice>(k);
  throw py::value_error(std::string(name) + ": expected " + quoted(names) + ", got '" +
                        std::string(text) + "'");
}

bool is(const char* name, const char* other) { return std::string_view(name) == other; }

// Most calls leave most options as they are: these are told at a glance.
struct Reader {
  PyObject* const* next;

  static bool has(const py::handle& object, double value) {
    return PyFloat_CheckExact(object.ptr()) && PyFloat_AS_DOUBLE(object.ptr()) == value;
  }
  void operator()(const char* name, double& option) {
    const py::handle object = *next++;
    const bool may_be_none = is(name, "softcap") || is(name, "denominator"); // 0 stands for None
    if (!object || (may_be_none && object.is_none()) || (!may_be_none && has(object, option)))
      return;
    option = is(name, "temperature") ? as_temperature(object) : as_number(object, name);
    check(name, option);
  }
  void operator()(const char* name, std::int64_t& option) {
    if (const py::handle object = *next++)
      option = as_integer(object, name);
  }
  template <class Choice> void operator()(const char* name, Choice& option) {
    if (const py::handle object = *next++)
      option = choice_of<Choice>(object, name);
  }

  // The defaults need no check: 0 is no softcap and no denominator.
  static void check(const char* name, double value) {
    const auto require = [&](bool holds, const char* expected) {
      if (!holds)
        throw py::value_error(std::string(name) + ": expected " + expected + ", got " +
                              number_text(value));
    };
    if (is(name, "label_smoothing"))
      require(value >= 0 && value <= 1, "a number in [0, 1]");
    else if (is(name, "z_loss") || is(name, "gamma"))
      require(value >= 0 && !std::isinf(value), "a finite number of at least 0");
    else if (is(name, "denominator"))
      require(value > 0 && !std::isinf(value), "a finite number above 0");
    else if (is(name, "softcap")) // beyond these, float32 cannot hold the quotient
      require(value >= 1e-30 && value <= 1e30,
              "a finite number above 0 (in [1e-30, 1e30]) or None");
  }
};

} // namespace

Reduction reduction_of(const py::handle& object) {
  return choice_of<Reduction>(object, "reduction");
}

CrossEntropyOptions cross_entropy_options(std::span<PyObject* const, kOptions> given) {
  CrossEntropyOptions options;
  for_each_option(Reader{given.data()}, options);
  if (options.denominator != 0 && options.reduction != Reduction::kMean)
    throw py::value_error("denominator: only reduction='mean' divides by one");
  return options;
}

CrossEntropyOptions cross_entropy_options(const py::kwargs& keywords) {
  std::array<PyObject*, kOptions> given{};
  std::size_t count = 0, used = 0;
  const CrossEntropyOptions names;
  for_each_option(
      [&](const char* name, const auto&) {
        given[count] = PyDict_GetItemString(keywords.ptr(), name);
        used += given[count++] != nullptr;
      },
      names);
  if (used != keywords.size())
    throw py::type_error("options: expected those of the cross-entropy, got " +
                         std::string(py::str(py::list(keywords))));
  return cross_entropy_options(given);
}

void check_targets(const CrossEntropyOptions& options, bool by_class) {
  if (options.smoothing == Smoothing::kExcludeTarget && !by_class)
    throw py::value_error("smoothing: 'exclude_target' needs class targets");
  if (options.gamma != 0 && !by_class)
    throw py::value_error("gamma: the focal loss needs class targets");
}

double empty_mean(const CrossEntropyOptions& options) {
  return options.empty == Empty::kZero ? 0 : std::numeric_limits<double>::quiet_NaN();
}

} // namespace softstep::bindings
