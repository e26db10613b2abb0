// What is asked of a cross-entropy beside its arrays: the one list of its options in C++, from the
// arguments of a call to the kernels.
#pragma once

#include <cstdint>

namespace softstep {

enum class Reduction { kNone, kSum, kMean };
// How label smoothing spreads its mass.
enum class Smoothing { kUniform, kExcludeTarget, kAllowed };
// The mean over no rows.
enum class Empty { kNan, kZero, kRaise };

// Real is double up to the kernels, which take the type that they compute in.
template <class Real> struct CrossEntropyOptionsOf {
  std::int64_t ignore_index = -100;
  Real label_smoothing = 0;
  Smoothing smoothing = Smoothing::kUniform;
  Real gamma = 0; // of the focal loss: a class target's loss times (1 - p)^gamma
  Real temperature = 1;
  Real softcap = 0; // logits are softcap * tanh(logits / softcap) first; 0: not
  Real z_loss = 0;
  Reduction reduction = Reduction::kMean;
  Real denominator = 0; // of a mean; 0: of the rows that count
  Empty empty = Empty::kNan;

  // Inlined always: a copy left in an object of a higher ISA level could be linked for all.
  [[gnu::always_inline]] bool smooths() const { return label_smoothing != 0; }
  [[gnu::always_inline]] bool smooths_allowed() const {
    return smooths() && smoothing == Smoothing::kAllowed;
  }
  [[gnu::always_inline]] bool smooths_others() const {
    return smooths() && smoothing == Smoothing::kExcludeTarget;
  }
};
using CrossEntropyOptions = CrossEntropyOptionsOf<double>;

// Calls f(name, option...) for each option of one or more lists, in the order of the Python
// package's Options.
template <class F, class... Lists> constexpr void for_each_option(F f, Lists&... of) {
  f("ignore_index", of.ignore_index...);
  f("label_smoothing", of.label_smoothing...);
  f("smoothing", of.smoothing...);
  f("gamma", of.gamma...);
  f("temperature", of.temperature...);
  f("softcap", of.softcap...);
  f("z_loss", of.z_loss...);
  f("reduction", of.reduction...);
  f("denominator", of.denominator...);
  f("empty", of.empty...);
}

} // namespace softstep
