#include "ops/product_direct.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/product_cuts.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>

namespace softstep::ops {
namespace {

// Measured, docs/design/0012-products.md.
constexpr Size kSmallBytes = 256 << 10;    // both operands stay in a second-level cache
constexpr Size kFewRowsBytes = 1024 << 10; // a right operand that is read once or twice as it lies
constexpr Size kFewCols = 128;             // a left operand that is read a few times, by rows,
constexpr Size kFewColsBytes = 512 << 10;  // with a right one that is packed

template <class T> Size bytes(Size lines, Size depth) {
  return lines * depth * static_cast<Size>(sizeof(T));
}

template <class T> bool is_small(const ProductProblem<T>& p) {
  return bytes<T>(p.rows + p.cols, p.depth) <= kSmallBytes;
}

// Whether whole panels of the right operand are read as they lie: its columns are adjacent, and
// it is small or read once or twice.
template <class T> bool reads_right(const ProductProblem<T>& p) {
  if (!p.right.as_computed || p.right.line_stride != 1 || p.right.index)
    return false;
  const Size few = 2 * dispatch::active_for<T>().product->tile.rows;
  return is_small(p) || (p.rows <= few && bytes<T>(p.cols, p.depth) <= kFewRowsBytes);
}

template <class T> class DirectProduct {
public:
  explicit DirectProduct(const ProductProblem<T>& problem)
      : p_(problem), kernels_(*dispatch::active_for<T>().product), tile_(kernels_.tile),
        as_it_lies_(reads_right(problem) ? problem.cols / tile_.cols * tile_.cols : 0),
        packed_(as_it_lies_ < problem.cols ? pack() : nullptr) {}

  void run() const {
    const bool by_rows = p_.rows >= p_.cols;
    const Size lines = by_rows ? p_.rows : p_.cols;
    const Size block = up(parts(lines, kLeastBlocks), by_rows ? tile_.rows : tile_.cols);
    const double cost = multiply_cost_ns(p_.rows, p_.cols, p_.depth);
    parallel::for_each_block(parts(lines, block), cost, [&](std::int64_t at, int) {
      const Size begin = at * block, end = std::min(begin + block, lines);
      if (by_rows)
        multiply({begin, end}, {0, p_.cols});
      else
        multiply({0, p_.rows}, {begin, end});
    });
  }

private:
  const ProductProblem<T>& p_;
  const ProductKernels<T>& kernels_;
  const ProductTile tile_;
  const Size as_it_lies_; // columns of the right operand; the others are packed
  const Scratch packed_;

  Scratch pack() const {
    const Size lines = p_.cols - as_it_lies_, panel = tile_.cols * p_.depth;
    Scratch packed =
        scratch(static_cast<std::size_t>(parts(lines, tile_.cols) * panel) * sizeof(T));
    T* panels = reinterpret_cast<T*>(packed.get());
    const Size group = up(parts(lines, kLeastBlocks), tile_.cols);
    const double cost = static_cast<double>(lines) * static_cast<double>(p_.depth);
    parallel::for_each_block(parts(lines, group), cost, [&](std::int64_t at, int) {
      const Size line = at * group;
      const PanelPart part = {as_it_lies_ + line,
                              std::min(group, lines - line),
                              0,
                              p_.depth,
                              p_.depth,
                              tile_.cols,
                              false};
      p_.right.pack(p_.right, part, panels + line / tile_.cols * panel,
                    scratch(pack_scratch(part)).get());
    });
    return packed;
  }

  void multiply(Range rows, Range cols) const {
    const T* right = static_cast<const T*>(p_.right.data);
    put(rows, {cols.begin, std::min(cols.end, as_it_lies_)}, right + cols.begin, tile_.cols,
        p_.right.depth_stride);
    const Size first = std::max(cols.begin, as_it_lies_);
    const T* panels = reinterpret_cast<const T*>(packed_.get());
    put(rows, {first, cols.end}, panels + (first - as_it_lies_) * p_.depth, tile_.cols * p_.depth,
        tile_.cols);
  }

  void put(Range rows, Range cols, const T* right, Size right_panel, Size right_step) const {
    if (cols.begin >= cols.end)
      return;
    DirectProductTask<T> task{};
    task.left = static_cast<const T*>(p_.left.data) + rows.begin * p_.left.line_stride;
    task.left_row = p_.left.line_stride;
    task.left_step = p_.left.depth_stride;
    task.right = right;
    task.right_panel = right_panel;
    task.right_step = right_step;
    const Size most = panel_depth(tile_, sizeof(T));
    Size step = 0;
    do { // once also without any depth
      task.depth = std::min(most, p_.depth - step);
      aim(task, p_, rows, cols, step == 0, step + most >= p_.depth);
      kernels_.multiply_direct(task);
      task.left += task.depth * task.left_step;
      task.right += task.depth * task.right_step;
      step += task.depth;
    } while (step < p_.depth);
  }
};

} // namespace

template <class T> bool is_direct(const ProductProblem<T>& p) {
  if (!p.left.as_computed || p.left.index)
    return false;
  return is_small(p) || reads_right(p) ||
         (p.left.depth_stride == 1 && p.cols <= kFewCols &&
          bytes<T>(p.cols, p.depth) <= kFewColsBytes);
}

template <class T> void direct_product(const ProductProblem<T>& problem) {
  DirectProduct<T>(problem).run();
}

template bool is_direct(const ProductProblem<float>&);
template bool is_direct(const ProductProblem<double>&);
template void direct_product(const ProductProblem<float>&);
template void direct_product(const ProductProblem<double>&);

} // namespace softstep::ops
