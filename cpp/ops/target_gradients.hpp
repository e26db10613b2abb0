// Gradients of the cross-entropy with respect to what it is weighed by, in float64 throughout.
//
// With q the mass of a row's classes before the class weights w, log p that of the logits and g the
// row's part in the result:
//   L = -sum(w q log p),  dL/dtarget = -g (1 - label_smoothing) w log p,  dL/dw = -g q log p.
// A mean over class targets divides by D = sum(w[t]), which adds -L / D to dL/dw[t].
#pragma once

#include "ops/cross_entropy.hpp"

namespace softstep::ops {

// Null for what is not wanted.
template <class T> struct TargetGradients {
  T* dtarget = nullptr; // of each row's points, or of its classes: (rows, points or classes)
  T* dweight = nullptr; // of each class
};

template <class S, class Q>
void target_gradients(const CrossEntropyProblem<S, Q>& problem,
                      const MeanDenominators& denominators,
                      const TargetGradients<Compute<S>>& gradients);

} // namespace softstep::ops
