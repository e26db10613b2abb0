#include "runners.hpp"

namespace softstep::driver {

void run_stream(const Case& of, Report& report) {
  const Array& values = of.array("x");
  const Size size = values.cols;
  with_float(of.type, [&]<class T>(T) {
    const StreamKernels<T>& kernels = *dispatch::active_for<T>().stream;
    const Placed<T> x(values, kVector), copy(1, size, kVector), b(values, kVector);
    report.compare("sum", kernels.read(x.data(), size));
    kernels.copy(copy.data(), x.data(), size);
    report.compare("copy", copy);
    kernels.update(copy.data(), b.data(), x.data(), size); // b += x; copy -= b
    report.compare("twice", b);
    report.compare("negated", copy);
    kernels.scale(x.data(), size, T(-1));
    report.compare("negated", x);
  });
}

} // namespace softstep::driver
