#include "ops/softmax.hpp"
#include "jax/buffers.hpp"
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

ffi::Error softmax_family(ffi::AnyBuffer x, ffi::RemainingArgs optional,
                          ffi::Result<ffi::AnyBuffer> result, std::int64_t op, std::int64_t axis,
                          std::int64_t masked, double temperature) {
  return guarded([&] {
    const auto which = static_cast<SoftmaxOp>(op);
    Operands operands(optional);
    const Buffer dy = operands.next(which == SoftmaxOp::kSoftmaxBackward ||
                                    which == SoftmaxOp::kLogSoftmaxBackward);
    const Buffer mask = operands.next(masked != 0);
    const Buffer first(x), written(*result);
    require(written.type == first.type && (!dy.data || dy.type == first.type),
            "operands of different dtypes");
    require(!mask.data || mask.type == ffi::DataType::PRED, "where is not boolean");
    with_storage(first.type, [&](auto type) {
      run<decltype(type)>(which, axis, temperature, first, dy, mask, written);
    });
  });
}

} // namespace

XLA_FFI_Error* softmax(XLA_FFI_CallFrame* call) {
  XLA_FFI_DEFINE_HANDLER(handler, softmax_family,
                         ffi::Ffi::Bind()
                             .Arg<ffi::AnyBuffer>()
                             .RemainingArgs()
                             .Ret<ffi::AnyBuffer>()
                             .Attr<std::int64_t>("op")
                             .Attr<std::int64_t>("axis")
                             .Attr<std::int64_t>("masked")
                             .Attr<double>("temperature"));
  return handler(call);
}

} // namespace softstep::jax
