// The constants that the families of this ISA level export to its table.
#pragma once

#include "kernels.hpp"

namespace softstep::KERNEL_ISA {

extern const SoftmaxKernels<float> softmax_rows_f32, softmax_lanes_f32;
extern const SoftmaxKernels<double> softmax_rows_f64, softmax_lanes_f64;
extern const SoftmaxKernels<Float16> softmax_rows_f16;
extern const SoftmaxKernels<BFloat16> softmax_rows_bf16;
extern const CrossEntropyKernels<float> cross_entropy_rows_f32, cross_entropy_lanes_f32;
extern const CrossEntropyKernels<double> cross_entropy_rows_f64, cross_entropy_lanes_f64;
extern const CrossEntropyKernels<Float16> cross_entropy_rows_f16;
extern const CrossEntropyKernels<BFloat16> cross_entropy_rows_bf16;
extern const HingeKernels<float> hinge_rows_f32, hinge_lanes_f32;
extern const HingeKernels<double> hinge_rows_f64, hinge_lanes_f64;
extern const PairKernels<float> pair_f32;
extern const PairKernels<double> pair_f64;
extern const SgdKernels<float> sgd_f32;
extern const SgdKernels<double> sgd_f64;
extern const AdamwKernels<float> adamw_f32;
extern const AdamwKernels<double> adamw_f64;
extern const NormKernels<float> norm_f32;
extern const NormKernels<double> norm_f64;
extern const HalfKernels<Float16> half_f16;
extern const HalfKernels<BFloat16> half_bf16;
extern const TransposeKernels<float> transpose_f32;
extern const TransposeKernels<double> transpose_f64;
extern const TransposeKernels<Float16> transpose_f16;
extern const TransposeKernels<BFloat16> transpose_bf16;
extern const PanelKernels<float> panel_f32;
extern const PanelKernels<double> panel_f64;
extern const PanelKernels<Float16> panel_f16;
extern const PanelKernels<BFloat16> panel_bf16;
extern const ProductKernels<float> product_f32;
extern const ProductKernels<double> product_f64;
extern const StreamKernels<float> stream_f32;
extern const StreamKernels<double> stream_f64;
extern const MathKernels<float> math_f32;
extern const MathKernels<double> math_f64;

} // namespace softstep::KERNEL_ISA
