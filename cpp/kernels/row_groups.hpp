// What runs by groups of rows: what the files of the row shape and of the groups share.
#pragma once

#include "row_group.hpp"
#include "target_mass.hpp"

namespace softstep::KERNEL_ISA {

// No templates: their instances would be weak symbols.
void softmax_groups(const SoftmaxTask<float>& task);
void softmax_groups(const SoftmaxTask<double>& task);
void softmax_groups(const SoftmaxTask<Float16>& task);
void softmax_groups(const SoftmaxTask<BFloat16>& task);
void cross_entropy_groups(const CrossEntropyTask<float>& task);
void cross_entropy_groups(const CrossEntropyTask<double>& task);
void cross_entropy_groups(const CrossEntropyTask<Float16>& task);
void cross_entropy_groups(const CrossEntropyTask<BFloat16>& task);

namespace {

// Class targets, with or without smoothing that is the same for all classes.
template <class S> SOFTSTEP_INLINE bool takes_groups(const CrossEntropyTask<S>& task) {
  return task.target && task.points == 1 && !has_probabilities(task) && task.options.softcap == 0 &&
         (!task.options.smooths() || spreads_evenly(task)) && !task.argmax && !task.entropy &&
         !task.dtemperature;
}

} // namespace
} // namespace softstep::KERNEL_ISA
