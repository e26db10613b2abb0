// A matrix product of NumPy arrays of any strides.
#include "ops/product.hpp"
#include "bindings/arrays.hpp"
#include "bindings/gil.hpp"

#include <pybind11/stl.h>

#include <optional>

namespace softstep::bindings {
namespace {

using Index = std::optional<RowNumbers>;

void require_matrix(const py::array& array, const char* name) {
  if (array.ndim() != 2)
    throw py::value_error(std::string(name) + ": expected 2 dimensions, got " +
                          std::to_string(array.ndim()));
}

// Rows of what is computed, which the kernels read or write a vector at a time.
void require_computed_rows(const py::array& array, const char* name, const py::dtype& dtype) {
  if (!is_native_float(array) || dtype_of(array) != dtype_of(dtype))
    throw py::type_error(std::string(name) + ": expected " + std::string(py::str(dtype)) +
                         ", got " + dtype_text(array));
  if (array.size() > 1 && array.shape(1) > 1 && array.strides(1) != array.itemsize())
    throw py::value_error(std::string(name) + ": expected rows of adjacent elements");
}

// In range, and increasing where rows are written. Returns how many rows are meant.
py::ssize_t check_rows(const Index& index, const char* name, py::ssize_t rows, bool distinct) {
  if (!index)
    return rows;
  if (index->ndim() != 1)
    throw py::value_error(std::string(name) + ": expected an array of one dimension");
  std::int64_t before = -1;
  for (py::ssize_t i = 0; i < index->shape(0); ++i) {
    const std::int64_t row = index->data()[i];
    if (row < 0 || row >= rows || (distinct && row <= before))
      throw py::index_error(std::string(name) + ": expected " + (distinct ? "increasing " : "") +
                            "rows in [0, " + std::to_string(rows) + "), got " +
                            std::to_string(row));
    before = row;
  }
  return index->shape(0);
}

// Lines along axis `axis` of a matrix, the depth along the other; index is of the first axis.
ops::ProductOperand operand_of(const py::array& array, py::ssize_t axis, const Index& index) {
  const py::ssize_t item = array.itemsize();
  ops::ProductOperand operand =
      with_storage(array, [](auto type) { return ops::product_operand<decltype(type)>(); });
  operand.data = array.data();
  operand.line_stride = array.strides(axis) / item;
  operand.depth_stride = array.strides(1 - axis) / item;
  operand.index = index ? index->data() : nullptr;
  operand.indexes_depth = axis == 1;
  return operand;
}

void product(const py::object& out_object, const py::object& left_object,
             const py::object& right_object, const Index& left_rows, const Index& right_rows,
             const Index& out_rows, const py::object& bias_object, bool adds, bool paired,
             bool relu, const py::object& gate_object) {
  const py::array left = as_any_float_input(left_object, "left");
  const py::array right = as_any_float_input(right_object, "right");
  require_matrix(left, "left");
  require_matrix(right, "right");
  const py::dtype dtype = compute_dtype(left);
  if (dtype_of(dtype) != dtype_of(compute_dtype(right)))
    throw py::type_error("right: expected an array that is computed in " +
                         std::string(py::str(dtype)) + ", got " + dtype_text(right));
  const py::ssize_t rows = check_rows(left_rows, "left_rows", left.shape(0), false);
  const py::ssize_t depth = check_rows(right_rows, "right_rows", right.shape(0), false);
  const py::ssize_t cols = right.shape(1);
  if (left.shape(1) != depth)
    throw py::value_error("left: expected " + std::to_string(depth) +
                          " columns, as many as rows "
                          "of right, got " +
                          std::to_string(left.shape(1)));
  const py::array out = as_output(out_object, "out", as_numpy(out_object, "out"));
  require_matrix(out, "out");
  require_computed_rows(out, "out", dtype);
  if (check_rows(out_rows, "out_rows", out.shape(0), true) != rows || out.shape(1) != cols)
    throw py::value_error("out: expected shape " + shape_text({rows, cols}) + ", got " +
                          shape_text(shape_of(out)));
  refuse_overlap(out, "out", left, "left", false);
  refuse_overlap(out, "out", right, "right", false);
  std::optional<py::array> bias;
  if (!bias_object.is_none()) {
    bias = as_compute_input(bias_object, "bias", dtype);
    require_shape(*bias, "bias", {cols});
  }
  std::optional<py::array> gate;
  if (!gate_object.is_none()) {
    gate = as_any_float_input(gate_object, "gate");
    require_shape(*gate, "gate", {rows, cols});
    require_computed_rows(*gate, "gate", dtype);
    refuse_overlap(out, "out", *gate, "gate", false);
  }
  const ops::ProductOperand l = operand_of(left, 0, left_rows),
                            r = operand_of(right, 1, right_rows);
  with_type(out, [&](auto type) {
    using T = decltype(type);
    const auto matrix = [](const py::array& array) {
      return Matrix<T>{data_of<T>(array), array.strides(0) / static_cast<py::ssize_t>(sizeof(T))};
    };
    ops::ProductProblem<T> problem{};
    problem.out = matrix(out);
    problem.out_rows = out_rows ? out_rows->data() : nullptr;
    problem.left = l;
    problem.right = r;
    problem.rows = rows;
    problem.cols = cols;
    problem.depth = depth;
    problem.bias = bias ? data_of<T>(*bias) : nullptr;
    problem.adds = adds;
    problem.relu = relu;
    problem.paired = paired && l.pack_paired && r.pack_paired;
    if (gate) {
      const Matrix<T> given = matrix(*gate);
      problem.gate = {given.data, given.stride};
    }
    const GilReleased unlocked;
    ops::product(problem);
  });
}

} // namespace

void register_product(py::module_& m) {
  m.def(
      "product", &product, py::arg("out"), py::arg("left"), py::arg("right"), py::kw_only(),
      py::arg("left_rows") = py::none(), py::arg("right_rows") = py::none(),
      py::arg("out_rows") = py::none(), py::arg("bias") = py::none(), py::arg("add") = false,
      py::arg("bfloat16") = false, py::arg("relu") = false, py::arg("gate") = py::none(),
      "out[out_rows] = left[left_rows] @ right[right_rows] + bias, or added to out; with bfloat16 "
      "the operands may be rounded to it. Then 0 where that is below 0 (relu), and where gate is "
      "not above 0.");
}

} // namespace softstep::bindings
