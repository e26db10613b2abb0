#include "ops/product.hpp"
#include "runners.hpp"

#include <numeric>
#include <vector>

namespace softstep::driver {
namespace {

template <class S>
ops::ProductOperand operand(const Placed<S>& matrix, Shape shape, bool lines_are_rows) {
  ops::ProductOperand result = ops::product_operand<S>();
  const Size stride = matrix.input().stride;
  result.data = matrix.data();
  result.line_stride = (shape == kRowShape) == lines_are_rows ? stride : 1;
  result.depth_stride = (shape == kRowShape) == lines_are_rows ? 1 : stride;
  return result;
}

} // namespace

// By the whole operation: the packing too reads nothing beside the operands. Left rows by their
// numbers are always packed.
void run_product(const Case& of, Report& report) {
  const Array &left = of.array("left"), &right = of.array("right"), &before = of.array("before");
  with_storage(of.type, [&]<class S>(S) {
    using T = Compute<S>;
    std::vector<std::int64_t> numbers(static_cast<std::size_t>(left.rows));
    std::iota(numbers.begin(), numbers.end(), 0);
    for (const bool numbered : {false, true})
      for (const Shape a : {kRowShape, kLaneShape})
        for (const Shape b : {kRowShape, kLaneShape}) {
          report.variant(std::string(a == kRowShape ? "rows" : "columns") + " by " +
                         (b == kRowShape ? "rows" : "columns") + (numbered ? ", numbered" : ""));
          const Placed<S> x(left, {a, 3}), y(right, {b, 5});
          const Placed<T> c(left.rows, right.cols, {kRowShape, 2}), sum(before, {kRowShape, 2});
          ops::ProductProblem<T> problem{};
          problem.out = c.matrix();
          problem.left = operand(x, a, true);
          problem.left.index = numbered ? numbers.data() : nullptr;
          problem.right = operand(y, b, false);
          problem.rows = left.rows;
          problem.cols = right.cols;
          problem.depth = left.cols;
          problem.paired = std::is_same_v<S, BFloat16>;
          ops::product(problem);
          report.compare("product", c);
          problem.out = sum.matrix();
          problem.adds = true;
          ops::product(problem);
          report.compare("sum", sum);
          const Placed<T> gate(before, {kRowShape, 1});
          problem.out = c.matrix();
          problem.adds = false;
          problem.relu = true;
          problem.gate = gate.input();
          ops::product(problem);
          report.compare("gated", c);
        }
  });
}

} // namespace softstep::driver
