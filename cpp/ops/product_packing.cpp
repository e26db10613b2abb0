#include "ops/product_packing.hpp"

#include "dispatch/dispatch.hpp"

#include <algorithm>
#include <cstring>

namespace softstep::ops {
namespace {

constexpr Size kAtOnce = 16; // steps that are packed at once: they stay in a first-level cache

template <class S> struct Source {
  const ProductOperand& operand;

  const S* at(Size line, Size step) const {
    if (operand.index)
      (operand.indexes_depth ? step : line) =
          static_cast<Size>(operand.index[operand.indexes_depth ? step : line]);
    return static_cast<const S*>(operand.data) + line * operand.line_stride +
           step * operand.depth_stride;
  }
  bool lines_adjacent() const {
    return operand.line_stride == 1 && (!operand.index || operand.indexes_depth);
  }
  bool depth_adjacent() const {
    return operand.depth_stride == 1 && !(operand.index && operand.indexes_depth);
  }
};

// Elements of one step, as they are.
template <class S>
const S* along_lines(const Source<S>& from, Size line, Size step, Size n, S* room) {
  if (from.lines_adjacent())
    return from.at(line, step);
  for (Size i = 0; i < n; ++i)
    room[i] = *from.at(line + i, step);
  return room;
}

template <class T> void clear(T* to, Size n) {
  std::memset(static_cast<void*>(to), 0, static_cast<std::size_t>(n) * sizeof(T));
}
template <class T> void copy(T* to, const T* from, Size n) {
  std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(T));
}

// Short runs far from each other, which no prefetcher of a CPU follows.
template <class S>
void prefetch_lines(const Source<S>& from, const PanelPart& part, Size step, Size ahead) {
  if (step + ahead >= part.depth || !from.lines_adjacent())
    return;
  const S* row = from.at(part.line, part.step + step + ahead);
  for (Size i = 0; i < part.lines; i += 64 / static_cast<Size>(sizeof(S)))
    __builtin_prefetch(row + i);
}

// Steps of the depth, spread over the panels: one panel after the other, as all of them may lie
// in the same lines of a cache.
template <Size kWidth, class T>
void spread(T* to, Size panel, const T* const* rows, Size steps, Size lines) {
  for (Size line = 0; line < lines; line += kWidth, to += panel) {
    const Size n = std::min(kWidth, lines - line);
    for (Size k = 0; k < steps; ++k) {
      T* step = to + k * kWidth;
      if (n == kWidth) {
        copy(step, rows[k] + line, kWidth);
      } else {
        copy(step, rows[k] + line, n);
        clear(step + n, kWidth - n);
      }
    }
  }
}
template <class T>
void spread_by(Size width, T* to, Size panel, const T* const* rows, Size steps, Size lines) {
  switch (width) { // the widths of the levels, so that copies are a few instructions
  case 12:
    return spread<12>(to, panel, rows, steps, lines);
  case 32:
    return spread<32>(to, panel, rows, steps, lines);
  case 16:
    return spread<16>(to, panel, rows, steps, lines);
  case 6:
    return spread<6>(to, panel, rows, steps, lines);
  case 8:
    return spread<8>(to, panel, rows, steps, lines);
  default:
    return spread<4>(to, panel, rows, steps, lines);
  }
}

// to[step * width + line] = rows[line][step]
template <class T>
void turn(T* to, Size width, const T* rows, Size row_stride, Size lines, Size steps) {
  const auto transpose = dispatch::active_for<T>().transpose->transpose;
  for (Size step = 0; step < steps; step += kAtOnce) {
    const Size n = std::min(kAtOnce, steps - step);
    transpose({to + step * width, width}, {rows + step, row_stride}, lines, n);
    if (lines < width)
      for (Size i = step; i < step + n; ++i)
        clear(to + i * width + lines, width - lines);
  }
}

// Widened, one step of the depth after the other.
template <class S>
void pack(const ProductOperand& operand, const PanelPart& part, void* panels, void* scratch) {
  using T = Compute<S>;
  constexpr bool kWidens = sizeof(S) != sizeof(T);
  const Source<S> from{operand};
  const Size panel = part.width * part.padded;
  T* to = static_cast<T*>(panels);
  T* wide = static_cast<T*>(scratch);
  const auto widen = dispatch::active_for<S>().panel->copy;
  if (!from.depth_adjacent()) {
    S* room = reinterpret_cast<S*>(kWidens ? wide + kAtOnce * part.lines : wide);
    for (Size k = 0; k < part.depth; k += kAtOnce) {
      const Size steps = std::min(kAtOnce, part.depth - k);
      const T* rows[kAtOnce];
      for (Size i = 0; i < steps; ++i) {
        prefetch_lines(from, part, k + i, kAtOnce);
        const S* row =
            along_lines(from, part.line, part.step + k + i, part.lines, room + i * part.lines);
        if constexpr (kWidens) {
          widen(wide + i * part.lines, row, part.lines);
          rows[i] = wide + i * part.lines;
        } else {
          rows[i] = row;
        }
      }
      spread_by(part.width, to + k * part.width, panel, rows, steps, part.lines);
    }
    return;
  }
  for (Size line = 0; line < part.lines; line += part.width, to += panel) {
    const Size n = std::min(part.width, part.lines - line);
    if constexpr (!kWidens) {
      if (!operand.index || operand.indexes_depth) {
        turn(to, part.width, from.at(part.line + line, part.step), operand.line_stride, n,
             part.depth);
        continue;
      }
    }
    for (Size i = 0; i < n; ++i)
      widen(wide + i * part.depth, from.at(part.line + line + i, part.step), part.depth);
    turn(to, part.width, wide, part.depth, n, part.depth);
  }
}

// As bfloat16.
void narrow(BFloat16* to, const float* from, Size n) {
  dispatch::active().bfloat16.half->narrow(to, from, n);
}
void narrow(BFloat16* to, const BFloat16* from, Size n) { copy(to, from, n); }

void pair(const PairedProductKernels& kernels, BFloat16* to, const float* first,
          const float* second, Size n) {
  kernels.pair_f32(to, first, second, n);
}
void pair(const PairedProductKernels& kernels, BFloat16* to, const BFloat16* first,
          const BFloat16* second, Size n) {
  kernels.pair_bf16(to, first, second, n);
}

constexpr Size kRowSteps = 32;  // of a row of 64 bytes
constexpr Size kPairsAhead = 8; // steps that are fetched ahead

// kRowSteps steps of a panel by row: n lines, and zeros for the others.
void put_rows(BFloat16* to, Size width, const BFloat16* rows, Size stride, Size n) {
  for (Size line = 0; line < n; ++line)
    copy(to + line * kRowSteps, rows + line * stride, kRowSteps);
  clear(to + n * kRowSteps, (width - n) * kRowSteps);
}

// Pairs of the depth together, or whole rows where the kernel wants them.
template <class S>
void pack_paired(const ProductOperand& operand, const PanelPart& part, void* panels,
                 void* scratch) {
  const Source<S> from{operand};
  const PairedProductKernels& kernels = *dispatch::active().paired_product;
  const Size panel = part.width * part.padded;
  BFloat16* to = static_cast<BFloat16*>(panels);
  BFloat16* room = static_cast<BFloat16*>(scratch);
  if (from.depth_adjacent()) {
    for (Size line = 0; line < part.lines; line += part.width, to += panel) {
      const Size n = std::min(part.width, part.lines - line);
      for (Size i = 0; i < n; ++i) {
        narrow(room + i * part.padded, from.at(part.line + line + i, part.step), part.depth);
        clear(room + i * part.padded + part.depth, part.padded - part.depth);
      }
      if (part.by_row) {
        for (Size k = 0; k < part.padded; k += kRowSteps)
          put_rows(to + k * part.width, part.width, room + k, part.padded, n);
      } else { // a pair has the size of a float
        turn(reinterpret_cast<float*>(to), part.width, reinterpret_cast<const float*>(room),
             part.padded / 2, n, part.padded / 2);
      }
    }
    return;
  }
  // Pairs of `lines`, 16 of them one after the other, then two rows of the source if need be.
  const Size at_once = part.by_row ? kRowSteps / 2 : 1;
  S* rows = reinterpret_cast<S*>(room + at_once * 2 * part.lines);
  for (Size k = 0; k < part.padded; k += 2 * at_once) {
    for (Size i = 0; i < at_once; ++i) {
      const Size step = k + 2 * i;
      prefetch_lines(from, part, step, kPairsAhead);
      prefetch_lines(from, part, step + 1, kPairsAhead);
      BFloat16* pairs = room + i * 2 * part.lines;
      if (step >= part.depth) {
        clear(pairs, 2 * part.lines);
        continue;
      }
      const S* first = along_lines(from, part.line, part.step + step, part.lines, rows);
      const S* second = nullptr;
      if (step + 1 < part.depth)
        second = along_lines(from, part.line, part.step + step + 1, part.lines, rows + part.lines);
      pair(kernels, pairs, first, second, part.lines);
    }
    const float* pairs = reinterpret_cast<const float*>(room);
    BFloat16* at = to + k * part.width;
    if (!part.by_row) {
      spread_by(part.width, reinterpret_cast<float*>(at), panel / 2, &pairs, 1, part.lines);
      continue;
    }
    for (Size line = 0; line < part.lines; line += part.width, at += panel) {
      const Size n = std::min(part.width, part.lines - line);
      dispatch::active().float32.transpose->transpose({reinterpret_cast<float*>(at), at_once},
                                                      {pairs + line, part.lines}, at_once, n);
      clear(at + n * kRowSteps, (part.width - n) * kRowSteps);
    }
  }
}

} // namespace

std::size_t pack_scratch(const PanelPart& part) {
  const Size turned = part.width * part.padded, spread = 20 * part.lines;
  return static_cast<std::size_t>(std::max(turned, spread)) * sizeof(double);
}

template <class S> ProductOperand product_operand() {
  ProductOperand operand{};
  operand.as_computed = std::is_same_v<S, Compute<S>>;
  operand.pack = pack<S>;
  if constexpr (std::is_same_v<S, float> || std::is_same_v<S, BFloat16>)
    operand.pack_paired = pack_paired<S>;
  return operand;
}

template ProductOperand product_operand<float>();
template ProductOperand product_operand<double>();
template ProductOperand product_operand<Float16>();
template ProductOperand product_operand<BFloat16>();

} // namespace softstep::ops
