// The cross-entropy and its gradient, as XLA calls them.
#include "ops/cross_entropy.hpp"
#include "jax/call.hpp"
#include "jax/handlers.hpp"
#include "ops/targets.hpp"

#include <limits>
#include <type_traits>

namespace softstep::jax {
namespace {

struct LossCall {
  Size axis; // counted from the end
  CrossEntropyOptions options;
  Buffer logits, target, mask, weight, row_weight; // the last three may be absent
  Buffer loss, dlogits;                            // dlogits may be absent
};

template <class F> void with_integer(Type type, F f) {
  switch (type) {
  case Type::kInt8:
    return f(std::int8_t{});
  case Type::kInt16:
    return f(std::int16_t{});
  case Type::kInt32:
    return f(std::int32_t{});
  case Type::kInt64:
    return f(std::int64_t{});
  case Type::kUInt16:
    return f(std::uint16_t{});
  case Type::kUInt32:
    return f(std::uint32_t{});
  case Type::kUInt64:
    return f(std::uint64_t{});
  case Type::kUInt8:
  case Type::kBool:
    return f(std::uint8_t{});
  default:
    throw std::invalid_argument("target is neither integers nor floats");
  }
}

bool is_float(Type type) {
  return type == Type::kFloat32 || type == Type::kFloat64 || type == Type::kFloat16 ||
         type == Type::kBFloat16;
}

// An operand with one element a row, in the order of the rows.
template <class T> class ByRow {
public:
  ByRow() = default;
  ByRow(const Buffer& buffer, const Dimensions& batch) : data_(buffer.as<T>()) {
    const Dimensions strides = strides_of(buffer, batch);
    if (buffer.shape == batch)
      return;
    for (Size row = 0; row < count(batch); ++row) {
      Size at = 0, index = row;
      for (std::size_t d = batch.size(); d-- > 0; index /= batch[d])
        at += index % batch[d] * strides[d];
      repeated_.push_back(data_[at]);
    }
    data_ = repeated_.data();
  }
  ByRow(ByRow&&) = default;
  ByRow& operator=(ByRow&&) = default;

  const T* data() const { return data_; }
  // Once for each use: the owner of a buffer may change it meanwhile.
  T read(Size row) const { return const_cast<const volatile T*>(data_)[row]; }

private:
  const T* data_ = nullptr; // null: not part of the call
  std::vector<T> repeated_; // where vmap does not vary it
};

// What is known of the rows before the kernel runs. Nothing can be raised from a compiled program:
// a row whose label is no class is ignored, and its loss becomes NaN.
template <class T> struct Rows {
  std::vector<std::int32_t> target; // empty: probabilities, and no row is ignored
  ByRow<T> weight;
  std::vector<Size> bad;
};

template <class T> Rows<T> read_rows(const LossCall& call, const Dimensions& batch, Size classes) {
  Rows<T> rows;
  const auto size = static_cast<std::size_t>(count(batch));
  const bool by_class = !is_float(call.target.type);
  if (call.row_weight.data)
    rows.weight = ByRow<T>(call.row_weight, batch);
  if (by_class || rows.weight.data())
    rows.target.resize(size);
  const auto weightless = [&](Size row) {
    return rows.weight.data() && rows.weight.data()[row] == T(0);
  };
  if (!by_class) {
    for (std::size_t row = 0; row < rows.target.size(); ++row)
      if (weightless(static_cast<Size>(row)))
        rows.target[row] = kIgnoredRow;
    return rows;
  }
  with_integer(call.target.type, [&](auto integer) {
    const ByRow<decltype(integer)> targets(call.target, batch);
    for (std::size_t row = 0; row < size; ++row) {
      const auto at = static_cast<Size>(row);
      const auto target = ops::checked_target(targets.read(at), classes, call.options.ignore_index);
      const bool ignored = weightless(at);
      rows.target[row] = ignored ? kIgnoredRow : target.value_or(kIgnoredRow);
      if (!target && !ignored)
        rows.bad.push_back(at);
    }
  });
  return rows;
}

template <class S, class Q> void run(const LossCall& call) {
  using T = Compute<S>;
  const bool reduced = call.options.reduction != Reduction::kNone;
  // With the classes put back, the shape of the losses is that of the batch.
  Dimensions shape = call.logits.shape;
  if (!reduced) {
    shape = call.loss.shape;
    shape.insert(shape.end() + call.axis + 1, *(call.logits.shape.end() + call.axis));
  }
  ops::CrossEntropyProblem<S, Q> problem;
  problem.rows.shape = without_axis(shape, call.axis);
  const Dimensions batch = problem.rows.shape;
  problem.rows.rows = count(batch);
  problem.rows.cols = *(shape.end() + call.axis);
  require(problem.rows.cols <= std::numeric_limits<std::int32_t>::max(), "too many classes");
  const Rows<T> rows = read_rows<T>(call, batch, problem.rows.cols);
  problem.rows.first = operand<S>(call.logits, shape, call.axis);
  const bool by_class = !is_float(call.target.type);
  if (!by_class)
    problem.rows.second = operand<Q>(call.target, shape, call.axis);
  problem.rows.output = operand<S>(call.dlogits, shape, call.axis);
  problem.rows.mask = operand<std::uint8_t>(call.mask, shape, call.axis);
  problem.rows.masked_first = ops::negative_infinity<S>();
  problem.rows.coalesce();
  problem.target = rows.target.empty() ? nullptr : rows.target.data();
  problem.points = by_class ? 1 : 0;
  problem.point_stride = problem.rows.rows;
  problem.sample_weight = rows.weight.data();
  if (call.weight.data) {
    require(count(call.weight.shape) == problem.rows.cols, "weight has the wrong shape");
    problem.weight = call.weight.as<T>();
  }
  problem.options = call.options;

  ops::MeanDenominators denominators{1, 1};
  if (call.options.reduction == Reduction::kMean)
    denominators = ops::mean_denominators(problem);
  std::vector<T> scratch(reduced ? static_cast<std::size_t>(problem.rows.rows) : 0);
  ops::RowResults<T> results{};
  results.loss = reduced ? scratch.data() : call.loss.as<T>();
  const double loss = ops::cross_entropy(problem, denominators, results);
  constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
  if (reduced)
    *call.loss.as<T>() = rows.bad.empty() ? static_cast<T>(loss) : kNan;
  else
    for (const Size row : rows.bad)
      results.loss[row] = kNan;
}

// A reduction is over the rows of one example of the batch, and so are class weights of its own.
template <class S, class Q> void run_batch(const LossCall& call, std::size_t batch_dimensions) {
  const bool reduced = call.options.reduction != Reduction::kNone;
  const bool weights_differ =
      call.weight.data && count(call.weight.shape) != call.weight.shape.back();
  if (!reduced && !weights_differ)
    return run<S, Q>(call);
  const Batch batch(call.loss.shape, batch_dimensions);
  for (Size index = 0; index < batch.size(); ++index) {
    const auto part = [&](const Buffer& buffer) { return batch.at(index, buffer); };
    run<S, Q>({call.axis, call.options, part(call.logits), part(call.target), part(call.mask),
               part(call.weight), part(call.row_weight), part(call.loss), part(call.dlogits)});
  }
}

template <class S> void check_types(const LossCall& call) {
  using T = Compute<S>;
  const Type computed = std::is_same_v<T, double> ? Type::kFloat64 : Type::kFloat32;
  const auto fits = [](const Buffer& buffer, Type type) {
    return !buffer.data || buffer.type == type;
  };
  require(fits(call.mask, Type::kBool), "where is not boolean");
  require(fits(call.weight, computed) && fits(call.row_weight, computed) &&
              fits(call.loss, computed) && fits(call.dlogits, call.logits.type),
          "operands of different dtypes");
  require(!is_float(call.target.type) || call.target.type == call.logits.type ||
              call.target.type == computed,
          "target has the wrong dtype");
}

// The options by their names; each has the number that cross_entropy_numbers of the bindings gives.
CrossEntropyOptions read_options(const Call& call) {
  CrossEntropyOptions options;
  for_each_option(
      [&]<class Option>(const char* name, Option& option) {
        if constexpr (std::is_floating_point_v<Option>)
          option = static_cast<Option>(call.real(name));
        else
          option = static_cast<Option>(call.integer(name));
      },
      options);
  return options;
}

void handle(const Call& frame) {
  LossCall call{frame.integer("axis"),
                read_options(frame),
                frame.argument(0),
                frame.argument(1),
                {},
                {},
                {},
                frame.result(0),
                {}};
  Optional optional(frame, 2);
  call.mask = optional.next(frame.integer("masked") != 0);
  call.weight = optional.next(frame.integer("weighted") != 0);
  call.row_weight = optional.next(frame.integer("rows_weighted") != 0);
  if (frame.results() > 1)
    call.dlogits = frame.result(1);
  const auto dimensions = static_cast<Size>(call.logits.shape.size());
  const Size ndim = frame.integer("ndim"), added = dimensions - ndim;
  require(call.axis < 0 && -call.axis <= ndim && added >= 0, "axis is out of range");
  with_storage(call.logits.type, [&](auto type) {
    using S = decltype(type);
    using T = Compute<S>;
    check_types<S>(call);
    const auto batch = static_cast<std::size_t>(added);
    if constexpr (!std::is_same_v<S, T>)
      if (is_float(call.target.type) && call.target.type != call.logits.type)
        return run_batch<S, T>(call, batch);
    run_batch<S, S>(call, batch);
  });
}

} // namespace

xla::Error* cross_entropy(xla::CallFrame* frame) { return answer(*frame, handle); }

} // namespace softstep::jax
