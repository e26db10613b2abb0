// Gradients of many classes of which few are not negligible: which, and those alone.
#pragma once

#include "kernels/kernels.hpp"

#include <cstdint>

namespace softstep::ops {

constexpr Size kFilterTile = 16; // classes that are kept or dropped together

// live[i] = 1 if tile i of any row holds an element beyond that row's bound; else unchanged.
template <class T>
void filter_mark(Matrix<const T> x, const T* bounds, Size rows, Size cols, std::uint8_t* live);

// Moves the live tiles of every row to its beginning.
template <class T> void filter_compact(Matrix<T> x, Size rows, Size cols, const std::uint8_t* live);

} // namespace softstep::ops
