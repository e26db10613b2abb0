#include "runners.hpp"

namespace softstep::driver {

void run_half(const Case& of, Report& report) {
  with_half(of.type, [&]<class S>(S) {
    const HalfKernels<S>& kernels = *dispatch::active_for<S>().half;
    if (const Array* values = of.find_array("x")) {
      const Placed<S> x(*values, kVector);
      const Placed<float> wide(1, values->cols, kVector);
      kernels.widen(wide.data(), x.data(), values->cols);
      report.compare("widened", wide);
    }
    if (const Array* values = of.find_array("wide")) {
      const Placed<float> wide(*values, kVector);
      const Placed<S> nearest(1, values->cols, kVector), by_chance(1, values->cols, kVector);
      kernels.narrow(nearest.data(), wide.data(), values->cols);
      report.compare("narrowed", nearest);
      kernels.narrow_by_chance(by_chance.data(), wide.data(), values->cols, 12345, 7);
      report.compare("by_chance", by_chance);
    }
  });
}

} // namespace softstep::driver
