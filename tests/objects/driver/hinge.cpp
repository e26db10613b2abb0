#include "runners.hpp"

namespace softstep::driver {

void run_hinge(const Case& of, Report& report) {
  const Array& scores = of.array("scores");
  const Optional<std::int32_t> target(&of.array("target"));
  with_float(of.type, [&]<class T>(T) {
    for_each_layout<T>(scores.cols, report, [&](Layout layout, bool in_place) {
      for (const bool gradient : {false, true}) {
        const Placed<T> x(scores, layout), loss(1, scores.rows, kVector);
        const Placed<T> dx(scores.rows, scores.cols, {layout.shape, 2 * layout.gap});
        HingeTask<T> task{};
        task.scores = x.input();
        if (gradient)
          task.dscores = in_place ? x.matrix() : dx.matrix();
        task.target = target.data();
        task.loss = loss.data();
        task.rows = scores.rows;
        task.cols = scores.cols;
        task.margin = static_cast<T>(of.option("margin", 1));
        task.upstream = static_cast<T>(of.option("upstream", 1));
        dispatch::active_for<T>().hinge[layout.shape]->hinge(task);
        report.compare("loss", loss);
        if (gradient)
          report.compare("dscores", in_place ? x : dx);
      }
    });
  });
}

} // namespace softstep::driver
