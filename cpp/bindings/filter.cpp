// Which classes of a chunk of gradients are not negligible; those moved to the front of their rows.
#include "ops/filter.hpp"
#include "bindings/arrays.hpp"
#include "bindings/gil.hpp"

namespace softstep::bindings {
namespace {

py::array gradients(const py::object& object) {
  const py::array x = as_output(object, "dlogits", as_float_input(object, "dlogits"));
  if (x.ndim() != 2 || (x.shape(1) > 1 && x.strides(1) != x.itemsize()))
    throw py::value_error("dlogits: expected 2 dimensions and rows of adjacent elements");
  return x;
}

py::array_t<std::uint8_t> live_tiles(const py::object& object, const py::array& x) {
  if (!py::isinstance<py::array_t<std::uint8_t>>(object))
    throw py::type_error("live: expected an array of uint8");
  const auto live = py::reinterpret_borrow<py::array_t<std::uint8_t>>(object);
  require_shape(live, "live", {(x.shape(1) + ops::kFilterTile - 1) / ops::kFilterTile});
  if (!(live.flags() & py::array::c_style) || !live.writeable())
    throw py::value_error("live: expected a contiguous, writeable array");
  return live;
}

template <class T> Matrix<T> rows_of(const py::array& x) {
  return {data_of<T>(x), x.strides(0) / static_cast<py::ssize_t>(sizeof(T))};
}

void mark(const py::object& dlogits, const py::object& bounds_object, const py::object& live) {
  const py::array x = gradients(dlogits);
  const py::array bounds = as_compute_input(bounds_object, "bounds", x.dtype());
  require_shape(bounds, "bounds", {x.shape(0)});
  std::uint8_t* tiles = live_tiles(live, x).mutable_data();
  with_type(x, [&](auto type) {
    using T = decltype(type);
    const Matrix<T> rows = rows_of<T>(x);
    const T* bound = data_of<T>(bounds);
    const py::ssize_t count = x.shape(0), cols = x.shape(1);
    const GilReleased unlocked;
    ops::filter_mark<T>({rows.data, rows.stride}, bound, count, cols, tiles);
  });
}

void compact(const py::object& dlogits, const py::object& live) {
  const py::array x = gradients(dlogits);
  const std::uint8_t* tiles = live_tiles(live, x).data();
  with_type(x, [&](auto type) {
    const auto rows = rows_of<decltype(type)>(x);
    const py::ssize_t count = x.shape(0), cols = x.shape(1);
    const GilReleased unlocked;
    ops::filter_compact(rows, count, cols, tiles);
  });
}

} // namespace

void register_filter(py::module_& m) {
  m.attr("FILTER_TILE") = py::int_(ops::kFilterTile);
  m.def("filter_mark", &mark, py::arg("dlogits"), py::arg("bounds"), py::arg("live"),
        "live[i] = 1 where a row of tile i of the classes is beyond its bound.");
  m.def("filter_compact", &compact, py::arg("dlogits"), py::arg("live"),
        "Moves the live tiles of each row to its beginning.");
}

} // namespace softstep::bindings
