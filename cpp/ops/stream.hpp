// The memory roofline over contiguous arrays, cut and threaded as the operations are.
#pragma once

#include "kernels/kernels.hpp"

namespace softstep::ops {

template <class T> double stream_read(const T* x, Size size);
template <class T> void stream_scale(T* x, Size size, double factor);
template <class T> void stream_copy(T* to, const T* from, Size size);
template <class T> void stream_update(T* a, T* b, const T* c, Size size);

} // namespace softstep::ops
