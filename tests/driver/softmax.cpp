#include "runners.hpp"

namespace softstep::driver {
namespace {

template <class S> using Kernel = typename SoftmaxKernels<S>::Kernel;

// x -> y, or (y, dy) -> dx; the task's second matrix may be absent.
template <class S>
void to_matrix(const Case& of, Report& report, const char* name, const Array& first,
               const Array* second, Kernel<S> SoftmaxKernels<S>::* kernel) {
  if (!of.expects(name))
    return;
  for_each_layout<S>(first.cols, report, [&](Layout layout, bool in_place) {
    const Placed<S> x(first, layout);
    const Placed<S> dy = second ? Placed<S>(*second, layout) : Placed<S>(1, 1, layout);
    const Placed<S> y(first.rows, first.cols, {layout.shape, 2 * layout.gap});
    SoftmaxTask<S> task{};
    task.x = x.input();
    if (second)
      task.dy = dy.input();
    task.y = in_place ? x.matrix() : y.matrix();
    task.rows = first.rows;
    task.cols = first.cols;
    task.scale = static_cast<Compute<S>>(of.option("scale", 1));
    (dispatch::active_for<S>().softmax[layout.shape]->*kernel)(task);
    report.compare(name, in_place ? x : y);
  });
}

// x -> one number a row.
template <class S>
void to_rows(const Case& of, Report& report, const char* name, const Array& values,
             Kernel<S> SoftmaxKernels<S>::* kernel) {
  if (!of.expects(name))
    return;
  for_each_layout<S>(values.cols, report, [&](Layout layout, bool in_place) {
    if (in_place)
      return;
    const Placed<S> x(values, layout), result(1, values.rows, kVector);
    SoftmaxTask<S> task{};
    task.x = x.input();
    task.row_result = result.data();
    task.rows = values.rows;
    task.cols = values.cols;
    task.scale = static_cast<Compute<S>>(of.option("scale", 1));
    (dispatch::active_for<S>().softmax[layout.shape]->*kernel)(task);
    report.compare(name, result);
  });
}

} // namespace

void run_softmax(const Case& of, Report& report) {
  with_storage(of.type, [&]<class S>(S) {
    using Kernels = SoftmaxKernels<S>;
    const Array& x = of.array("x");
    to_matrix<S>(of, report, "softmax", x, nullptr, &Kernels::softmax);
    to_matrix<S>(of, report, "log_softmax", x, nullptr, &Kernels::log_softmax);
    to_rows<S>(of, report, "logsumexp", x, &Kernels::logsumexp);
    to_rows<S>(of, report, "entropy", x, &Kernels::entropy);
  });
}

void run_softmax_backward(const Case& of, Report& report) {
  with_storage(of.type, [&]<class S>(S) {
    using Kernels = SoftmaxKernels<S>;
    const Array &y = of.array("y"), &dy = of.array("dy");
    to_matrix<S>(of, report, "softmax_backward", y, &dy, &Kernels::softmax_backward);
    to_matrix<S>(of, report, "log_softmax_backward", y, &dy, &Kernels::log_softmax_backward);
  });
}

} // namespace softstep::driver
