#include "runners.hpp"
#include "segments.hpp"

#include <algorithm>

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
    const Placed<float> scratch(1, 2 * first.cols, kVector);
    SoftmaxTask<S> task{};
    task.rounding = static_cast<Compute<S>>(ProbabilityRounding<S>::value);
    task.scratch = scratch.data();
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
    const Placed<S> x(values, layout);
    const Placed<Compute<S>> result(1, values.rows, kVector);
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

template <class S> void by_segments(const Case& of, Report& report, const Array& values) {
  if (!has_segments(values.cols))
    return;
  const auto& kernels = *dispatch::active_for<S>().softmax[kRowShape];
  const Layout layout{kRowShape, 0};
  const Placed<S> x(values, layout);
  CrossEntropyTask<S> task{};
  task.logits = x.input();
  task.rows = values.rows;
  task.cols = values.cols;
  task.scale = static_cast<Compute<S>>(of.option("scale", 1));
  const std::vector<RowSums> sums = swept(task);
  const auto run = [&](const char* name, Kernel<S> kernel, const auto& to, auto set_result) {
    if (!of.expects(name))
      return;
    for_each_segment(task, [&](const CrossEntropyTask<S>& segment, Size) {
      SoftmaxTask<S> finish{};
      finish.x = segment.logits;
      finish.rows = values.rows;
      finish.cols = segment.cols;
      finish.scale = task.scale;
      finish.sums = sums.data();
      set_result(finish, segment.first);
      kernel(finish);
    });
    report.compare(name, to);
  };
  const Placed<S> y(values.rows, values.cols, layout), log_y(values.rows, values.cols, layout);
  const auto part_of = [](const Placed<S>& all) {
    return [&](SoftmaxTask<S>& finish, Size first) {
      finish.y = {all.data() + first, all.matrix().stride};
    };
  };
  run("softmax", kernels.softmax_segment, y, part_of(y));
  run("log_softmax", kernels.log_softmax_segment, log_y, part_of(log_y));
  // Each segment writes the same.
  const Placed<Compute<S>> result(1, values.rows, kVector);
  run("logsumexp", kernels.logsumexp_segment, result,
      [&](SoftmaxTask<S>& finish, Size) { finish.row_result = result.data(); });
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
    by_segments<S>(of, report, x);
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
