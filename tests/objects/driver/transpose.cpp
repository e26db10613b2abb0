#include "runners.hpp"

namespace softstep::driver {

void run_transpose(const Case& of, Report& report) {
  const Array& values = of.array("x");
  with_storage(of.type, [&]<class S>(S) {
    for (const Size gap : {0, 3}) {
      report.variant(gap ? "with gaps" : "tight");
      const Placed<S> x(values, {kRowShape, gap});
      const Placed<S> y(values.cols, values.rows, {kRowShape, 2 * gap});
      dispatch::active_for<S>().transpose->transpose(y.matrix(), x.input(), values.rows,
                                                     values.cols);
      report.compare("transposed", y);
    }
  });
}

} // namespace softstep::driver
