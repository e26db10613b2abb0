// The one table of this ISA level.
#include "families.hpp"

#define SOFTSTEP_STRING_(x) #x
#define SOFTSTEP_STRING(x) SOFTSTEP_STRING_(x)

namespace softstep::KERNEL_ISA {

extern const Kernels kernels;
const Kernels kernels = {SOFTSTEP_STRING(KERNEL_ISA),
                         {{&softmax_rows_f32, &softmax_lanes_f32},
                          {&cross_entropy_rows_f32, &cross_entropy_lanes_f32},
                          {&hinge_rows_f32, &hinge_lanes_f32},
                          &pair_f32,
                          &sgd_f32,
                          &adamw_f32,
                          &norm_f32,
                          &transpose_f32,
                          &panel_f32,
                          &product_f32,
                          &stream_f32,
                          &math_f32},
                         {{&softmax_rows_f64, &softmax_lanes_f64},
                          {&cross_entropy_rows_f64, &cross_entropy_lanes_f64},
                          {&hinge_rows_f64, &hinge_lanes_f64},
                          &pair_f64,
                          &sgd_f64,
                          &adamw_f64,
                          &norm_f64,
                          &transpose_f64,
                          &panel_f64,
                          &product_f64,
                          &stream_f64,
                          &math_f64},
                         {{&softmax_rows_f16, nullptr},
                          {&cross_entropy_rows_f16, nullptr},
                          &transpose_f16,
                          &panel_f16,
                          &half_f16},
                         {{&softmax_rows_bf16, nullptr},
                          {&cross_entropy_rows_bf16, nullptr},
                          &transpose_bf16,
                          &panel_bf16,
                          &half_bf16},
                         nullptr};

} // namespace softstep::KERNEL_ISA
