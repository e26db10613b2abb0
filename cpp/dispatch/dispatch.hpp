// Which ISA level runs: the highest that the CPU and the operating system support, or a lower one
// on request.
#pragma once

#include "kernels/kernels.hpp"

#include <string>
#include <type_traits>
#include <vector>

namespace softstep::dispatch {

// Reads SOFTSTEP_ISA. Call once, at import. Throws std::invalid_argument for a name that is unknown
// or above what the CPU supports.
void initialise();

// Lowest first.
std::vector<std::string> available_isas();

// Throws std::invalid_argument unless `isa` is one of available_isas().
void use_isa(const std::string& isa);

const Kernels& active();

// Products by pairs of bfloat16, where the active level has them and the system lets them run.
const PairedProductKernels* paired_product();

// The kernels of a storage type.
template <class S> const auto& active_for() {
  if constexpr (std::is_same_v<S, float>)
    return active().float32;
  else if constexpr (std::is_same_v<S, double>)
    return active().float64;
  else if constexpr (std::is_same_v<S, Float16>)
    return active().float16;
  else
    return active().bfloat16;
}

} // namespace softstep::dispatch
