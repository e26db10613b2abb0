#include "runners.hpp"

namespace softstep::driver {

void run_pair(const Case& of, Report& report) {
  const Array &prediction = of.array("prediction"), &target = of.array("target");
  const Size size = prediction.cols;
  with_float(of.type, [&]<class T>(T) {
    const PairKernels<T>& kernels = *dispatch::active_for<T>().pair;
    const auto kernel = of.family == "binary_hinge" ? kernels.binary_hinge : kernels.squared_error;
    for (const bool in_place : {false, true}) {
      report.variant(in_place ? "in place" : "out of place");
      const Placed<T> x(prediction, kVector), y(target, kVector);
      const Placed<T> loss(1, size, kVector), gradient(1, size, kVector);
      PairTask<T> task{};
      task.prediction = x.data();
      task.target = y.data();
      task.size = size;
      task.margin = static_cast<T>(of.option("margin", 1));
      task.upstream = static_cast<T>(of.option("upstream", 1));
      report.compare("sum", kernel(task)); // the sum alone
      task.loss = loss.data();
      task.gradient = in_place ? x.data() : gradient.data();
      report.compare("sum", kernel(task));
      report.compare("loss", loss);
      report.compare("gradient", in_place ? x : gradient);
    }
  });
}

} // namespace softstep::driver
