#include "ops/optimizer.hpp"

#include "ops/cost.hpp"
#include "ops/sum.hpp"
#include "ops/update_piece.hpp"

#include <algorithm>
#include <cmath>

namespace softstep::ops {
namespace {

// The size of a block depends on the problem alone: enough blocks to balance, none so small that
// handing it out shows.
Size block_elements(Size elements) {
  constexpr Size kBlocks = 64, kLeast = 4096, kStep = 1024;
  const Size share = (elements / kBlocks + kStep - 1) / kStep * kStep;
  return std::clamp(share, kLeast, kBlockElements);
}

constexpr WalkUse<kRoles> kReadsGradient = {{false, true}, {}};

} // namespace

Update::Update(Rule rule, std::vector<UpdateTensor> tensors)
    : rule_(rule), tensors_(std::move(tensors)) {}

void Update::cut(std::vector<char> active) {
  std::vector<Piece> pieces;
  std::vector<std::size_t> blocks{0};
  Size elements = 0;
  for (std::size_t k = 0; k < tensors_.size(); ++k)
    if (active[k])
      elements += tensors_[k].walk.size();
  const Size limit = block_elements(elements);
  Size filled = 0;
  const auto end_block = [&] {
    blocks.push_back(pieces.size());
    filled = 0;
  };
  for (std::size_t k = 0; k < tensors_.size(); ++k) {
    const Size size = active[k] ? tensors_[k].walk.size() : 0;
    // A tensor is divided on its own grid.
    if (filled > 0 && filled + size > limit)
      end_block();
    for (Size begin = 0; begin < size; begin += limit) {
      const Size end = std::min(size, begin + limit);
      pieces.push_back({k, begin, end});
      filled += end - begin;
      if (filled >= limit)
        end_block();
    }
  }
  if (filled > 0)
    end_block();
  sums_.resize(blocks.size() - 1);
  coefficients_.resize(tensors_.size());
  pieces_ = std::move(pieces);
  blocks_ = std::move(blocks);
  active_ = std::move(active);
  elements_ = elements;
}

template <class Body> void Update::for_each_piece(double element_ns, bool backwards, Body&& body) {
  const double cost_ns = static_cast<double>(elements_) * element_ns;
  near_.for_each(static_cast<std::int64_t>(sums_.size()), cost_ns, backwards,
                 [&](std::int64_t block, int) {
                   const auto b = static_cast<std::size_t>(block);
                   for (std::size_t i = blocks_[b]; i < blocks_[b + 1]; ++i)
                     body(pieces_[i], b);
                 });
}

double Update::squared_norm(double factor) {
  std::fill(sums_.begin(), sums_.end(), 0.0);
  for_each_piece(kNormElementNs, false, [&](const Piece& piece, std::size_t block) {
    const UpdateTensor& tensor = tensors_[piece.tensor];
    tensor.walk.run(piece.begin, piece.end, kReadsGradient, [&](const auto& at, Size, Size n) {
      sums_[block] += sum_of_squares(tensor.grad_storage, at[kGrad], n, factor);
    });
  });
  return sum_in_order(sums_.data(), static_cast<Size>(sums_.size()));
}

GradientNorm Update::norm() {
  const double sum = squared_norm(1);
  if (std::isfinite(sum))
    return {std::sqrt(sum), true};
  const double scaled = squared_norm(0x1p-600); // squares of large float64 numbers overflow
  return {std::sqrt(scaled) * 0x1p600, std::isfinite(scaled)};
}

void Update::set_coefficients(const UpdateRequest& request, double gradient_factor,
                              const std::int64_t* counts) {
  for (std::size_t k = 0; k < tensors_.size(); ++k) {
    const UpdateTensor& tensor = tensors_[k];
    const UpdateGroup& group = request.groups[tensor.group];
    Coefficients& c = coefficients_[k];
    const double factor = group.maximize ? -gradient_factor : gradient_factor;
    const double decay = tensor.ndim < group.min_decay_ndim ? 0 : group.weight_decay;
    const double decoupled = !group.decoupled ? 0 : (group.decay_by_lr ? group.lr * decay : decay);
    const double coupled = group.decoupled ? 0 : decay;
    c.states = group.states;
    c.first = counts[k] == 0;
    if (rule_ == Rule::kSgd) {
      c.sgd = {factor,
               coupled,
               decoupled,
               group.lr,
               group.sgd.momentum,
               group.sgd.dampening,
               group.sgd.nesterov,
               c.first};
      continue;
    }
    const auto steps = static_cast<double>(counts[k] + 1);
    if (k > 0 && counts[k] == counts[k - 1] && tensor.group == tensors_[k - 1].group) {
      c.adamw = coefficients_[k - 1].adamw; // the powers take longer than a small tensor
    } else {
      const double root = std::sqrt(1 - std::pow(group.adamw.beta2, steps));
      c.adamw.step_size = group.lr * root / (1 - std::pow(group.adamw.beta1, steps));
      c.adamw.eps = group.adamw.eps * root;
    }
    c.adamw.gradient_factor = factor;
    c.adamw.coupled = coupled;
    c.adamw.decoupled = decoupled;
    c.adamw.beta1 = group.adamw.beta1;
    c.adamw.beta2 = group.adamw.beta2;
  }
}

UpdateResult Update::run(const UpdateRequest& request, std::int64_t* counts) {
  UpdateResult result{};
  double gradient_factor = 1 / request.grad_scale;
  if (request.max_norm || request.skip_nonfinite) {
    const GradientNorm given = request.norm ? *request.norm : norm();
    result.norm = given.value / request.grad_scale;
    result.skipped = request.skip_nonfinite && !given.finite;
    if (result.skipped)
      return result;
  }
  if (request.max_norm) {
    const double share = *request.max_norm / (*result.norm + 1e-6);
    if (!(share >= 1)) // NaN goes on into every parameter, as in PyTorch
      gradient_factor *= share;
  }
  set_coefficients(request, gradient_factor, counts);
  const double element_ns = rule_ == Rule::kSgd ? kSgdElementNs : kAdamwElementNs;
  for_each_piece(element_ns, result.norm.has_value(), [&](const Piece& piece, std::size_t) {
    const UpdateTensor& tensor = tensors_[piece.tensor];
    const Coefficients& c = coefficients_[piece.tensor];
    const PieceUpdate update(tensor, c.states, c.first && rule_ == Rule::kSgd, request,
                             piece.tensor);
    if (rule_ == Rule::kSgd)
      update.run(piece.begin, piece.end, c.sgd);
    else
      update.run(piece.begin, piece.end, c.adamw);
  });
  for (std::size_t k = 0; k < tensors_.size(); ++k)
    if (active_[k] && coefficients_[k].states > 0)
      ++counts[k];
  return result;
}

} // namespace softstep::ops
