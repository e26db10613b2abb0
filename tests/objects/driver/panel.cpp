#include "runners.hpp"

namespace softstep::driver {

void run_panel(const Case& of, Report& report) {
  const Array &values = of.array("x"), &addend = of.array("to");
  with_storage(of.type, [&]<class S>(S) {
    const PanelKernels<S>& kernels = *dispatch::active_for<S>().panel;
    const Placed<S> x(values, kVector);
    const Placed<Compute<S>> copy(1, values.cols, kVector), sum(addend, kVector);
    kernels.copy(copy.data(), x.data(), values.cols);
    report.compare("copy", copy);
    kernels.add(sum.data(), x.data(), values.cols);
    report.compare("sum", sum);
  });
}

} // namespace softstep::driver
