#include "runners.hpp"

namespace softstep::driver {

void run_sgd(const Case& of, Report& report) {
  SgdOptions options{};
  options.gradient_factor = of.option("gradient_factor", 1);
  options.coupled = of.option("coupled", 0);
  options.decoupled = of.option("decoupled", 0);
  options.lr = of.option("lr", 0);
  options.momentum = of.option("momentum", 0);
  options.dampening = of.option("dampening", 0);
  options.nesterov = of.option("nesterov", 0) != 0;
  options.first = of.option("first", 0) != 0;
  with_float(of.type, [&]<class T>(T) {
    const Size size = of.array("param").cols;
    const Placed<T> param(of.array("param"), kVector), grad(of.array("grad"), kVector);
    const Array* old = of.find_array("momentum");
    const Placed<T> momentum = old ? Placed<T>(*old, kVector) : Placed<T>(1, size, kVector);
    const UpdateTask<T> task{
        param.data(), grad.data(), {options.momentum != 0 ? momentum.data() : nullptr}, size};
    dispatch::active_for<T>().sgd->step(task, options);
    report.compare("param", param);
    report.compare("momentum", momentum);
  });
}

void run_adamw(const Case& of, Report& report) {
  AdamwOptions options{};
  options.gradient_factor = of.option("gradient_factor", 1);
  options.coupled = of.option("coupled", 0);
  options.decoupled = of.option("decoupled", 0);
  options.beta1 = of.option("beta1", 0);
  options.beta2 = of.option("beta2", 0);
  options.step_size = of.option("step_size", 0);
  options.eps = of.option("eps", 0);
  with_float(of.type, [&]<class T>(T) {
    const Placed<T> param(of.array("param"), kVector), grad(of.array("grad"), kVector);
    const Placed<T> m(of.array("exp_avg"), kVector), v(of.array("exp_avg_sq"), kVector);
    const Array* old = of.find_array("max_exp_avg_sq");
    const Placed<T> largest =
        old ? Placed<T>(*old, kVector) : Placed<T>(1, of.array("param").cols, kVector);
    const UpdateTask<T> task{param.data(),
                             grad.data(),
                             {m.data(), v.data(), old ? largest.data() : nullptr},
                             of.array("param").cols};
    dispatch::active_for<T>().adamw->step(task, options);
    report.compare("param", param);
    report.compare("exp_avg", m);
    report.compare("exp_avg_sq", v);
    report.compare("max_exp_avg_sq", largest);
  });
}

void run_norm(const Case& of, Report& report) {
  with_float(of.type, [&]<class T>(T) {
    const Array& values = of.array("x");
    const Placed<T> x(values, kVector);
    const auto& kernels = *dispatch::active_for<T>().norm;
    report.compare("sum_of_squares", kernels.sum_of_squares(x.data(), values.cols));
  });
}

} // namespace softstep::driver
