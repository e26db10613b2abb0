// softmax, log_softmax, logsumexp, entropy and their gradients, as XLA calls them.
#include "ops/softmax.hpp"
#include "jax/call.hpp"
#include "jax/handlers.hpp"

namespace softstep::jax {
namespace {

using ops::SoftmaxOp;

template <class S>
void run(SoftmaxOp op, Size axis, double temperature, const Buffer& x, const Buffer& dy,
         const Buffer& mask, const Buffer& result) {
  const bool reduces = op == SoftmaxOp::kLogSumExp || op == SoftmaxOp::kEntropy;
  ops::RowProblem<S> problem;
  Dimensions shape = result.shape;
  if (reduces) {
    require(axis < 0 && -axis <= static_cast<Size>(x.shape.size()), "axis is out of range");
    shape.insert(shape.end() + axis + 1, *(x.shape.end() + axis));
  }
  require(axis < 0 && -axis <= static_cast<Size>(shape.size()), "axis is out of range");
  problem.shape = without_axis(shape, axis);
  problem.rows = count(problem.shape);
  problem.cols = *(shape.end() + axis);
  problem.first = operand<S>(x, shape, axis);
  problem.second = operand<S>(dy, shape, axis);
  if (!reduces)
    problem.output = operand<S>(result, shape, axis);
  problem.mask = operand<std::uint8_t>(mask, shape, axis);
  problem.masked_first = op == SoftmaxOp::kSoftmaxBackward ? S{} : ops::negative_infinity<S>();
  problem.masked_output = op == SoftmaxOp::kLogSoftmax ? ops::negative_infinity<S>() : S{};
  problem.coalesce();
  ops::softmax_family<S>(op, problem, reduces ? result.as<S>() : nullptr, temperature);
}

void softmax_family(const Call& call) {
  const auto which = static_cast<SoftmaxOp>(call.integer("op"));
  Optional optional(call, 1);
  const Buffer dy = optional.next(which == SoftmaxOp::kSoftmaxBackward ||
                                  which == SoftmaxOp::kLogSoftmaxBackward);
  const Buffer mask = optional.next(call.integer("masked") != 0);
  const Buffer first = call.argument(0), written = call.result(0);
  require(written.type == first.type && (!dy.data || dy.type == first.type),
          "operands of different dtypes");
  require(!mask.data || mask.type == Type::kBool, "where is not boolean");
  with_storage(first.type, [&](auto type) {
    run<decltype(type)>(which, call.integer("axis"), call.real("temperature"), first, dy, mask,
                        written);
  });
}

} // namespace

xla::Error* softmax(xla::CallFrame* frame) { return answer(*frame, softmax_family); }

} // namespace softstep::jax
