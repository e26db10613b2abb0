// Losses of pairs (prediction, target), element by element.
#pragma once

#include "ops/elements.hpp"

namespace softstep::ops {

enum class PairLoss { kSquaredError, kBinaryHinge };

// prediction, target, loss or nothing, gradient or nothing
template <class T> using PairElements = Elements<T, 4>;

// Returns the sum of the losses.
template <class T>
double pair_loss(PairLoss loss, const PairElements<T>& elements, double margin, double upstream);

// Whether every element is -1 or +1.
template <class T> bool all_signs(const Elements<T, 1>& target);

} // namespace softstep::ops
