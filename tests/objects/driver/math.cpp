#include "runners.hpp"

namespace softstep::driver {

void run_math(const Case& of, Report& report) {
  const Array& values = of.array("x");
  with_float(of.type, [&]<class T>(T) {
    const MathKernels<T>& kernels = *dispatch::active_for<T>().math;
    const Placed<T> x(values, kVector), y(1, values.cols, kVector);
    for (const auto& [name, kernel] :
         {std::pair("exp", kernels.exp), std::pair("log", kernels.log),
          std::pair("log1p", kernels.log1p), std::pair("tanh", kernels.tanh),
          std::pair("tanh_slope", kernels.tanh_slope)})
      if (of.expects(name)) {
        report.variant(name);
        kernel(y.data(), x.data(), values.cols);
        report.compare(name, y);
      }
  });
}

} // namespace softstep::driver
