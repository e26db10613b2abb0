// Into what pieces matrix products are cut, and the memory of their panels.
#pragma once

#include "ops/product.hpp"

#include <memory>
#include <new>

namespace softstep::ops {

// Measured, docs/design/0012-products.md.
constexpr Size kPanelBytes = 32768;       // a panel of the right operand
constexpr Size kPairedPanelBytes = 65536; // of bfloat16
constexpr Size kLeastBlocks = 8;          // of lines, for threads to share
constexpr double kMultiplyAddNs = 0.02;   // at 100 GFLOP/s

inline Size up(Size n, Size multiple) { return (n + multiple - 1) / multiple * multiple; }
inline Size parts(Size n, Size size) { return (n + size - 1) / size; }

// Steps of the depth whose products are summed in registers, at most.
inline Size panel_depth(const ProductTile& tile, std::size_t itemsize) {
  const Size bytes = tile.depth > 1 ? kPairedPanelBytes : kPanelBytes;
  return up(bytes / (tile.cols * static_cast<Size>(itemsize)), tile.depth);
}

inline double multiply_cost_ns(Size rows, Size cols, Size depth) {
  return static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(depth) *
         kMultiplyAddNs;
}

// Lines or columns.
struct Range {
  Size begin, end;
};

// The part of the result that a task is about, of sums over the first, the last or another part of
// the depth.
template <class T, class Task>
void aim(Task& task, const ProductProblem<T>& problem, Range rows, Range cols, bool first,
         bool last) {
  task.c = problem.out;
  task.c.data += cols.begin;
  if (problem.out_rows)
    task.c_rows = problem.out_rows + rows.begin;
  else
    task.c.data += rows.begin * problem.out.stride;
  task.rows = rows.end - rows.begin;
  task.cols = cols.end - cols.begin;
  task.bias = problem.bias ? problem.bias + cols.begin : nullptr;
  task.adds = problem.adds || !first;
  task.relu = problem.relu && last;
  if (problem.gate.data && last) {
    task.gate = problem.gate;
    task.gate.data += rows.begin * task.gate.stride + cols.begin;
  }
}

constexpr std::size_t kAlignment = 64;
struct FreeAligned {
  void operator()(void* memory) const { ::operator delete(memory, std::align_val_t(kAlignment)); }
};
using Scratch = std::unique_ptr<unsigned char, FreeAligned>;
inline Scratch scratch(std::size_t bytes) {
  return Scratch(static_cast<unsigned char*>(::operator new(bytes, std::align_val_t(kAlignment))));
}

} // namespace softstep::ops
