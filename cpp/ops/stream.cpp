#include "ops/stream.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/elements.hpp"
#include "ops/sum.hpp"

namespace softstep::ops {
namespace {

// run(begin, n, block) for every block of a contiguous array.
template <class T, class Run> void for_each_piece(Size size, Run run) {
  const Size blocks = (size + kBlockElements - 1) / kBlockElements;
  const double cost_ns = static_cast<double>(size) * kMapElementNs * sizeof(T) / 4;
  parallel::for_each_block(blocks, cost_ns, [&](std::int64_t block, int) {
    const Size begin = block * kBlockElements;
    run(begin, std::min(kBlockElements, size - begin), block);
  });
}

template <class T> const StreamKernels<T>& kernels() { return *dispatch::active_for<T>().stream; }

} // namespace

template <class T> double stream_read(const T* x, Size size) {
  std::vector<double> sums(static_cast<std::size_t>((size + kBlockElements - 1) / kBlockElements));
  for_each_piece<T>(size, [&](Size begin, Size n, Size block) {
    sums[static_cast<std::size_t>(block)] = kernels<T>().read(x + begin, n);
  });
  return sum_in_order(sums.data(), static_cast<Size>(sums.size()));
}

template <class T> void stream_scale(T* x, Size size, double factor) {
  for_each_piece<T>(size, [&](Size begin, Size n, Size) {
    kernels<T>().scale(x + begin, n, static_cast<T>(factor));
  });
}

template <class T> void stream_copy(T* to, const T* from, Size size) {
  for_each_piece<T>(
      size, [&](Size begin, Size n, Size) { kernels<T>().copy(to + begin, from + begin, n); });
}

template <class T> void stream_update(T* a, T* b, const T* c, Size size) {
  for_each_piece<T>(size, [&](Size begin, Size n, Size) {
    kernels<T>().update(a + begin, b + begin, c + begin, n);
  });
}

template double stream_read(const float*, Size);
template double stream_read(const double*, Size);
template void stream_scale(float*, Size, double);
template void stream_scale(double*, Size, double);
template void stream_copy(float*, const float*, Size);
template void stream_copy(double*, const double*, Size);
template void stream_update(float*, float*, const float*, Size);
template void stream_update(double*, double*, const double*, Size);

} // namespace softstep::ops
