// A small matrix product, whose left operand is read as it lies: to pack it would take longer.
#pragma once

#include "ops/product.hpp"

namespace softstep::ops {

// Whether this product is one: by its shape and strides alone.
template <class T> bool is_direct(const ProductProblem<T>& problem);

template <class T> void direct_product(const ProductProblem<T>& problem);

} // namespace softstep::ops
