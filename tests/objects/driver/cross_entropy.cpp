#include "runners.hpp"
#include "segments.hpp"

namespace softstep::driver {
namespace {

template <class S> struct Inputs {
  using T = Compute<S>;
  Optional<std::int32_t> target;
  Optional<T> mass, weight, row_weight;

  explicit Inputs(const Case& of)
      : target(of.find_array("target")), mass(of.find_array("mass")),
        weight(of.find_array("weight")), row_weight(of.find_array("row_weight")) {}

  void fill(CrossEntropyTask<S>& task, const Case& of) const {
    const Array* points = of.find_array("target");
    task.target = target.data();
    task.mass = mass.data();
    task.points = points ? points->rows : 0;
    task.point_stride = points ? points->cols : 0;
    task.weight = weight.data();
    task.row_weight = row_weight.data();
    task.scale = static_cast<T>(of.option("scale", 1));
    for_each_option(
        [&]<class Option>(const char* name, Option& option) {
          option = static_cast<Option>(of.option(name, static_cast<double>(option)));
        },
        task.options);
    task.upstream = static_cast<T>(of.option("upstream", 1));
  }
};

// The results of each row. Which of them are asked for decides which kernel runs.
template <class S> struct Results {
  using T = Compute<S>;
  const Size rows;
  const Placed<T> loss, lse, nll, entropy, dtemperature;
  const Placed<std::int32_t> argmax;

  explicit Results(Size rows_)
      : rows(rows_), loss(1, rows, kVector), lse(1, rows, kVector), nll(1, rows, kVector),
        entropy(1, rows, kVector), dtemperature(1, rows, kVector), argmax(1, rows, kVector) {}

  void ask(CrossEntropyTask<S>& task, bool all) const {
    task.loss = loss.data();
    if (!all)
      return;
    task.lse = lse.data();
    task.nll = nll.data();
    task.entropy = entropy.data();
    task.dtemperature = dtemperature.data();
    task.argmax = argmax.data();
  }
  // Segments have no others.
  void ask_segments(CrossEntropyTask<S>& task) const {
    task.loss = loss.data();
    task.lse = lse.data();
    task.nll = nll.data();
  }
  void compare_segments(Report& report) const {
    report.compare("loss", loss);
    report.compare("lse", lse);
    report.compare("nll", nll);
  }
  void compare(Report& report, bool all) const {
    report.compare("loss", loss);
    if (!all)
      return;
    report.compare("lse", lse);
    report.compare("nll", nll);
    report.compare("entropy", entropy);
    report.compare("argmax", argmax);
    double sum = 0;
    for (Size r = 0; r < rows; ++r)
      sum += dtemperature.value(0, r);
    report.compare("dtemperature", sum);
  }
};

// Probabilities in the type of the logits or, for half precision, in that of the computation.
template <class S> struct Probabilities {
  const Placed<S> own;
  const Placed<Compute<S>> wide;
  const bool has_own, has_wide;

  Probabilities(const Case& of, Layout layout)
      : own(place<S>(of.find_array("probabilities"), layout)),
        wide(place<Compute<S>>(of.find_array("wide_probabilities"), layout)),
        has_own(of.find_array("probabilities")), has_wide(of.find_array("wide_probabilities")) {}

  template <class T> static Placed<T> place(const Array* values, Layout layout) {
    return values ? Placed<T>(*values, layout) : Placed<T>(1, 1, layout);
  }
  void fill(CrossEntropyTask<S>& task) const {
    if (has_own)
      task.probabilities = own.input();
    if (has_wide)
      task.wide_probabilities = wide.input();
  }
};

template <class S> void run(const Case& of, Report& report) {
  const Array& logits = of.array("logits");
  const Inputs<S> inputs(of);
  for_each_layout<S>(logits.cols, report, [&](Layout layout, bool in_place) {
    const Probabilities<S> probabilities(of, layout);
    const auto task_of = [&](const Placed<S>& x, const Placed<S>& dx, bool gradient) {
      CrossEntropyTask<S> task{};
      task.logits = x.input();
      if (gradient)
        task.dlogits = in_place ? x.matrix() : dx.matrix();
      task.rows = logits.rows;
      task.cols = logits.cols;
      inputs.fill(task, of);
      probabilities.fill(task);
      return task;
    };
    const auto call = [&](bool gradient, bool all, bool with_scratch) {
      const Placed<S> x(logits, layout);
      const Placed<S> dx(logits.rows, logits.cols, {layout.shape, 2 * layout.gap});
      const Placed<float> scratch(1, 2 * logits.cols, kVector);
      const Results<S> results(logits.rows);
      CrossEntropyTask<S> task = task_of(x, dx, gradient);
      results.ask(task, all);
      if (with_scratch)
        task.scratch = scratch.data();
      dispatch::active_for<S>().cross_entropy[layout.shape]->cross_entropy(task);
      results.compare(report, all);
      if (gradient)
        report.compare("dlogits", in_place ? x : dx);
    };
    if (layout.shape == kRowShape && has_segments(logits.cols)) {
      const Placed<S> x(logits, layout);
      const Placed<S> dx(logits.rows, logits.cols, {layout.shape, 2 * layout.gap});
      const Results<S> results(logits.rows);
      CrossEntropyTask<S> task = task_of(x, dx, true);
      results.ask_segments(task);
      const auto sums = swept(task);
      for_each_segment(task, [&](CrossEntropyTask<S> segment, Size) {
        std::vector<RowSums> whole = sums;
        segment.sums = whole.data();
        dispatch::active_for<S>().cross_entropy[kRowShape]->finish(segment);
      });
      results.compare_segments(report);
      report.compare("dlogits", in_place ? x : dx);
    }
    for (const bool all : {false, true}) {
      call(true, all, false);
      if (sizeof(S) != sizeof(Compute<S>)) // the exponentials of half precision
        call(true, all, true);
      if (!in_place)
        call(false, all, false);
    }
  });
}

} // namespace

void run_cross_entropy(const Case& of, Report& report) {
  with_storage(of.type, [&]<class S>(S) { run<S>(of, report); });
}

} // namespace softstep::driver
