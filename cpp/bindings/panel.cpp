// Rows of a NumPy array copied into a panel, and a panel added to rows; widened on the way.
#include "ops/panel.hpp"
#include "bindings/arrays.hpp"
#include "bindings/gil.hpp"

#include <pybind11/stl.h>

#include <optional>

namespace softstep::bindings {
namespace {

// Two dimensions, elements of a row adjacent; never copied.
void require_rows(const py::array& array, const char* name) {
  if (array.ndim() != 2)
    throw py::value_error(std::string(name) + ": expected 2 dimensions, got " +
                          std::to_string(array.ndim()));
  if (array.shape(1) > 1 && array.strides(1) != array.itemsize())
    throw py::value_error(std::string(name) + ": expected rows of adjacent elements");
}

py::array panel_target(const py::object& object, const py::array& source) {
  // The shape is the target's own: an array of it without memory.
  static const double kNothing = 0;
  const auto shape = shape_of(as_numpy(object, "to"));
  const std::vector<py::ssize_t> strides(shape.size(), 0);
  const py::array like(compute_dtype(source), shape, strides, &kNothing, py::none());
  py::array to = as_output(object, "to", like);
  require_rows(to, "to");
  refuse_overlap(to, "to", source, "source", false);
  return to;
}

using Index = std::optional<RowNumbers>;

// The rows that an index picks: in range, and distinct where they are written.
const std::int64_t* checked_index(const Index& index, py::ssize_t rows, py::ssize_t limit,
                                  bool distinct) {
  if (!index)
    return nullptr;
  require_shape(*index, "index", {rows});
  std::int64_t before = -1;
  for (py::ssize_t i = 0; i < rows; ++i) {
    const std::int64_t picked = index->data()[i];
    if (picked < 0 || picked >= limit || (distinct && picked <= before))
      throw py::index_error("index: expected " + std::string(distinct ? "increasing " : "") +
                            "rows in [0, " + std::to_string(limit) + "), got " +
                            std::to_string(picked));
    before = picked;
  }
  return index->data();
}

template <class S>
ops::PanelProblem<S> problem_of(const py::array& to, const py::array& source,
                                const std::int64_t* index, py::ssize_t rows) {
  using T = Compute<S>;
  return {{data_of<T>(to), to.strides(0) / static_cast<py::ssize_t>(sizeof(T))},
          {data_of<S>(source), source.strides(0) / static_cast<py::ssize_t>(sizeof(S))},
          index,
          rows,
          to.shape(1)};
}

void run(const py::object& to_object, const py::object& source_object, const Index& index,
         bool adds) {
  const py::array source = as_any_float_input(source_object, "source");
  require_rows(source, "source");
  const py::array to = panel_target(to_object, source);
  const py::array& counted = adds ? source : to;
  const py::array& picked = adds ? to : source;
  const py::ssize_t rows = counted.shape(0);
  const std::int64_t* at = checked_index(index, rows, picked.shape(0), adds);
  if (source.shape(1) != to.shape(1) || (!at && source.shape(0) != to.shape(0)))
    throw py::value_error("source: expected the shape of to, got " + shape_text(shape_of(source)));
  with_storage(source, [&](auto type) {
    using S = decltype(type);
    const auto problem = problem_of<S>(to, source, at, rows);
    const GilReleased unlocked;
    adds ? ops::panel_add(problem) : ops::panel_copy(problem);
  });
}

} // namespace

void register_panel(py::module_& m) {
  m.def(
      "panel_copy",
      [](const py::object& to, const py::object& source, const Index& index) {
        run(to, source, index, false);
      },
      py::arg("to"), py::arg("source"), py::arg("index"), "to[i] = source[index[i]], widened.");
  m.def(
      "panel_add",
      [](const py::object& to, const py::object& source, const Index& index) {
        run(to, source, index, true);
      },
      py::arg("to"), py::arg("source"), py::arg("index"), "to[index[i]] += source[i], widened.");
}

} // namespace softstep::bindings
