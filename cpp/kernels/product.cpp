// Products of packed panels by multiply-adds.
#include "families.hpp"
#include "product_tile.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> void multiply(const ProductTask<T>& task) noexcept {
  multiply_panels<T, ProductStep<T>>(task);
}

template <class T>
constexpr ProductKernels<T> kTable = {multiply<T>, {kTileRows, kTileCols<T>, 1, false}};

} // namespace

const ProductKernels<float> product_f32 = kTable<float>;
const ProductKernels<double> product_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
