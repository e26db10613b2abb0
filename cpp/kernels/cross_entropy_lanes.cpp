// Cross-entropy with its gradient, one row per lane. The formulas are those of
// cross_entropy_rows.cpp; here every quantity of a row is a lane.
#include "families.hpp"
#include "lane_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// Class indices of a group as lane integers; lanes without a row are ignored ones.
template <class T, class Group>
SOFTSTEP_INLINE Mask<T> load_targets(Group group, const std::int32_t* target) {
  using Indices [[gnu::vector_size(kLanes<T> * sizeof(std::int32_t))]] = std::int32_t;
  Indices indices = Indices{} + kIgnoredRow;
  std::memcpy(&indices, target + group.first,
              static_cast<std::size_t>(group.count) * sizeof(std::int32_t));
  return __builtin_convertvector(indices, Mask<T>);
}

// The mass of class c apart from the target's point mass: see DenseMass of the row shape.
template <class T> struct LaneMass {
  Matrix<const T> probabilities;
  const T* weight;
  T keep, spread;

  template <class Group> SOFTSTEP_INLINE Vec<T> operator()(Group group, Size c) const {
    Vec<T> q = broadcast(spread);
    if (probabilities.data)
      q = fma(group.load_class(probabilities, c), broadcast(keep), q);
    return weight ? q * weight[c] : q;
  }
};

template <class T, bool kDense, bool kGradient, class Group>
SOFTSTEP_INLINE void cross_entropy_group(const CrossEntropyTask<T>& task, Group group) {
  const bool by_class = !task.probabilities.data;
  const LaneMass<T> mass{task.probabilities, task.weight, T(1) - task.label_smoothing,
                         task.label_smoothing / static_cast<T>(task.cols)};
  const Mask<T> target = task.target ? load_targets<T>(group, task.target) : Mask<T>{};
  const Mask<T> ignored = target == kIgnoredRow;
  const auto is_target = [&](Size c) {
    return target == static_cast<typename LaneInt<T>::type>(by_class ? c : -2);
  };

  const Vec<T> top = max_lanes<T>(group, task.logits, task.cols);
  const Vec<T> reference = finite_reference<T>(top);
  const Mask<T> infinite = infinite_lanes<T>(group, task.logits, task.cols, top);
  LaneSum<T> others_sum, mass_sum, moment_sum;
  Vec<T> u_t{}, point{};
  for_each_class(
      task.cols,
      [&](Size c) {
        const Vec<T> u = (group.load_class(task.logits, c) - reference) * task.scale;
        const Vec<T> e = exp<T>(u);
        const Mask<T> here = is_target(c);
        others_sum += select<T>(here, Vec<T>{}, e);
        u_t = select<T>(here, u, u_t);
        if (task.weight)
          point = select<T>(here, broadcast(task.weight[c]), point);
        if constexpr (kDense) {
          const Vec<T> q = mass(group, c);
          mass_sum += q;
          moment_sum += select<T>(q == T(0), Vec<T>{}, q * u); // 0 * -inf is 0
        }
        if constexpr (kGradient)
          group.store_class(task.dlogits, c, e);
      },
      [&] {
        others_sum.fold();
        if constexpr (kDense) {
          mass_sum.fold();
          moment_sum.fold();
        }
      });
  const Vec<T> others = others_sum.total(), dense = mass_sum.total();
  if (!by_class)
    point = Vec<T>{};
  else
    point = (T(1) - task.label_smoothing) * (task.weight ? point : broadcast(T(1)));

  const Vec<T> e_t = by_class ? exp<T>(u_t) : Vec<T>{};
  const Vec<T> sum = others + e_t;
  const Vec<T> near = log1p<T>(others / e_t), far = log<T>(sum);
  const Mask<T> likely = e_t >= others;
  const Vec<T> undefined = sum / sum; // NaN for rows that are -inf throughout or hold a NaN
  const Mask<T> defined = sum > T(0);
  Vec<T> log_s = select<T>(defined, select<T>(likely, near + u_t, far), undefined);
  Vec<T> nll = select<T>(defined, select<T>(likely, near, far - u_t), undefined);
  log_s = select<T>(infinite, Vec<T>{}, log_s);
  nll = select<T>(infinite, -u_t, nll);
  const Vec<T> lse = top * task.scale + log_s;
  Vec<T> loss{};
  if constexpr (kDense) // a row without mass has no loss, also where log s is undefined
    loss = select<T>(dense == T(0), Vec<T>{}, dense * log_s) - moment_sum.total();
  if (by_class)
    loss += point * nll;
  if (task.z_loss != T(0))
    loss += task.z_loss * lse * lse;
  const Vec<T> row_weight = task.row_weight ? group.load_from(task.row_weight) : broadcast(T(1));
  group.store_to(task.loss, select<T>(ignored, Vec<T>{}, loss * row_weight));

  if constexpr (kGradient) {
    const Vec<T> g = task.upstream * task.scale * row_weight;
    Vec<T> spread = dense;
    if (task.z_loss != T(0))
      spread += T(2) * task.z_loss * lse;
    const Vec<T> factor = g * (point + spread) / sum;
    // 1 - p_t from the other classes: no cancellation.
    const Vec<T> at_target = g * (spread * (e_t / sum) - point * (others / sum));
    for (Size c = 0; c < task.cols; ++c) {
      const Vec<T> e = group.load_from(task.dlogits.data + c * task.dlogits.stride);
      Vec<T> d = select<T>(is_target(c), at_target, e * factor);
      if constexpr (kDense)
        d -= g * mass(group, c);
      group.store_class(task.dlogits, c, select<T>(ignored, Vec<T>{}, d));
    }
  }
}

template <class T, bool kDense, bool kGradient> void all_groups(const CrossEntropyTask<T>& task) {
  for_each_group<T>(task.rows,
                    [&](auto group) { cross_entropy_group<T, kDense, kGradient>(task, group); });
}

template <class T> void cross_entropy(const CrossEntropyTask<T>& task) noexcept {
  const bool dense = task.probabilities.data || task.label_smoothing != 0;
  if (task.dlogits.data)
    dense ? all_groups<T, true, true>(task) : all_groups<T, false, true>(task);
  else
    dense ? all_groups<T, true, false>(task) : all_groups<T, false, false>(task);
}

} // namespace

const CrossEntropyKernels<float> cross_entropy_lanes_f32 = {cross_entropy<float>};
const CrossEntropyKernels<double> cross_entropy_lanes_f64 = {cross_entropy<double>};

} // namespace softstep::KERNEL_ISA
