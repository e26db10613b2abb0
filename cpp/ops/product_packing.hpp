// Operands of a matrix product, and their panels: in the order in which the kernels read them.
#pragma once

#include "kernels/kernels.hpp"

namespace softstep::ops {

// A part of an operand, and where its panels are put: all of `lines` (rows of the left operand,
// columns of the right one) in panels of `width`, for `depth` steps, filled with 0 to `padded`.
struct PanelPart {
  Size line, lines, step, depth, padded, width;
  bool by_row; // of the left operand, as ProductTile::left_by_row
};

// Element (line, step) is at line * line_stride + step * depth_stride; index gives the lines, or
// the steps, that are used.
struct ProductOperand {
  const void* data;
  Size line_stride, depth_stride;
  const std::int64_t* index; // or null
  bool indexes_depth;
  bool as_computed; // stored in what is computed in
  // Into panels of what is computed in, and into paired ones of bfloat16; null where it cannot.
  // The last argument is scratch of pack_scratch() bytes.
  void (*pack)(const ProductOperand&, const PanelPart&, void* panels, void* scratch);
  void (*pack_paired)(const ProductOperand&, const PanelPart&, void* panels, void* scratch);
};

// Bytes that packing a part needs besides, at most.
std::size_t pack_scratch(const PanelPart& part);

// Of storage S, without data.
template <class S> ProductOperand product_operand();

} // namespace softstep::ops
