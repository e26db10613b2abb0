// An optimizer's step over a part of one tensor: kernels over the arrays where these are float32 or
// float64, over small float32 copies of those that are half precision.
#pragma once

#include "dispatch/dispatch.hpp"
#include "ops/optimizer.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace softstep::ops {

// Small enough for the first cache, all roles together; 1024 are slower
// (docs/design/0005-optimizers.md).
inline constexpr Size kTileElements = 512;

inline void widen(Storage storage, float* to, const char* from, Size n) {
  if (storage == Storage::kBFloat16)
    dispatch::active().bfloat16.half->widen(to, reinterpret_cast<const BFloat16*>(from), n);
  else
    dispatch::active().float16.half->widen(to, reinterpret_cast<const Float16*>(from), n);
}

inline constexpr bool is_half(Storage storage) {
  return storage == Storage::kFloat16 || storage == Storage::kBFloat16;
}

// A factor other than 1 keeps squares of large float64 numbers in range; it is slow.
inline double sum_of_squares(Storage storage, const char* x, Size n, double factor) {
  const Kernels& kernels = dispatch::active();
  if (storage == Storage::kFloat64 && factor == 1)
    return kernels.float64.norm->sum_of_squares(reinterpret_cast<const double*>(x), n);
  if (storage == Storage::kFloat32 && factor == 1)
    return kernels.float32.norm->sum_of_squares(reinterpret_cast<const float*>(x), n);
  double sum = 0;
  for (Size begin = 0; begin < n; begin += kTileElements) {
    const Size size = std::min(kTileElements, n - begin);
    if (is_half(storage)) {
      float tile[kTileElements];
      widen(storage, tile, x + 2 * begin, size);
      sum += kernels.float32.norm->sum_of_squares(tile, size) * factor * factor;
    } else if (storage == Storage::kFloat32) {
      const float* from = reinterpret_cast<const float*>(x) + begin;
      sum += kernels.float32.norm->sum_of_squares(from, size) * factor * factor;
    } else {
      double tile[kTileElements];
      std::memcpy(tile, x + 8 * begin, static_cast<std::size_t>(size) * sizeof(double));
      for (Size i = 0; i < size; ++i)
        tile[i] *= factor;
      sum += kernels.float64.norm->sum_of_squares(tile, size);
    }
  }
  return sum;
}

class PieceUpdate {
public:
  PieceUpdate(const UpdateTensor& tensor, std::size_t states, bool first,
              const UpdateRequest& request, std::size_t number)
      : tensor_(tensor), request_(request), number_(number), states_(states),
        reads_states_(!first) {}

  template <class Options> void run(Size begin, Size end, const Options& options) const {
    const bool master = tensor_.has_master;
    const bool first = states_ > 0, second = states_ > 1, third = states_ > 2, old = reads_states_;
    const WalkUse<kRoles> use = {{!master, true, old && first, old && second, old && third, master},
                                 {true, request_.zero_grads, first, second, third, master}};
    tensor_.walk.run(begin, end, use, [&](const UpdateWalk::Pointers& at, Size index, Size n) {
      run_adjacent(at, index, n, options);
    });
  }

private:
  template <class Options>
  void run_adjacent(const UpdateWalk::Pointers& at, Size index, Size n,
                    const Options& options) const {
    if (tensor_.storage == Storage::kFloat64)
      run_wide<double>(at, n, options);
    else if (tensor_.storage == Storage::kFloat32 &&
             !(states_ > 0 && tensor_.state_storage == Storage::kBFloat16))
      run_wide<float>(at, n, options);
    else
      for (Size begin = 0; begin < n; begin += kTileElements)
        run_tile(at, begin, index + begin, std::min(kTileElements, n - begin), options);
  }

