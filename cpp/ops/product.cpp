#include "ops/product.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/product_cuts.hpp"
#include "ops/product_direct.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>

namespace softstep::ops {
namespace {

// Measured, docs/design/0012-products.md.
constexpr Size kSharedBytes = 4 << 20; // panels that all threads read
constexpr Size kStepBytes = 1024;      // of a block, in one step of the depth
constexpr Size kRowsAsTheyLie = 48;    // of a block: they stay in a second-level cache

// The panels of one operand are made once and shared, those of the other by the block that
// multiplies them: every element is packed once, if at all.
template <class T, class P> class Product {
public:
  Product(const ProductProblem<T>& problem, const ProductKernels<P>& kernels)
      : p_(problem), kernels_(kernels), tile_(kernels.tile),
        shares_left_(problem.cols > problem.rows), as_it_lies_(!shares_left_ && has_rows(problem)),
        shared_lines_(shares_left_ ? problem.rows : problem.cols),
        own_lines_(shares_left_ ? problem.cols : problem.rows), shared_width_(width(shares_left_)),
        own_width_(width(!shares_left_)) {
    const Size depth = std::max(up(p_.depth, tile_.depth), tile_.depth);
    depth_ = std::min(panel_depth(tile_, sizeof(P)), depth);
    const Size line_bytes = up(shared_lines_, shared_width_) * static_cast<Size>(sizeof(P));
    slab_ = std::max(kSharedBytes / line_bytes / depth_, Size{1}) * depth_;
    slab_ = std::min(slab_, up(depth, depth_));
    const Size most = kStepBytes / static_cast<Size>(sizeof(P));
    group_ = up(std::min(most, shared_lines_), shared_width_);
    block_ = up(std::min(as_it_lies_ ? kRowsAsTheyLie : most, parts(own_lines_, kLeastBlocks)),
                own_width_);
  }

  void run() {
    const Size blocks =
        std::max(parts(own_lines_, block_), parts(shared_lines_, group_) * parts(slab_, depth_));
    const parallel::Reservation reserved(blocks, std::max(cost_ns(slab_), share_cost_ns(slab_)));
    const PanelPart own = part(false, 0, block_, 0, depth_);
    const PanelPart shared = part(true, 0, group_, 0, depth_);
    const std::size_t panels = as_it_lies_ ? 0 : bytes(block_ * depth_);
    room_bytes_ = panels + std::max(pack_scratch(own), pack_scratch(shared));
    room_bytes_ = (room_bytes_ + kAlignment - 1) / kAlignment * kAlignment;
    rooms_ = scratch(room_bytes_ * static_cast<std::size_t>(reserved.workers()));
    shared_ = scratch(bytes(up(shared_lines_, shared_width_) * slab_));
    Size step = 0;
    do {
      share(step, std::min(slab_, p_.depth - step));
      multiply(step, std::min(slab_, p_.depth - step));
      step += slab_;
    } while (step < p_.depth);
  }

private:
  const ProductProblem<T>& p_;
  const ProductKernels<P>& kernels_;
  const ProductTile tile_;
  const bool shares_left_;
  const bool as_it_lies_; // the left operand, which is not shared
  const Size shared_lines_, own_lines_, shared_width_, own_width_;
  Size depth_, slab_;  // steps of a panel; of all shared panels at a time
  Size block_, group_; // lines that a thread multiplies, or packs for all, at once
  std::size_t room_bytes_ = 0;
  Scratch rooms_, shared_;

  // Its rows are read as they lie, a block of the depth at a time.
  static bool has_rows(const ProductProblem<T>& p) {
    return std::is_same_v<P, T> && p.left.as_computed && !p.left.index && p.left.depth_stride == 1;
  }
  static std::size_t bytes(Size elements) { return static_cast<std::size_t>(elements) * sizeof(P); }
  Size width(bool left) const { return left ? tile_.rows : tile_.cols; }
  unsigned char* room(int worker) const {
    return rooms_.get() + static_cast<std::size_t>(worker) * room_bytes_;
  }

  PanelPart part(bool shared, Size line, Size lines, Size step, Size depth) const {
    const bool left = shared == shares_left_;
    return {
        line, lines, step, depth, up(depth, tile_.depth), width(left), left && tile_.left_by_row};
  }
  void pack(bool shared, const PanelPart& which, void* to, void* room) const {
    const ProductOperand& operand = shared == shares_left_ ? p_.left : p_.right;
    if constexpr (std::is_same_v<P, T>)
      operand.pack(operand, which, to, room);
    else
      operand.pack_paired(operand, which, to, room);
  }
  double cost_ns(Size steps) const { return multiply_cost_ns(p_.rows, p_.cols, steps); }
  double share_cost_ns(Size steps) const {
    return static_cast<double>(shared_lines_) * static_cast<double>(steps);
  }

  // Panels of the shared operand lie block of the depth after block, each of all lines.
  P* shared_panels(Size step) const {
    return reinterpret_cast<P*>(shared_.get()) + step * up(shared_lines_, shared_width_);
  }

  void share(Size begin, Size steps) const {
    const Size groups = parts(shared_lines_, group_), blocks = parts(steps, depth_);
    parallel::for_each_block(
        groups * blocks, share_cost_ns(steps), [&](std::int64_t at, int worker) {
          const Size step = at / groups * depth_, line = at % groups * group_;
          const Size depth = std::min(depth_, steps - step);
          const PanelPart which =
              part(true, line, std::min(group_, shared_lines_ - line), begin + step, depth);
          pack(true, which, shared_panels(step) + line * which.padded, room(worker));
        });
  }

  void multiply(Size begin, Size steps) const {
    parallel::for_each_block(
        parts(own_lines_, block_), cost_ns(steps), [&](std::int64_t at, int worker) {
          const Size line = at * block_, lines = std::min(block_, own_lines_ - line);
          Size step = 0;
          do { // once also without any depth
            const PanelPart own =
                part(false, line, lines, begin + step, std::min(depth_, steps - step));
            if (as_it_lies_)
              put_rows(own, shared_panels(step));
            else
              put_panels(own, room(worker), shared_panels(step));
            step += depth_;
          } while (step < steps);
        });
  }

  template <class Task> Task task_of(const PanelPart& own) const {
    Task task{};
    const Range lines = {own.line, own.line + own.lines};
    const bool first = own.step == 0, last = own.step + depth_ >= p_.depth;
    if (shares_left_)
      aim(task, p_, {0, p_.rows}, lines, first, last);
    else
      aim(task, p_, lines, {0, p_.cols}, first, last);
    task.depth = own.padded;
    return task;
  }

  void put_panels(const PanelPart& own, unsigned char* room, const P* shared) const {
    const P* panels = reinterpret_cast<P*>(room);
    pack(false, own, room, room + bytes(block_ * depth_));
    auto task = task_of<ProductTask<P>>(own);
    task.left = shares_left_ ? shared : panels;
    task.right = shares_left_ ? panels : shared;
    kernels_.multiply(task);
  }

  void put_rows(const PanelPart& own, const P* shared) const {
    if constexpr (std::is_same_v<P, T>) {
      auto task = task_of<DirectProductTask<T>>(own);
      task.left = static_cast<const T*>(p_.left.data) + own.line * p_.left.line_stride + own.step;
      task.left_row = p_.left.line_stride;
      task.left_step = 1;
      task.right = shared;
      task.right_panel = tile_.cols * own.padded;
      task.right_step = tile_.cols;
      kernels_.multiply_direct(task);
    }
  }
};

} // namespace

template <class T> void product(const ProductProblem<T>& problem) {
  if (problem.rows == 0 || problem.cols == 0)
    return;
  if constexpr (std::is_same_v<T, float>)
    if (const PairedProductKernels* paired = problem.paired ? dispatch::paired_product() : nullptr)
      return Product<T, BFloat16>(problem, paired->product).run();
  if (is_direct(problem))
    return direct_product(problem);
  Product<T, T>(problem, *dispatch::active_for<T>().product).run();
}

template void product(const ProductProblem<float>&);
template void product(const ProductProblem<double>&);

} // namespace softstep::ops
