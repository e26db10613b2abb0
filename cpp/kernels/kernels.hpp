// What the rest of the library sees of the kernels: plain structs and one constant table per ISA
// level. No SIMD type crosses this header.
#pragma once

#include "kernels/cross_entropy_options.hpp"

#include <cstddef>
#include <cstdint>

namespace softstep {

using Size = std::ptrdiff_t;

// Storage of half precision, computed in float32.
struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

// What is computed for a storage type, and stored for its rows and weights.
template <class S> struct ComputeOf {
  using type = float;
};
template <> struct ComputeOf<double> {
  using type = double;
};
template <class S> using Compute = typename ComputeOf<S>::type;

// How a kernel walks a block of rows (one row = the logits of one sample):
// - kRowShape: classes are adjacent; stride = elements from row to row; lanes along the classes.
// - kLaneShape: rows are adjacent; stride = elements from class to class; one row per lane. Not of
//   half precision.
enum Shape { kRowShape, kLaneShape, kShapes };

template <class T> struct Matrix {
  T* data;
  Size stride;
};

// softmax, log_softmax: x -> y.  logsumexp, entropy: x -> row_result.  backwards: (y, dy) -> dx.
template <class S> struct SoftmaxTask {
  Matrix<const S> x; // logits; for the backwards the forward's result y
  Matrix<const S> dy;
  Matrix<S> y;            // may be x or dy itself
  Compute<S>* row_result; // one per row
  Size rows, cols;
  Compute<S> scale;           // 1 / temperature
  Compute<S> rounding;        // of the backwards' y: ProbabilityRounding, as it is stored
  float* scratch;             // of softmax in half precision, row shape: 2 cols for exponentials
  bool far;                   // planes in memory, which the lane shape fetches ahead
  const struct RowSums* sums; // of each whole row, for segments
};

// How far a probability and the sum of the others may be from 1 together, by their storage.
template <class S> struct ProbabilityRounding;
template <> struct ProbabilityRounding<double> {
  static constexpr double value = 0x1p-48;
};
template <> struct ProbabilityRounding<float> {
  static constexpr double value = 0x1p-19;
};
template <> struct ProbabilityRounding<Float16> {
  static constexpr double value = 0x1.2p-12;
};
template <> struct ProbabilityRounding<BFloat16> {
  static constexpr double value = 0x1.2p-9;
};

// The sums of a row, or of a segment of its classes, relative to `max`: what segments make of a row
// is added, once all are relative to the same maximum. Doubles only: also a row of a matrix.
struct RowSums {
  double max;          // of the (capped) logits; -inf for none
  double others;       // of exp((x - max) * scale) without what follows; NaN if there is a NaN, 0
                       // beside +inf
  double in_target;    // the same of a single target
  double in_top;       // without one 1, that of the largest class, if it is nearly all of the sum
  double target_logit; // of a single target, capped; 0 if it is not in the segment
  double point_mass, point_moment;       // sum a, sum a u
  double mass, moment;                   // the same of probabilities
  double smoothed_mass, smoothed_moment; // the same of what is smoothed, before its factor
  double finite;                         // classes that are smoothed over
};
constexpr Size kRowSums = sizeof(RowSums) / sizeof(double);

constexpr std::int32_t kIgnoredRow = -1;
constexpr std::int32_t kOtherSegment = -2; // a class of the row, but not of its segment here
constexpr Size kMaxPoints = 1024;          // classes with a mass of their own in one row

// The target of a row is its points (class, mass), or probabilities; label smoothing is added.
template <class S> struct CrossEntropyTask {
  using T = Compute<S>;
  Matrix<const S> logits;
  Matrix<S> dlogits; // data may be null (forward only) or the logits themselves
  // Point k of row r: class target[k * point_stride + r], of mass mass[...], 1 if mass is null.
  // Rows whose targets are all kIgnoredRow have loss 0 and gradient 0 and are not used.
  const std::int32_t* target; // null: no points, every row counts
  const T* mass;
  Size points, point_stride;
  // Probabilities of either type, or neither; target then only tells ignored rows.
  Matrix<const S> probabilities;
  Matrix<const T> wide_probabilities;
  const T* weight;     // per class, or null
  const T* row_weight; // per row, or null
  Size rows, cols;
  CrossEntropyOptionsOf<T> options; // z_loss relative to the loss, as the reduction has it
  T scale;                          // 1 / temperature
  T upstream;                       // d(result) / d(loss of a row of row_weight 1)
  // Results of each row; all but loss may be null.
  T* loss; // times its row_weight
  T* lse;
  T* nll; // -log p of the (first) target; 0 for probabilities
  T* entropy;
  T* dtemperature; // d(loss)/d(temperature) of the row
  std::int32_t* argmax;
  float* scratch; // of half precision: 2 cols for exponentials, or null, which is slower
  bool far;       // planes in memory, which the lane shape fetches ahead
  // The classes are a segment [first, first + cols) of the row; targets count from the row's first.
  Size first;
  RowSums* sums; // of each row: of the segment (sweep), of the whole row (finish)
};

template <class T> struct HingeTask {
  Matrix<const T> scores;
  Matrix<T> dscores; // data may be null, or the scores themselves
  const std::int32_t* target;
  T* loss;
  Size rows, cols;
  T margin;
  T upstream;
};

// Element by element; loss and gradient may be null. Returns the sum of the losses.
template <class T> struct PairTask {
  const T* prediction;
  const T* target;
  T* loss;
  T* gradient;
  Size size;
  T margin;
  T upstream;
};

// One step of an optimizer over adjacent elements.
template <class T> struct UpdateTask {
  T* param;
  const T* grad;
  T* state[3]; // momentum or null; both moments of Adam, and the largest second one or null
  Size size;
};

struct SgdOptions {
  double gradient_factor; // sign, clipping and unscaling in one
  double coupled;         // g += coupled * p
  double decoupled;       // p -= decoupled * p
  double lr, momentum, dampening;
  bool nesterov;
  bool first; // no momentum yet: it becomes the gradient, undamped
};

// p -= step_size * m / (sqrt(v) + eps): both have taken in the bias corrections.
struct AdamwOptions {
  double gradient_factor, coupled, decoupled; // as above
  double beta1, beta2, step_size, eps;
};

// Each family exports its pointers as constants; a table points at them.
template <class S> struct SoftmaxKernels {
  using Kernel = void (*)(const SoftmaxTask<S>&) noexcept;
  Kernel softmax, log_softmax, logsumexp, entropy, softmax_backward, log_softmax_backward;
  // Of segments, from the sums of whole rows.
  Kernel softmax_segment, log_softmax_segment, logsumexp_segment;
};
template <class S> struct CrossEntropyKernels {
  using Kernel = void (*)(const CrossEntropyTask<S>&) noexcept;
  Kernel cross_entropy;
  Kernel sweep;  // of a segment: its sums alone
  Kernel finish; // of a segment: loss, lse, nll and dlogits from the sums of the whole row
  // Up to so many classes the lane shape is the faster one for the task. Which rows and how many
  // does not matter.
  Size (*lane_classes)(const CrossEntropyTask<S>&) noexcept;
};
template <class T> struct HingeKernels {
  void (*hinge)(const HingeTask<T>&) noexcept;
};
template <class T> struct PairKernels {
  double (*squared_error)(const PairTask<T>&) noexcept;
  double (*binary_hinge)(const PairTask<T>&) noexcept;
};
template <class T> struct SgdKernels {
  void (*step)(const UpdateTask<T>&, const SgdOptions&) noexcept;
};
template <class T> struct AdamwKernels {
  void (*step)(const UpdateTask<T>&, const AdamwOptions&) noexcept;
};
template <class T> struct NormKernels {
  double (*sum_of_squares)(const T* x, Size size) noexcept;
};
// Half precision to float32 and back.
template <class S> struct HalfKernels {
  void (*widen)(float* to, const S* from, Size size) noexcept;
  void (*narrow)(S* to, const float* from, Size size) noexcept;
  // Rounded up or down by chance; key and index (of the first element) decide.
  void (*narrow_by_chance)(S* to, const float* from, Size size, std::uint64_t key,
                           std::uint32_t index) noexcept;
};
template <class T> struct TransposeKernels {
  // to[c * to.stride + r] = from[r * from.stride + c]
  void (*transpose)(Matrix<T> to, Matrix<const T> from, Size rows, Size cols) noexcept;
};
// Rows of a panel of a matrix product.
template <class S> struct PanelKernels {
  void (*copy)(Compute<S>* to, const S* from, Size size) noexcept; // widened
  void (*add)(Compute<S>* to, const S* from, Size size) noexcept;
};
// c = left right, or added to c, of packed panels: `left` holds tile_rows of its rows for each step
// of the depth, `right` tile_cols of its columns; panel after panel, the last ones filled with 0.
template <class P> struct ProductTask {
  Matrix<Compute<P>> c;
  const std::int64_t* c_rows; // rows of c, or null for the first ones
  const P *left, *right;
  Size rows, cols, depth;
  const Compute<P>* bias; // of each column, where nothing is added to; or null
  bool adds, relu;
  Matrix<const Compute<P>> gate; // as c; where it is not above 0, the result is 0; or null
};
// The same of a left operand as it lies, and of a right one of panels `right_panel` apart whose
// steps are `right_step` apart: packed, or tile_cols adjacent columns of what lies there.
template <class T> struct DirectProductTask : ProductTask<T> {
  Size left_row, left_step, right_panel, right_step;
};
struct ProductTile {
  Size rows, cols;
  Size depth;       // a multiple of this is multiplied at once; 2: pairs lie together
  bool left_by_row; // in `left`, rows of `depth` elements each instead of steps of the depth
};
template <class P> struct ProductKernels {
  void (*multiply)(const ProductTask<P>&) noexcept;
  ProductTile tile;
  void (*multiply_direct)(const DirectProductTask<P>&) noexcept; // null of paired panels
};
// Of bfloat16 panels, by instructions that multiply pairs.
struct PairedProductKernels {
  ProductKernels<BFloat16> product;
  // to[2 i] = first[i], to[2 i + 1] = second[i], rounded; 0 where second is null.
  void (*pair_f32)(BFloat16* to, const float* first, const float* second, Size size) noexcept;
  void (*pair_bf16)(BFloat16* to, const BFloat16* first, const BFloat16* second,
                    Size size) noexcept;
};
// The memory roofline, for the benchmarks.
template <class T> struct StreamKernels {
  double (*read)(const T* x, Size size) noexcept;
  void (*scale)(T* x, Size size, T factor) noexcept;
  void (*copy)(T* to, const T* from, Size size) noexcept;
  void (*update)(T* a, T* b, const T* c, Size size) noexcept; // reads 3, writes 2, as an SGD step
};
// The vector mathematics, for the accuracy tests.
template <class T> struct MathKernels {
  void (*exp)(T* y, const T* x, Size size) noexcept;
  void (*log)(T* y, const T* x, Size size) noexcept;
  void (*log1p)(T* y, const T* x, Size size) noexcept;
  void (*tanh)(T* y, const T* x, Size size) noexcept;
  void (*tanh_slope)(T* y, const T* x, Size size) noexcept; // 1 - tanh^2
};

template <class T> struct KernelsOf {
  const SoftmaxKernels<T>* softmax[kShapes];
  const CrossEntropyKernels<T>* cross_entropy[kShapes];
  const HingeKernels<T>* hinge[kShapes];
  const PairKernels<T>* pair;
  const SgdKernels<T>* sgd;
  const AdamwKernels<T>* adamw;
  const NormKernels<T>* norm;
  const TransposeKernels<T>* transpose;
  const PanelKernels<T>* panel;
  const ProductKernels<T>* product;
  const StreamKernels<T>* stream;
  const MathKernels<T>* math;
};

// Without the lane shape.
template <class S> struct HalfKernelsOf {
  const SoftmaxKernels<S>* softmax[kShapes];
  const CrossEntropyKernels<S>* cross_entropy[kShapes];
  const TransposeKernels<S>* transpose;
  const PanelKernels<S>* panel;
  const HalfKernels<S>* half;
};

struct Kernels {
  const char* isa;
  KernelsOf<float> float32;
  KernelsOf<double> float64;
  HalfKernelsOf<Float16> float16;
  HalfKernelsOf<BFloat16> bfloat16;
  const PairedProductKernels* paired_product; // null but in a sub-level
};

} // namespace softstep