  template <class T, class Options>
  void run_wide(const UpdateWalk::Pointers& at, Size n, const Options& options) const {
    // Gradients are set to 0 while they are still in the first cache.
    const Size most = request_.zero_grads ? kTileElements : n;
    for (Size begin = 0; begin < n; begin += most) {
      const Size size = std::min(most, n - begin);
      const auto part = [&](std::size_t role) {
        return at[role] ? reinterpret_cast<T*>(at[role]) + begin : nullptr;
      };
      UpdateTask<T> task{part(kParam), part(kGrad), {}, size};
      if (states_ > 0) {
        task.state[0] = part(kState);
        task.state[1] = part(kSecondState);
        task.state[2] = states_ > 2 ? part(kThirdState) : nullptr;
      }
      apply<T>(task, options);
      if (request_.zero_grads)
        std::memset(static_cast<void*>(part(kGrad)), 0, static_cast<std::size_t>(size) * sizeof(T));
    }
  }

  template <class Options>
  void run_tile(const UpdateWalk::Pointers& at, Size begin, Size index, Size n,
                const Options& options) const {
    alignas(64) float tiles[3][kTileElements];
    const bool half = is_half(tensor_.storage), half_grad = is_half(tensor_.grad_storage);
    const bool half_state = states_ > 0 && tensor_.state_storage == Storage::kBFloat16;
    const auto part = [&](std::size_t role, bool is_half_role) {
      return at[role] ? at[role] + begin * (is_half_role ? 2 : 4) : nullptr;
    };
    const auto wide = [&](std::size_t role) { return reinterpret_cast<float*>(part(role, false)); };
    UpdateTask<float> task{
        half ? tiles[0] : wide(kParam), half_grad ? tiles[1] : wide(kGrad), {}, n};
    if (tensor_.has_master)
      task.param = wide(kMaster);
    else if (half)
      widen(tensor_.storage, tiles[0], part(kParam, true), n);
    if (half_grad)
      widen(tensor_.grad_storage, tiles[1], part(kGrad, true), n);
    for (std::size_t j = 0; j < states_; ++j)
      task.state[j] = wide(kState + j);
    if (half_state) {
      task.state[0] = tiles[2];
      if (reads_states_)
        widen(Storage::kBFloat16, tiles[2], part(kState, true), n);
    }
    apply<float>(task, options);
    if (half)
      narrow(tensor_.storage, part(kParam, true), task.param, n, kParam, index);
    if (half_state)
      narrow(Storage::kBFloat16, part(kState, true), tiles[2], n, kState, index);
    if (request_.zero_grads)
      std::memset(part(kGrad, half_grad), 0, static_cast<std::size_t>(n) * (half_grad ? 2 : 4));
  }

  template <class T> static void apply(const UpdateTask<T>& task, const SgdOptions& options) {
    dispatch::active_for<T>().sgd->step(task, options);
  }
  template <class T> static void apply(const UpdateTask<T>& task, const AdamwOptions& options) {
    dispatch::active_for<T>().adamw->step(task, options);
  }

  void narrow(Storage storage, char* to, const float* from, Size n, Role role, Size index) const {
    if (storage == Storage::kBFloat16)
      narrow_as(dispatch::active().bfloat16.half, reinterpret_cast<BFloat16*>(to), from, n, role,
                index);
    else
      narrow_as(dispatch::active().float16.half, reinterpret_cast<Float16*>(to), from, n, role,
                index);
  }
  template <class S>
  void narrow_as(const HalfKernels<S>* kernels, S* to, const float* from, Size n, Role role,
                 Size index) const {
    if (!request_.seed)
      return kernels->narrow(to, from, n);
    const auto place = static_cast<std::uint64_t>(index);
    kernels->narrow_by_chance(to, from, n, key(role, place >> 32),
                              static_cast<std::uint32_t>(place));
  }

  // Mixes what tells the random numbers of two arrays and two steps apart.
  std::uint64_t key(Role role, std::uint64_t high) const {
    std::uint64_t mixed = 0;
    for (const std::uint64_t part :
         {*request_.seed, request_.step, std::uint64_t{number_}, std::uint64_t{role}, high}) {
      mixed = (mixed ^ part) * 0x9e3779b97f4a7c15u; // odd: the fraction of the golden ratio
      mixed = (mixed ^ (mixed >> 29)) * 0xbb67ae8584caa73bu; // and of sqrt(3)
      mixed ^= mixed >> 32;
    }
    return mixed;
  }

  const UpdateTensor& tensor_;
  const UpdateRequest& request_;
  std::size_t number_;
  std::size_t states_;
  bool reads_states_;
};

} // namespace softstep::ops
